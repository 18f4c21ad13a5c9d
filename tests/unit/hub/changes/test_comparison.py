"""Plans of a cluster compared: what changes of its workloads and objects, what is said of it, and what stays secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from felloe.digest import Digest
from hub.changes.comparison import Comparison
from hub.changes.grouping import Groups, Seen
from hub.changes.model import Action, ObjectChange, Placed, Reason, Severity, WorkloadChange
from hub.changes.shown import group_json
from hub.targeting import ClusterPlan
from tests.fleet.manifests import config_map, deployment, documents, environment, kustomization, namespace, placement
from tests.unit.hub.targeting.world import World


def fleet(*objects: Mapping[str, object], more: Mapping[str, str] | None = None, **spec: Any) -> dict[str, str]:
    """A fleet whose every cluster gets the folder ``app`` with these objects."""
    return {
        "fleet/app.yaml": documents(kustomization("app", "./app", "flux-system", **spec), placement("app", "app")),
        "app/kustomization.yaml": "resources: []",
        **({"app/objects.yaml": documents(*objects)} if objects else {}),
        **(more or {}),
    }


class Fleet:
    """A fleet that is planned again and again, with the objects that the hub has kept."""

    def __init__(self, files: Mapping[str, str], cluster: str = "dev") -> None:
        self.world = World(dict(files))
        self.cluster = cluster
        self.kept: dict[Digest, bytes] = {}
        self.comparison = Comparison(self.kept.get)
        self.now: ClusterPlan | None = None
        first = self.plan()
        self.now = first.without_blobs()
        self.kept.update(first.blobs)

    def plan(self) -> ClusterPlan:
        return self.world.plan(self.cluster, previous=self.now)

    def change(self, files: Mapping[str, str], minor: int | None = None) -> tuple[Placed, ...]:
        self.world.files = dict(files)
        self.world.revision = "main@sha1:2"
        return self.comparison.cluster(self.now, self.plan(), minor)

    def one(self, files: Mapping[str, str], minor: int | None = None) -> WorkloadChange:
        (placed,) = self.change(files, minor)
        return placed.change


def only(change: WorkloadChange) -> ObjectChange:
    (found,) = change.objects
    return found


def reasons(change: WorkloadChange) -> list[tuple[Reason, Severity]]:
    return [(finding.reason, finding.severity) for finding in change.findings]


def test_nothing_changes() -> None:
    files = fleet(config_map("a", "shop", v="1"))
    assert Fleet(files).change(files) == ()
    assert Fleet(files).change({**files, "README.md": "hello"}) == ()


def test_objects_that_come_go_and_change() -> None:
    before = Fleet(fleet(config_map("a", "shop", v="1"), config_map("b", "shop", v="1")))
    change = before.one(fleet(config_map("b", "shop", v="2"), config_map("c", "shop", v="1")))
    assert (change.action, change.unit) == (Action.UPDATE, "placement/app")
    assert [(each.id.name, each.action) for each in change.objects] == [
        ("a", Action.DELETE), ("b", Action.UPDATE), ("c", Action.CREATE),
    ]  # fmt: skip
    gone, changed, new = change.objects
    assert [(each.path, each.before, each.after) for each in changed.fields] == [("data.v", "1", "2")]
    assert new.manifest == config_map("c", "shop", v="1")
    assert gone.manifest is None
    assert change.findings == ()


def test_a_workload_that_comes_or_goes() -> None:
    placed = fleet(config_map("a", "shop", v="1"))
    nowhere = {"fleet/env.yaml": documents(environment("dev"))}
    change = Fleet(nowhere).one(placed)
    assert (change.action, only(change).action) == (Action.CREATE, Action.CREATE)
    change = Fleet(placed).one(nowhere)
    assert (change.action, change.unit, only(change).action) == (Action.DELETE, "placement/app", Action.DELETE)


@pytest.mark.parametrize("spec", [{"prune": False}, {"deletionPolicy": "Orphan"}])
def test_what_is_not_pruned_is_let_go_of(spec: dict[str, Any]) -> None:
    change = Fleet(fleet(config_map("a", "shop"), **spec)).one({"fleet/env.yaml": documents(environment("dev"))})
    assert only(change).action is Action.RELEASE
    assert reasons(change) == [(Reason.KEPT, Severity.NOTE)]


def test_an_annotation_keeps_an_object() -> None:
    kept = config_map("a", "shop")
    kept["metadata"]["annotations"] = {"kustomize.toolkit.fluxcd.io/prune": "disabled"}  # type: ignore[index]
    change = Fleet(fleet(kept, config_map("b", "shop"))).one(fleet(config_map("b", "shop")))
    assert only(change).action is Action.RELEASE


def test_an_object_that_moves_is_deleted_nowhere() -> None:
    def files(a: list[Mapping[str, object]], b: list[Mapping[str, object]]) -> dict[str, str]:
        found = {
            "fleet/app.yaml": documents(
                kustomization("a", "./a", "flux-system"), kustomization("b", "./b", "flux-system"),
                placement("app", "a", "b"),
            ),
        }  # fmt: skip
        return found | {"a/objects.yaml": documents(*a), "b/objects.yaml": documents(*b)}

    stays, moves = config_map("stays", "shop"), config_map("moves", "shop", v="1")
    before = Fleet(files([stays, moves], [config_map("other", "shop")]))
    after = files([stays], [config_map("other", "shop"), config_map("moves", "shop", v="2")])
    (change,) = (placed.change for placed in before.change(after) if placed.change.objects)
    assert change.id.name == "b"
    moved = only(change)
    assert (moved.action, moved.origin and moved.origin.name) == (Action.UPDATE, "a")
    assert [each.path for each in moved.fields] == ["data.v"]


def test_what_a_generator_makes_anew_is_a_change_of_it() -> None:
    before, after = config_map("settings-2222222222", "shop", v="1"), config_map("settings-4444444444", "shop", v="2")
    changed = only(Fleet(fleet(before)).one(fleet(after)))
    assert (changed.action, changed.id.name) == (Action.UPDATE, "settings-4444444444")
    assert changed.former
    assert changed.former.name == "settings-2222222222"
    assert [each.path for each in changed.fields] == ["data.v", "metadata.name"]


def test_variables_are_told_apart_from_the_objects_that_use_them() -> None:
    def files(tier: str) -> dict[str, str]:
        uses = config_map("uses", "shop", tier="${tier}", where="${cluster_name}")
        return fleet(uses, config_map("plain", "shop"), more={
            "fleet/env.yaml": documents(environment("dev", tier=tier)),
            "fleet/dev.yaml": documents(
                {"apiVersion": "fleet.felloe.io/v1alpha1", "kind": "Cluster",
                 "metadata": {"name": "dev", "labels": {"env": "dev"}}}
            ),
        })  # fmt: skip

    (placed,) = Fleet(files("small")).change(files("large"))
    assert placed.variables == (("tier", "small", "large"),)
    changed = only(placed.change)
    assert changed.id.name == "uses"
    assert [(each.path, each.after) for each in changed.fields] == [("data.tier", "${tier}")]


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"}}


def secret(password: str, **more: str) -> dict[str, object]:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"stringData": {"p": password}})}
    metadata = {"name": "login", "namespace": "shop", "annotations": copy}
    return {**SECRET, "metadata": metadata, "stringData": {"password": password, "user": "shop-user", **more}}


def shown(placed: tuple[Placed, ...]) -> str:
    """All that the API tells."""
    groups = Groups()
    groups.add(Seen("dev"), placed)
    return json.dumps([group_json(group) for group in groups.groups()])


def test_no_value_of_a_secret_is_told() -> None:
    before = Fleet(fleet(secret("correct-horse")))
    placed = before.change(fleet(secret("battery-staple", extra="tr0ub4dor")))
    assert [(each.path, each.before, each.after) for each in only(placed[0].change).fields] == [
        ("stringData.extra", None, "***"),
        ("stringData.password", "*** (before)", "*** (after)"),
    ]
    told = shown(placed) + shown(before.change({"fleet/env.yaml": documents(environment("dev"))}))
    told += shown(Fleet({"fleet/env.yaml": documents(environment("dev"))}).change(fleet(secret("battery-staple"))))
    for value in ("correct-horse", "battery-staple", "tr0ub4dor", "shop-user"):
        assert value not in told


def test_no_variable_that_a_secret_uses_is_told() -> None:
    def files(value: str) -> dict[str, str]:
        return fleet(secret("tr0ub${word}4dor"), config_map("a", "shop", also="${word}"), more={
            "fleet/env.yaml": documents(environment("dev", word=value)),
            "fleet/dev.yaml": documents(
                {"apiVersion": "fleet.felloe.io/v1alpha1", "kind": "Cluster",
                 "metadata": {"name": "dev", "labels": {"env": "dev"}}}
            ),
        })  # fmt: skip

    (placed,) = Fleet(files("correct-horse")).change(files("battery-staple"))
    assert placed.variables == (("word", "*** (before)", "*** (after)"),)
    told = shown((placed,))
    for value in ("correct-horse", "battery-staple", "tr0ub", "4dor"):
        assert value not in told


def test_options_of_a_workload() -> None:
    app = config_map("a", "shop")
    change = Fleet(fleet(app)).one(fleet(app, retryInterval="1m", wait=True))
    assert [(each.path, each.after) for each in change.options] == [("retryInterval", 60.0), ("wait", True)]
    assert change.objects == ()


def test_what_does_not_build_is_an_error_once() -> None:
    good = fleet(config_map("a", "shop"))
    bad = {**good, "app/objects.yaml": "BROKEN"}
    change = Fleet(good).one(bad)
    assert (change.action, reasons(change)) == (Action.SAME, [(Reason.NOT_BUILT, Severity.ERROR)])
    assert "app/objects.yaml: does not build" in change.findings[0].message
    assert Fleet(bad).change({**bad, "README.md": "x"}) == (), "as it is already"


def test_fields_that_can_not_be_changed() -> None:
    other = deployment("web")
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}  # type: ignore[index]
    web = deployment("web")
    change = Fleet(fleet(web)).one(fleet(other))
    (finding,) = change.findings
    assert (finding.reason, finding.severity) == (Reason.IMMUTABLE_FIELD, Severity.WARNING)
    assert "spec.selector.matchLabels.app can't be changed, so that applying it fails" in finding.message
    change = Fleet(fleet(web, force=True)).one(fleet(other, force=True))
    assert "deleted and made again" in change.findings[0].message


def test_an_immutable_field_that_changes_by_a_variable() -> None:
    def files(app: str) -> dict[str, str]:
        web = deployment("web")
        web["spec"]["selector"]["matchLabels"] = {"app": "${app}"}  # type: ignore[index]
        return fleet(web, more={
            "fleet/env.yaml": documents(environment("dev", app=app)),
            "fleet/dev.yaml": documents(
                {"apiVersion": "fleet.felloe.io/v1alpha1", "kind": "Cluster",
                 "metadata": {"name": "dev", "labels": {"env": "dev"}}}
            ),
        })  # fmt: skip

    assert reasons(Fleet(files("a")).one(files("b"))) == [(Reason.IMMUTABLE_FIELD, Severity.WARNING)]


def many(number: int) -> list[Mapping[str, object]]:
    return [config_map(f"c{index}", "shop") for index in range(number)]


@pytest.mark.parametrize(
    ("before", "after", "spec", "warned"),
    [(20, 9, {}, True), (20, 10, {}, False), (12, 3, {}, False), (20, 9, {"prune": False}, False)],
)
def test_mass_prune(before: int, after: int, spec: dict[str, Any], warned: bool) -> None:
    change = Fleet(fleet(*many(before), **spec)).one(fleet(*many(after), **spec))
    assert (Reason.MASS_PRUNE in [finding.reason for finding in change.findings]) is warned


def test_deletions_that_take_more_along() -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"}, "spec": {"group": "example.org"},
    }  # fmt: skip
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"}}
    stays = config_map("stays", "shop")
    change = Fleet(fleet(stays, namespace("shop"), definition, claim)).one(fleet(stays))
    assert {finding.reason for finding in change.findings} == {
        Reason.NAMESPACE_DELETED, Reason.DEFINITION_REMOVED, Reason.DATA_DELETED,
    }  # fmt: skip
    assert {finding.severity for finding in change.findings} == {Severity.WARNING}


@pytest.mark.parametrize(
    ("minor", "reason"), [(24, Reason.DEPRECATED_API), (25, Reason.REMOVED_API), (None, Reason.DEPRECATED_API)]
)
def test_api_versions_by_the_version_of_the_cluster(minor: int | None, reason: Reason) -> None:
    job = {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "j", "namespace": "shop"}}
    stays = config_map("stays", "shop")
    change = Fleet(fleet(stays)).one(fleet(stays, job), minor)
    assert [finding.reason for finding in change.findings] == [reason]
    assert "use batch/v1" in change.findings[0].message


def test_an_object_whose_content_is_not_here_is_told_without_fields() -> None:
    before = Fleet(fleet(config_map("a", "shop", v="1")))
    before.kept.clear()
    change = before.one(fleet(config_map("a", "shop", v="2")))
    assert (only(change).action, only(change).fields) == (Action.UPDATE, ())
    assert reasons(change) == [(Reason.CONTENT_UNKNOWN, Severity.NOTE)]


def test_the_same_change_is_the_same_result_however_many_clusters_have_it() -> None:
    before, after = fleet(config_map("a", "shop", v="1")), fleet(config_map("a", "shop", v="2"))
    one, other = Fleet(before, "one"), Fleet(before, "other")
    other.comparison = one.comparison
    assert one.one(after) is other.one(after)
