"""A fleet in memory: trees from texts, renders that simply read every manifest below a folder, and the hub's loop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from felloe.errors import RenderError
from felloe.identity import ObjectId, WorkloadId, object_id
from felloe.k8syaml import load_all
from hub.fleet import load_fleet
from hub.render.objects import RenderedObject
from hub.render.render import Rendered
from hub.sources.spec import GitRef, GitSpec
from hub.sources.tree import EntryKind, TreeEntry
from hub.targeting import ClusterPlan, Inputs, RenderCache, RenderWant, Resolution, Snapshot, resolve
from hub.targeting.plan import Condition
from hub.targeting.roots import SYNC_ROOT

FLEET_URL = "https://git.example/org/fleet.git"
SYNC_PATH = "clusters/${cluster_name}"


@dataclass(frozen=True)
class MemoryTree:
    files: Mapping[str, str]
    revision: str = "main@sha1:1"

    def entry(self, path: str) -> TreeEntry | None:
        name = path.rpartition("/")[2]
        if path in self.files:
            return TreeEntry(name, EntryKind.FILE, path)
        if any(file.startswith(f"{path}/") for file in self.files):
            return TreeEntry(name, EntryKind.DIRECTORY, path)
        return None

    def list(self, path: str) -> Sequence[TreeEntry]:
        prefix = f"{path}/" if path else ""
        names = {file.removeprefix(prefix).split("/")[0] for file in self.files if file.startswith(prefix)}
        entries = [self.entry(prefix + name) for name in sorted(names)]
        return [entry for entry in entries if entry is not None]

    def read(self, entry: TreeEntry) -> bytes:
        return self.files[entry.oid].encode()


def render(tree: MemoryTree, want: RenderWant) -> Rendered | RenderError:
    """Every manifest below a folder; one that says BROKEN does not build, nor does a patch that says so."""
    prefix = f"{want.path}/" if want.path else ""
    content = {path: text for path, text in sorted(tree.files.items()) if path.startswith(prefix)}
    found: list[RenderedObject] = []
    for path, text in content.items():
        if text == "BROKEN":
            return RenderError(f"{path}: does not build")
        if path.endswith("kustomization.yaml"):
            continue
        for document in load_all(text, file=path):
            assert isinstance(document.value, dict)
            found.append(RenderedObject(object_id(document.value), document.value, path))
    if any("BROKEN" in patch.patch for patch in want.changes.patches):
        return RenderError(f"{want.path}: does not build: no matches for Id")
    about = [want.path, want.target_namespace, want.changes, sorted(content.items())]
    key = hashlib.sha256(repr(about).encode()).hexdigest()
    return Rendered(key, tuple(sorted(found, key=lambda each: each.id)), frozenset())


@dataclass
class World:
    """What is in Git. `other` holds repositories besides the fleet's by URL, or what fetching them says."""

    files: dict[str, str] = field(default_factory=dict)
    other: dict[str, dict[str, str] | str] = field(default_factory=dict)
    revision: str = "main@sha1:1"
    default_sync_path: str | None = SYNC_PATH
    cache: RenderCache = field(default_factory=RenderCache)
    asked: list[str] = field(default_factory=list)

    def inputs(self, cluster: str = "dev", **more: object) -> Inputs:
        tree = MemoryTree(dict(self.files), self.revision)
        inputs = Inputs(
            cluster=cluster,
            fleet=load_fleet(tree, "fleet"),
            fleet_source=GitSpec("flux-system", "flux-system", FLEET_URL, GitRef(branch="main")),
            fleet_snapshot=Snapshot(tree, self.revision),
            default_sync_path=self.default_sync_path,
        )
        return replace(inputs, **more)  # type: ignore[arg-type]

    def plan(self, cluster: str = "dev", previous: ClusterPlan | None = None, **more: object) -> ClusterPlan:
        return self.settle(self.inputs(cluster, previous=previous, **more)).plan

    def settle(self, inputs: Inputs) -> Resolution:
        """Do what the hub does: fulfil what is wanted until nothing more is."""
        snapshots: dict[GitSpec, Snapshot | str] = dict(inputs.snapshots)
        renders: dict[RenderWant, Rendered | RenderError] = dict(inputs.renders)
        for _ in range(20):
            inputs = replace(inputs, snapshots=snapshots, renders=renders)
            resolution = resolve(inputs, self.cache)
            if not resolution.missing(inputs):
                return resolution
            for spec in resolution.wanted_sources:
                content = self.other.get(spec.url, f"{spec.url} can't be reached")
                self.asked.append(spec.url)
                snapshots[spec] = content if isinstance(content, str) else Snapshot(MemoryTree(content), self.revision)
            for want in resolution.wanted_renders:
                snapshot = inputs.fleet_snapshot if want.source == inputs.fleet_source else snapshots[want.source]
                assert isinstance(snapshot, Snapshot)
                assert isinstance(snapshot.tree, MemoryTree)
                renders[want] = render(snapshot.tree, want)
        raise AssertionError("the wants never end")


def workload(name: str, namespace: str = "flux-system") -> WorkloadId:
    return WorkloadId("Kustomization", namespace, name)


ROOT = SYNC_ROOT


def kustomization(name: str, path: str = "", spec: str = "", source: str = "flux-system") -> str:
    """Return a Kustomization; `spec` is more of its spec, as YAML flow entries."""
    return f"""
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: flux-system}}
spec:
  {{interval: 10m, prune: true, sourceRef: {{kind: GitRepository, name: {source}}},
  path: "{path or f"./apps/{name}"}", {spec}}}
---
"""


def repository(name: str = "flux-system", url: str = FLEET_URL, spec: str = "ref: {branch: main}") -> str:
    return f"""
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}, namespace: flux-system}}
spec: {{interval: 1m, url: "{url}", {spec}}}
---
"""


def config_map(name: str, data: str = "{}", namespace: str = "shop") -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: '{name}', namespace: {namespace}}}
data: {data}
---
"""


def map_id(name: str, namespace: str = "shop") -> ObjectId:
    return ObjectId("", "ConfigMap", namespace, name)


def objects(plan: ClusterPlan, name: str | WorkloadId) -> list[str]:
    """Return the names of the objects that a workload has in the bundle."""
    identity = workload(name) if isinstance(name, str) else name
    found = plan.bundle.by_id.get(identity)
    return [entry.id.name for entry in found.entries] if found else []


def condition(plan: ClusterPlan, name: str | WorkloadId, kind: str = "Ready") -> Condition | None:
    identity = workload(name) if isinstance(name, str) else name
    return next((each for each in plan.by_id[identity].conditions if each.type == kind), None)


def why(plan: ClusterPlan, name: str | WorkloadId, kind: str = "Ready") -> tuple[str, str]:
    """Return reason and message of a condition that must be there."""
    found = condition(plan, name, kind)
    assert found is not None, f"{name} has no condition {kind}: {plan.workloads}"
    return found.reason, found.message
