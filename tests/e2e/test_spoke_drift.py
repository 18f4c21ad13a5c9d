"""Whatever somebody does to an object by hand is undone, by watches alone, and said."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from felloe.bundle import ApplyOptions
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, disturbed, eventually
from tests.spoke.manifests import Manifest, Wanted, config_map, deployment, namespace, secret

pytestmark = pytest.mark.cluster


async def test_an_edit_is_undone_and_told_without_its_values(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("edit"), secret("edit", "a", password="right", other="x")]))
    await spoke.until_applied("apps")
    before = admin.get("v1", "Secret", "a", "edit")
    admin.patch("v1", "Secret", "a", "edit", {"stringData": {"password": "hunter2"}})
    event = await spoke.until_event("DriftHealed", "Secret edit/a")
    assert "kubectl-edit changed data.password at " in event.message
    assert "hunter2" not in event.message
    assert admin.get("v1", "Secret", "a", "edit")["data"] == before["data"]  # type: ignore[index]
    assert (await spoke.until("apps", lambda status: status.healed == 1, "healed")).problem_count == 0


async def test_a_field_that_was_removed_comes_back(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("removed"), config_map("removed", "a", k="v", l="w")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "removed", {"data": {"l": None}})
    event = await spoke.until_event("DriftHealed", "ConfigMap removed/a")
    assert "changed data.l" in event.message
    assert admin.config_map("removed", "a")["data"] == {"k": "v", "l": "w"}  # type: ignore[index]


async def test_a_deleted_object_comes_back(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("deleted"), config_map("deleted", "a", k="v")]))
    await spoke.until_applied("apps")
    admin.delete("v1", "ConfigMap", "a", "deleted")
    await spoke.until_event("DriftHealed", "ConfigMap deleted/a was deleted")
    assert admin.config_map("deleted", "a")["data"] == {"k": "v"}  # type: ignore[index]


async def test_a_removed_label_comes_back(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("label"), config_map("label", "a")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "label", {"metadata": {"labels": {"fleet.felloe.io/workload-name": None}}})
    await spoke.until_event("DriftHealed", "ConfigMap label/a had lost our labels")
    labels = admin.config_map("label", "a")["metadata"]["labels"]  # type: ignore[index]
    assert labels["fleet.felloe.io/workload-name"] == "apps"


async def test_a_deleted_namespace_comes_back_with_everything(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("nsgone"), config_map("nsgone", "a", k="v")]))
    await spoke.until_applied("apps")
    uid = admin.get("v1", "Namespace", "nsgone")["metadata"]["uid"]  # type: ignore[index]
    admin.delete("v1", "Namespace", "nsgone")

    def back() -> bool:
        found = admin.get("v1", "Namespace", "nsgone")
        return found is not None and found["metadata"]["uid"] != uid and admin.config_map("nsgone", "a") is not None

    await eventually(back, "namespace nsgone and its content back")


async def test_what_others_add_and_the_api_server_respells_is_no_drift(spoke: Spoke, admin: Admin) -> None:
    """`1000m` is stored as `1`; defaults, status and other people's annotations are not ours."""
    spoke.want(Wanted("apps", [namespace("spelling"), deployment("spelling", "web", cpu="1000m", memory="1024Mi")]))
    await spoke.until("apps", lambda status: bool(status.healthy_digest), "healthy")
    mark = admin.cluster.audit_mark()
    admin.patch("apps/v1", "Deployment", "web", "spelling", {"metadata": {"annotations": {"note": "mine"}}}, "tool")
    admin.patch("apps/v1", "Deployment", "web", "spelling", {"spec": {"revisionHistoryLimit": 3}}, "tool")
    await asyncio.sleep(1.0)
    assert disturbed(admin.cluster, mark) == []
    found = admin.get("apps/v1", "Deployment", "web", "spelling")
    assert found
    assert found["metadata"]["annotations"]["note"] == "mine"


async def test_a_field_that_somebody_adds_with_kubectl_goes(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("added"), config_map("added", "a", k="v")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "added", {"data": {"extra": "1"}})
    await spoke.until_event("DriftHealed", "ConfigMap added/a kubectl-edit changed fields that are not in Git")
    assert admin.config_map("added", "a")["data"] == {"k": "v"}  # type: ignore[index]


