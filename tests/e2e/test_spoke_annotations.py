"""What an object's own annotations ask for: left alone, made once, merged, made again. The meaning is Flux'."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, eventually
from tests.spoke.manifests import Manifest, Wanted, config_map, namespace

pytestmark = pytest.mark.cluster

FLUX, OURS = "kustomize.toolkit.fluxcd.io", "fleet.felloe.io"


def marked(manifest: Manifest, **annotations: str) -> Manifest:
    """Return an object with Flux' annotations."""
    metadata: Any = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {f"{FLUX}/{k}": v for k, v in annotations.items()}}}


def data(admin: Admin, namespace: str, name: str) -> object:
    found = admin.config_map(namespace, name)
    return found["data"] if found else None


@pytest.mark.parametrize("mark", [{"ssa": "Ignore"}, {"reconcile": "disabled"}, {"ssa": "ignore"}])
async def test_what_git_says_to_leave_alone_is_not_even_made(spoke: Spoke, admin: Admin, mark: dict[str, str]) -> None:
    spoke.want(Wanted("apps", [namespace("left"), marked(config_map("left", "a", k="v"), **mark)]))
    status = await spoke.until_applied("apps")
    assert (status.objects, status.problem_count) == (2, 0)
    assert admin.config_map("left", "a") is None


async def test_what_was_ours_and_is_left_alone_now_keeps_its_state_and_is_not_pruned(
    spoke: Spoke, admin: Admin
) -> None:
    spoke.want(Wanted("apps", [namespace("leave"), config_map("leave", "a", k="v")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("leave"), marked(config_map("leave", "a", k="w"), ssa="Ignore")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "leave", {"data": {"k": "by hand"}})
    await asyncio.sleep(0.5)
    assert data(admin, "leave", "a") == {"k": "by hand"}
    spoke.want(Wanted("apps", [namespace("leave")]))
    await spoke.until_applied("apps")
    assert data(admin, "leave", "a") == {"k": "by hand"}


@pytest.mark.parametrize("group", [FLUX, OURS])
async def test_an_annotation_in_the_cluster_stops_healing_and_changes_until_it_goes(
    spoke: Spoke, admin: Admin, group: str
) -> None:
    spoke.want(Wanted("apps", [namespace("live"), config_map("live", "a", k="1")]))
    await spoke.until_applied("apps")
    note: Manifest = {"metadata": {"annotations": {f"{group}/reconcile": "Disabled"}}}
    admin.patch("v1", "ConfigMap", "a", "live", {**note, "data": {"k": "by hand"}})
    spoke.want(Wanted("apps", [namespace("live"), config_map("live", "a", k="2")]))
    await spoke.until_applied("apps")
    assert data(admin, "live", "a") == {"k": "by hand"}
    admin.patch("v1", "ConfigMap", "a", "live", {"metadata": {"annotations": {f"{group}/reconcile": None}}})
    await eventually(lambda: data(admin, "live", "a") == {"k": "2"}, "the state of Git")


async def test_somebody_elses_object_that_says_so_is_not_adopted_until_it_stops(spoke: Spoke, admin: Admin) -> None:
    """The way to bring Flux, and us, into a living cluster: annotate first, adopt later."""
    admin.create(namespace("theirs"))
    admin.create(marked(config_map("theirs", "a", k="theirs"), reconcile="disabled"))
    many = [config_map("theirs", f"m{number}", k="v") for number in range(8)]
    options = ApplyOptions(prune=True, interval=1.0)
    spoke.want(Wanted("apps", [config_map("theirs", "a", k="ours"), *many], options))
    await spoke.until_applied("apps")
    assert data(admin, "theirs", "a") == {"k": "theirs"}
    assert data(admin, "theirs", "m7") == {"k": "v"}
    note: Manifest = {"metadata": {"annotations": {f"{FLUX}/reconcile": "enabled"}}}
    admin.patch("v1", "ConfigMap", "a", "theirs", note)
    await eventually(lambda: data(admin, "theirs", "a") == {"k": "ours"}, "adopted")


async def test_what_is_made_once_is_never_changed_comes_back_and_is_pruned(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("once"))
    admin.create(config_map("once", "theirs", k="theirs"))
    wanted = [marked(config_map("once", name, k="git"), ssa="IfNotPresent") for name in ("theirs", "ours")]
    spoke.want(Wanted("apps", wanted))
    await spoke.until_applied("apps")
    assert (data(admin, "once", "theirs"), data(admin, "once", "ours")) == ({"k": "theirs"}, {"k": "git"})
    admin.patch("v1", "ConfigMap", "ours", "once", {"data": {"k": "by hand"}})
    changed = [marked(config_map("once", name, k="newer"), ssa="IfNotPresent") for name in ("theirs", "ours")]
    spoke.want(Wanted("apps", changed))
    await spoke.until_applied("apps")
    assert data(admin, "once", "ours") == {"k": "by hand"}
    admin.delete("v1", "ConfigMap", "ours", "once")
    await eventually(lambda: data(admin, "once", "ours") == {"k": "newer"}, "made again")
    spoke.want(Wanted("apps", []))
    await spoke.until_applied("apps")
    assert data(admin, "once", "ours") is None
    assert data(admin, "once", "theirs") == {"k": "theirs"}


async def test_merged_only_what_git_sets_is_ours(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("merge"))
    admin.create(config_map("merge", "a", theirs="kept", both="theirs"))
    spoke.want(Wanted("apps", [marked(config_map("merge", "a", both="git", ours="1"), ssa="Merge")]))
    await spoke.until_applied("apps")
    assert data(admin, "merge", "a") == {"theirs": "kept", "both": "git", "ours": "1"}
    admin.patch("v1", "ConfigMap", "a", "merge", {"data": {"more": "by hand", "both": "by hand"}})
    await spoke.until_event("DriftHealed", "ConfigMap merge/a kubectl-edit changed data.both")
    assert data(admin, "merge", "a") == {"theirs": "kept", "both": "git", "ours": "1", "more": "by hand"}
    spoke.want(Wanted("apps", [marked(config_map("merge", "a", both="git"), ssa="Merge")]))
    await spoke.until_applied("apps")
    assert data(admin, "merge", "a") == {"theirs": "kept", "both": "git", "more": "by hand"}


async def test_a_value_that_means_nothing_is_told_and_ignored(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("typo"), marked(config_map("typo", "a", k="v"), reconcile="off")]))
    await spoke.until_event("AnnotationUnknown", f"{FLUX}/reconcile is 'off', which means nothing: use enabled or dis")
    await spoke.until_applied("apps")
    assert data(admin, "typo", "a") == {"k": "v"}


async def test_a_first_apply_of_many_asks_once_for_what_is_there(spoke: Spoke, admin: Admin) -> None:
    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", [namespace("many"), *(config_map("many", f"a{number}") for number in range(40))]))
    await spoke.until_applied("apps")
    reads = [each for each in asked(admin.cluster, mark) if each[0] in ("get", "list") and each[2] == "many"]
    assert [verb for verb, resource, *_ in reads if resource == "configmaps"] == ["list"]
