"""Clusters that are resolved again and again, for little work: each gets what resolving it anew gives."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.errors import ConfigError, RenderError
from felloe.identity import WorkloadId
from hub.fleet import load_fleet
from hub.render.render import Rendered
from hub.sources.spec import GitRef, GitSpec
from hub.targeting import ClusterPlan, Inputs, Memo, RenderCache, RenderWant, Resolution, Snapshot, resolve
from tests.unit.hub.targeting.world import (
    FLEET_URL,
    SYNC_PATH,
    MemoryTree,
    config_map,
    kustomization,
    render,
    repository,
    workload,
)

SOURCE = GitSpec("flux-system", "flux-system", FLEET_URL, GitRef(branch="main"))
OTHER = "https://git.example/org/other.git"


@dataclass
class Cluster:
    labels: dict[str, str] = field(default_factory=dict)
    suspended: frozenset[WorkloadId] = frozenset()
    requested_at: dict[WorkloadId, str] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    previous: ClusterPlan | None = None


class Hub:
    """What the hub does with a memo, each time beside what it would do without one."""

    def __init__(self) -> None:
        self.memo = Memo(RenderCache(200))
        self.clusters: dict[str, Cluster] = {}
        self.files: dict[str, str] = {}
        self.renders: dict[RenderWant, Rendered | RenderError] = {}
        self.snapshots: dict[GitSpec, Snapshot | str] = {}
        self.commits = 0
        self.commit({"fleet/sources.yaml": repository() + repository("other", OTHER)})

    def commit(self, files: dict[str, str]) -> None:
        files = {path: text for path, text in (self.files | files).items() if text}
        self.commits += 1
        tree = MemoryTree(files, f"main@sha1:{self.commits}")
        with suppress(ConfigError):  # what does not load is not in force
            self.fleet = load_fleet(tree, "fleet")
            self.files, self.snapshot = files, Snapshot(tree, tree.revision)

    def inputs(self, name: str) -> Inputs:
        cluster = self.clusters[name]
        return Inputs(
            cluster=name,
            fleet=self.fleet,
            fleet_source=SOURCE,
            fleet_snapshot=self.snapshot,
            labels=cluster.labels,
            default_sync_path=SYNC_PATH,
            snapshots=self.snapshots,
            renders=self.renders,
            previous=cluster.previous,
            suspended=cluster.suspended,
            requested_at=cluster.requested_at,
            approved_prunes=cluster.approved,
        )

    def resolved(self, name: str) -> Resolution:
        """Resolve a cluster until no render is missing."""
        for _ in range(20):
            found = self.memo.resolve(self.inputs(name))
            missing = [want for want in found.wanted_renders if want not in self.renders]
            if not missing:
                return found
            for want in missing:
                snapshot = self.snapshot if want.source == SOURCE else self.snapshots[want.source]
                assert isinstance(snapshot, Snapshot)
                assert isinstance(snapshot.tree, MemoryTree)
                self.renders[want] = render(snapshot.tree, want)
            self.memo.begin()
        raise AssertionError("the wants never end")

    def checked(self, name: str) -> Resolution:
        found = self.resolved(name)
        anew = resolve(self.inputs(name), RenderCache())
        assert found.plan == anew.plan
        assert found.plan.bundle.root == anew.plan.bundle.root
        assert set(found.wanted_sources) == set(anew.wanted_sources)
        assert set(found.wanted_renders) == set(anew.wanted_renders)
        assert set(found.sources) == set(anew.sources)
        assert {each: found.plan.blobs[each] for each in found.plan.blobs} == anew.plan.blobs
        return found

    def forecast(self) -> None:
        """Ask a fork what each cluster would have."""
        memo, self.memo = self.memo, self.memo.fork()
        self.memo.begin()
        for name in self.clusters:
            self.checked(name)
        self.memo = memo

    def round(self, *, keep: bool) -> None:
        self.memo.begin()
        self.snapshots = dict(self.snapshots)
        wanted: set[GitSpec] = set()
        for name, cluster in self.clusters.items():
            found = self.checked(name)
            cluster.previous = found.plan.without_blobs()
            wanted.update(found.wanted_sources)
        if keep:
            self.memo.keep(self.clusters)
            for spec in wanted - self.snapshots.keys():
                files = {"one/map.yaml": config_map("other-one"), "two/map.yaml": "BROKEN"}
                self.snapshots[spec] = Snapshot(MemoryTree(files), "main@sha1:other")


ENVIRONMENTS = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {name: %s}
spec: {clusterSelector: {matchLabels: {env: %s}}, variables: {replicas: "%d"}}
---
"""
SELECTORS = (
    "environments: [dev, prod]",
    "environments: [prod]",
    "clusterNames: [a, c]",
    "clusterSelector: {matchLabels: {tier: gold}}",
    "clusterSelector: {matchExpressions: [{key: zone, operator: Exists}]}",
    "clusterSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}",
    "clusterSelector: {matchExpressions: [{key: zone, operator: In, values: [x, y]}], matchLabels: {env: dev}}",
)


OVERRIDES = (
    "",
    "",
    "overrides: [{environments: [prod], variables: {zone: over, replicas: '9'}}]",
    "overrides: [{clusterNames: [b], variables: {cluster_env: one}}]",
    "overrides: [{clusterSelector: {matchLabels: {zone: x}}, images: [{name: a, newTag: b}], variables: {zone: z}}]",
)


def placement(name: str, selector: str, overrides: str) -> str:
    return f"""
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {{name: {name}}}
spec: {{{selector}, workloads: [{{kind: Kustomization, name: {name}, namespace: flux-system}}], {overrides}}}
---
"""