async def test_a_restart_with_kubectl_is_not_undone(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("rollout"), deployment("rollout", "web")]))
    await spoke.until("apps", lambda status: bool(status.healthy_digest), "healthy")
    annotations: Manifest = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    restart: Manifest = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    mark = admin.cluster.audit_mark()
    admin.patch("apps/v1", "Deployment", "web", "rollout", restart, "kubectl-rollout")
    await asyncio.sleep(1.0)
    assert disturbed(admin.cluster, mark) == []


async def test_an_object_that_was_made_with_kubectl_loses_what_leaves_git(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("adopted"))
    admin.create(config_map("adopted", "a", kept="1", left="2", never="3"))
    spoke.want(Wanted("apps", [config_map("adopted", "a", kept="1", left="2")]))
    await spoke.until_applied("apps")
    assert admin.config_map("adopted", "a")["data"] == {"kept": "1", "left": "2"}  # type: ignore[index]
    spoke.want(Wanted("apps", [config_map("adopted", "a", kept="1")]))
    await spoke.until_applied("apps")
    assert admin.config_map("adopted", "a")["data"] == {"kept": "1"}  # type: ignore[index]


async def test_a_fight_is_told_and_not_fought_at_full_speed(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("fight"), config_map("fight", "a", k="v")]))
    await spoke.until_applied("apps")
    for number in range(6):
        admin.patch("v1", "ConfigMap", "a", "fight", {"data": {"k": f"no {number}"}})
        expected = f"no {number}"
        if number < 3:
            await eventually(lambda: admin.config_map("fight", "a")["data"] == {"k": "v"}, "healed")  # type: ignore[index]
        else:
            found = admin.config_map("fight", "a")
            assert found
            if found["data"] == {"k": expected}:
                break
    await spoke.until_event("DriftContested", "ConfigMap fight/a")
    told = None
    while told is None:  # each pause is twice as long as the one before
        admin.patch("v1", "ConfigMap", "a", "fight", {"data": {"k": "theirs"}})
        with suppress(AssertionError):
            told = await spoke.until("apps", lambda status: status.problem_count == 1, "waits", seconds=1.0)
    assert told.problems[0].reason == "DriftContested"
    assert "kubectl-edit changed data.k" in told.problems[0].message
    await eventually(lambda: admin.config_map("fight", "a")["data"] == {"k": "v"}, "healed in the end")  # type: ignore[index]
    await spoke.until("apps", lambda status: not status.problem_count, "nothing differs")


async def test_an_edit_is_told_with_its_values_where_they_are_no_secret(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("told"), deployment("told", "web", replicas=2)]))
    await spoke.until_applied("apps")
    admin.patch("apps/v1", "Deployment", "web", "told", {"spec": {"replicas": 5}})
    event = await spoke.until_event("DriftHealed", "Deployment.apps told/web")
    assert "kubectl-edit changed spec.replicas (2 → 5) at " in event.message


@pytest.mark.parametrize("mode", ["warn", "disabled"])
async def test_drift_is_left_where_a_workload_says_so(spoke: Spoke, admin: Admin, mode: str) -> None:
    space, options = f"left-{mode}", ApplyOptions(prune=True, drift=mode)
    objects = [namespace(space), config_map(space, "a", k="v"), config_map(space, "b", k="v")]
    spoke.want(Wanted("apps", objects, options))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", space, {"data": {"k": "mine"}})
    admin.delete("v1", "ConfigMap", "b", space)
    missing = await spoke.until("apps", lambda status: "b" in [each.id.name for each in status.problems], "b is missed")
    if mode == "warn":
        event = await spoke.until_event("DriftDetected", f"ConfigMap {space}/a")
        assert "kubectl-edit changed data.k" in event.message
        await spoke.until_event("DriftDetected", f"ConfigMap {space}/b was deleted")
        told = await spoke.until("apps", lambda status: status.problem_count == 2, "both told")
        assert {each.reason for each in told.problems} == {"Drifted"}
    else:
        assert [each.reason for each in missing.problems] == ["NotFound"]
    spoke.want(Wanted("apps", [*objects, config_map(space, "c")], options))
    await spoke.until_applied("apps")
    assert admin.config_map(space, "a")["data"] == {"k": "mine"}  # type: ignore[index]
    assert admin.config_map(space, "b") is None
    spoke.want(Wanted("apps", objects, replace(options, requested_at="now")))
    await spoke.until_applied("apps")
    await spoke.until("apps", lambda status: status.problem_count == 0, "as desired after a reconcile was asked for")
    assert admin.config_map(space, "a")["data"] == {"k": "v"}  # type: ignore[index]
    assert admin.config_map(space, "b")["data"] == {"k": "v"}  # type: ignore[index]


async def test_an_ignored_field_is_set_once_and_then_left_to_others(spoke: Spoke, admin: Admin) -> None:
    ignore = {"Deployment": ("/spec/replicas", "/metadata/annotations/own~1er")}
    web = deployment("ignored", "web", replicas=2)
    web["metadata"] |= {"annotations": {"own/er": "git"}}  # type: ignore[operator]
    spoke.want(Wanted("apps", [namespace("ignored"), web], ignore=ignore))
    await spoke.until_applied("apps")

    def now() -> tuple[int, str, str]:
        found = admin.get("apps/v1", "Deployment", "web", "ignored")
        assert found
        container = found["spec"]["template"]["spec"]["containers"][0]
        return found["spec"]["replicas"], found["metadata"]["annotations"]["own/er"], container["image"]

    assert now() == (2, "git", "example.com/app:1")
    mark = admin.cluster.audit_mark()
    admin.patch("apps/v1", "Deployment", "web", "ignored", {"spec": {"replicas": 5}}, "autoscaler")
    admin.patch("apps/v1", "Deployment", "web", "ignored", {"metadata": {"annotations": {"own/er": "kubectl"}}})
    await asyncio.sleep(1.0)
    assert disturbed(admin.cluster, mark) == []
    # A change in Git keeps what others set, also when nobody but us has ever owned it.
    changed = deployment("ignored", "web", replicas=3)
    changed["metadata"] |= {"annotations": {"own/er": "git"}}  # type: ignore[operator]
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/app:2"  # type: ignore[index]
    spoke.want(Wanted("apps", [namespace("ignored"), changed], ignore=ignore))
    await spoke.until_applied("apps")
    assert now() == (5, "kubectl", "example.com/app:2")
    # Everything else is healed as ever.
    image: Manifest = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.com/evil"}]}}}}
    admin.patch("apps/v1", "Deployment", "web", "ignored", image)
    event = await spoke.until_event("DriftHealed", "Deployment.apps ignored/web")
    assert "containers[main].image" in event.message
    assert "replicas" not in event.message
    assert now() == (5, "kubectl", "example.com/app:2")
    # And a field that is ignored no longer is Git's again.
    spoke.want(Wanted("apps", [namespace("ignored"), changed]))
    await spoke.until_applied("apps")
    assert now() == (3, "git", "example.com/app:2")


async def test_an_ignored_field_that_only_we_own_stays_when_the_rest_changes(spoke: Spoke, admin: Admin) -> None:
    ignore = {"Deployment": ("/spec/replicas",)}
    spoke.want(Wanted("apps", [namespace("alone"), deployment("alone", "web", replicas=4)], ignore=ignore))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("alone"), deployment("alone", "web", replicas=4, cpu="1")], ignore=ignore))
    await spoke.until_applied("apps")
    assert admin.get("apps/v1", "Deployment", "web", "alone")["spec"]["replicas"] == 4  # type: ignore[index]


async def test_a_quiet_cluster_is_asked_nothing(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("quiet"), *(config_map("quiet", f"a{number}") for number in range(20))]))
    await spoke.until("apps", lambda status: bool(status.healthy_digest), "healthy")
    mark = admin.cluster.audit_mark()
    await asyncio.sleep(3.0)
    assert disturbed(admin.cluster, mark) == []