NAMES = ("one", "two", "six")
PATHS = ("./one", "./two", "./${cluster_env}", "./${tier:=one}", "./${cluster_name}", "./gone")
SPECS = (
    "",
    "",
    "suspend: true",
    "dependsOn: [{name: one}]",
    "dependsOn: [{name: two}]",
    "targetNamespace: '${zone:=n}'",
)
ENVIRONMENT_FILES = st.builds(
    lambda both, number: ENVIRONMENTS % ("dev", both[0], number) + ENVIRONMENTS % ("prod", both[1], number),
    st.sampled_from([*[("dev", "prod")] * 8, ("dev", "qa"), ("prod", "prod")]),
    st.integers(1, 2),
)
FLEET_FILES = st.builds(
    lambda name, path, spec, source, *more: kustomization(name, path, spec, source) + placement(name, *more),
    st.sampled_from(NAMES),
    st.sampled_from([*PATHS[:4] * 3, *PATHS]),
    st.sampled_from(["", *SPECS]),
    st.sampled_from(["flux-system"] * 12 + ["other", "nobody"]),
    st.sampled_from([*SELECTORS[:1] * 5, *SELECTORS]),
    st.sampled_from(OVERRIDES),
)
GOOD = (
    config_map("one"),
    config_map("two"),
    config_map("three") + config_map("four", "{zone: 'no'}"),
    config_map("named", "{name: '${cluster_name}', zone: '${zone:=here}'}"),
    config_map("needs", "{env: '${cluster_env}'}"),
    config_map("in-${tier}"),
    config_map("in-${cluster_env:=none}", "{replicas: '${replicas:=0}'}"),
)
BAD = ("", "BROKEN", config_map("in-${zone}"), repository("other", OTHER + "x"), kustomization("child", "./two"))
CONTENTS = st.sampled_from([*GOOD * 4, *BAD, kustomization("six", "./${cluster_env}")])
LABELS = st.fixed_dictionaries(
    {"env": st.sampled_from(["dev", "dev", "prod", "qa"])},
    optional={"tier": st.sampled_from(["gold", "one", "two"]), "zone": st.sampled_from(["x", "y"])},
)
FOLDERS = ("one", "two", "dev", "prod", "a", "clusters/b")
FILES = [f"{each}/map.yaml" for each in FOLDERS]
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.dictionaries(st.sampled_from(FILES), CONTENTS)),
    st.tuples(st.just("fleet"), st.tuples(st.sampled_from("123"), FLEET_FILES)),
    st.tuples(st.just("environments"), ENVIRONMENT_FILES),
    st.tuples(st.just("labels"), st.tuples(st.sampled_from("abc"), LABELS)),
    st.tuples(st.just("leave"), st.sampled_from("abc")),
    st.tuples(st.just("suspend"), st.tuples(st.sampled_from("abc"), st.sampled_from(NAMES))),
    st.tuples(st.just("ask"), st.tuples(st.sampled_from("abc"), st.sampled_from(NAMES))),
    st.tuples(st.just("approve"), st.sampled_from("abc")),
)  # fmt: skip


def take(hub: Hub, step: tuple[str, Any]) -> None:
    match step:
        case "commit", files:
            hub.commit(files)
        case "fleet", (number, text):
            hub.commit({f"fleet/{number}.yaml": text})
        case "environments", text:
            hub.commit({"fleet/environments.yaml": text})
        case "labels", (name, labels):
            hub.clusters[name] = replace(hub.clusters.get(name, Cluster()), labels=labels)
        case "leave", name:
            hub.clusters.pop(name, None)
        case "suspend", (name, which) if name in hub.clusters:
            suspended = hub.clusters[name].suspended ^ {workload(which)}
            hub.clusters[name] = replace(hub.clusters[name], suspended=suspended)
        case "ask", (name, which) if name in hub.clusters:
            asked = {**hub.clusters[name].requested_at, workload(which): f"at {hub.commits}"}
            hub.clusters[name] = replace(hub.clusters[name], requested_at=asked)
        case "approve", name if name in hub.clusters:
            approved = hub.clusters[name].approved ^ {f"prune-{hub.commits}"}
            hub.clusters[name] = replace(hub.clusters[name], approved=approved)


CLUSTERS = st.fixed_dictionaries(dict.fromkeys("abc", LABELS))
START = st.tuples(
    st.fixed_dictionaries({f"fleet/{number}.yaml": FLEET_FILES for number in "123"}),
    st.fixed_dictionaries(dict.fromkeys(FILES[:4], st.sampled_from(GOOD))),
    ENVIRONMENT_FILES,
)


@given(
    clusters=CLUSTERS,
    start=START,
    rounds=st.lists(st.tuples(st.lists(STEPS, max_size=4), st.booleans(), st.booleans()), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_whatever_changes_each_cluster_gets_what_resolving_it_anew_gives(
    clusters: dict[str, dict[str, str]],
    start: tuple[dict[str, str], dict[str, str], str],
    rounds: list[tuple[list[tuple[str, Any]], bool, bool]],
) -> None:
    hub = Hub()
    hub.commit({"fleet/environments.yaml": start[2]})
    hub.commit(start[1])
    for path, text in start[0].items():
        hub.commit({path: text})
    for name, labels in clusters.items():
        hub.clusters[name] = Cluster(labels)
    for steps, keep, forecast in [([], True, False), *rounds]:
        for step in steps:
            take(hub, step)
        if forecast:
            hub.forecast()
        hub.round(keep=keep)
        hub.round(keep=keep)
