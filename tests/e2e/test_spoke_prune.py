"""What a spoke deletes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, custom, definition, namespace

pytestmark = pytest.mark.cluster

KEEP = ApplyOptions(prune=False)


async def test_what_leaves_a_workload_is_deleted_and_the_rest_stays(spoke: Spoke, admin: Admin) -> None:
    kept = [namespace("prune"), config_map("prune", "kept")]
    spoke.want(Wanted("apps", [*kept, config_map("prune", "gone")]))
    await spoke.until_applied("apps")
    uid = admin.config_map("prune", "kept")["metadata"]["uid"]  # type: ignore[index]
    spoke.want(Wanted("apps", kept))
    status = await spoke.until_applied("apps")
    assert admin.config_map("prune", "gone") is None
    assert admin.config_map("prune", "kept")["metadata"]["uid"] == uid  # type: ignore[index]
    assert status.objects == 2


async def test_without_prune_nothing_is_deleted(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("keep"), config_map("keep", "a"), config_map("keep", "b")], KEEP))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("keep"), config_map("keep", "a")], KEEP))
    assert (await spoke.until_applied("apps")).objects == 2
    spoke.want()
    await spoke.until_removed("apps")
    assert {"a", "b"} <= admin.names("v1", "ConfigMap", "keep")


async def test_a_workload_that_leaves_the_bundle_goes_with_its_namespace(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("leaves"), config_map("leaves", "a")]), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("other"))
    await spoke.until_removed("apps")
    await eventually(lambda: admin.get("v1", "Namespace", "leaves") is None, "namespace leaves gone")
    inventories = admin.cluster.api.get_json("/api/v1/namespaces/felloe-system/configmaps")["items"]
    assert not [item for item in inventories if "apps" in str(item["metadata"].get("annotations"))]


async def test_a_namespace_that_was_there_before_us_is_never_deleted(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("older"))
    spoke.want(Wanted("apps", [namespace("older"), config_map("older", "a"), namespace("default")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps"))
    await spoke.until_applied("apps")
    assert admin.config_map("older", "a") is None
    for name in ("older", "default"):
        found = admin.get("v1", "Namespace", name)
        assert found
        assert found["status"]["phase"] == "Active"


async def test_an_object_without_our_labels_is_not_deleted(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("taken"), config_map("taken", "a")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("taken"), config_map("taken", "a")], ApplyOptions(prune=True, suspend=True)))
    await spoke.until("apps", lambda status: True, "suspended")
    labels = {"fleet.felloe.io/workload-name": "somebody-elses"}
    admin.patch("v1", "ConfigMap", "a", "taken", {"metadata": {"labels": labels}})
    spoke.want(Wanted("apps", [namespace("taken")]))
    await spoke.until_applied("apps")
    assert admin.config_map("taken", "a")
    await spoke.until_event("Pruned", "ConfigMap taken/a left")


async def test_an_object_changes_hands_without_being_deleted(spoke: Spoke, admin: Admin) -> None:
    moving = config_map("moves", "a", k="v")
    spoke.want(Wanted("old", [namespace("moves"), moving]), Wanted("new"))
    await spoke.until_applied("old")
    uid = admin.config_map("moves", "a")["metadata"]["uid"]  # type: ignore[index]
    spoke.want(Wanted("old", [namespace("moves")]), Wanted("new", [moving]))
    await spoke.until_applied("new")
    assert (await spoke.until("old", lambda status: status.objects == 1, "lets go")).problem_count == 0
    found = admin.config_map("moves", "a")
    assert found
    assert found["metadata"]["uid"] == uid
    assert found["metadata"]["labels"]["fleet.felloe.io/workload-name"] == "new"


async def test_a_renamed_workload_keeps_its_objects(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("renamed"), config_map("renamed", "a")]
    spoke.want(Wanted("before", objects))
    await spoke.until_applied("before")
    uids = {admin.get("v1", "Namespace", "renamed")["metadata"]["uid"]}  # type: ignore[index]
    spoke.want(Wanted("after", objects))
    await spoke.until_applied("after")
    await spoke.until_removed("before")
    assert {admin.get("v1", "Namespace", "renamed")["metadata"]["uid"]} == uids  # type: ignore[index]
    spoke.want()
    await spoke.until_removed("after")


async def test_objects_go_before_their_definition(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("crgone"), definition("gizmos", "Gizmo"), custom("crgone", "one", "Gizmo")]
    spoke.want(Wanted("apps", objects), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("other"))
    await spoke.until_removed("apps")
    name = "gizmos.test.example.com"
    await eventually(
        lambda: admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) is None, "definition gone"
    )


async def test_nothing_is_deleted_while_something_wanted_fails(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("halfway"), config_map("halfway", "old")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("halfway"), config_map("halfway", "Not_A_Name")]))
    await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert admin.config_map("halfway", "old")


async def test_a_suspended_workload_is_left_alone_also_when_it_leaves(spoke: Spoke, admin: Admin) -> None:
    frozen = ApplyOptions(prune=True, suspend=True)
    spoke.want(Wanted("apps", [namespace("frozen"), config_map("frozen", "a", k="1")]), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("frozen"), config_map("frozen", "a", k="2")], frozen), Wanted("other"))
    await spoke.until("apps", lambda status: True, "suspended")
    admin.patch("v1", "ConfigMap", "a", "frozen", {"data": {"k": "by hand"}})
    spoke.want(Wanted("other", [config_map("frozen", "marker")]))
    await spoke.until_removed("apps")
    await spoke.until_applied("other")
    assert admin.config_map("frozen", "a")["data"] == {"k": "by hand"}  # type: ignore[index]


async def test_an_object_that_no_move_has_reached_is_not_forgotten(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("old", [namespace("halfmoved"), config_map("halfmoved", "a")]), Wanted("new"))
    await spoke.until_applied("old")
    refused = config_map("halfmoved", "a") | {"data": {"k": 1}}
    spoke.want(Wanted("old", [namespace("halfmoved")]), Wanted("new", [refused]))
    await spoke.until("new", lambda status: status.problem_count == 1, "fails")
    await spoke.until("old", lambda status: spoke.applied("old"), "has nothing more to do")
    spoke.want(Wanted("old", [namespace("halfmoved")]), Wanted("new"))
    await spoke.until_applied("old")
    await spoke.until_applied("new")
    await eventually(lambda: admin.config_map("halfmoved", "a") is None, "gone")


async def test_a_namespace_that_we_made_goes_also_after_it_changed_hands(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("old", [namespace("handed")]), Wanted("new"))
    await spoke.until_applied("old")
    spoke.want(Wanted("old"), Wanted("new", [namespace("handed")]))
    await spoke.until_applied("new")
    await spoke.until("old", lambda status: status.objects == 0, "lets go")
    spoke.want(Wanted("old"), Wanted("new"))
    await spoke.until_applied("new")
    await eventually(lambda: admin.get("v1", "Namespace", "handed") is None, "namespace handed gone")


async def test_a_namespace_that_comes_back_while_it_goes_is_one_that_we_made(spoke: Spoke, admin: Admin) -> None:
    finalizer = config_map("comesback", "a") | {
        "metadata": {"name": "a", "namespace": "comesback", "finalizers": ["test.example.com/wait"]}
    }
    whole = ApplyOptions(prune=True, force_prune=True)
    spoke.want(Wanted("apps", [namespace("comesback")], whole))
    await spoke.until_applied("apps")
    first = admin.get("v1", "Namespace", "comesback")["metadata"]["uid"]  # type: ignore[index]
    admin.create(finalizer)
    spoke.want(Wanted("apps", options=whole))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("comesback")]))
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "comesback", {"metadata": {"finalizers": None}})

    def new() -> bool:
        found = admin.get("v1", "Namespace", "comesback")
        return found is not None and found["metadata"]["uid"] != first

    await eventually(new, "namespace comesback made anew")
    spoke.want(Wanted("apps"))
    await spoke.until_applied("apps")
    await eventually(lambda: admin.get("v1", "Namespace", "comesback") is None, "namespace comesback gone")


async def test_an_object_changes_hands_when_its_workload_goes_and_without_prune(spoke: Spoke, admin: Admin) -> None:
    moving = [namespace("hands"), config_map("hands", "a")]
    spoke.want(Wanted("giver", moving), Wanted("idle"))
    await spoke.until_applied("giver")
    uid = admin.config_map("hands", "a")["metadata"]["uid"]  # type: ignore[index]
    spoke.want(Wanted("idle", moving, KEEP))
    await spoke.until_removed("giver")
    assert (await spoke.until_applied("idle")).objects == 2
    spoke.want(Wanted("heir", moving))
    await spoke.until_removed("idle")
    await spoke.until_applied("heir")
    found = admin.config_map("hands", "a")
    assert found
    assert found["metadata"]["uid"] == uid
    assert found["metadata"]["labels"]["fleet.felloe.io/workload-name"] == "heir"


@pytest.mark.parametrize(
    ("policy", "prune", "stays"),
    [("Orphan", True, True), ("Delete", False, False), ("WaitForTermination", False, False)],
)
async def test_the_deletion_policy_decides_when_the_workload_goes(
    spoke: Spoke, admin: Admin, policy: str, prune: bool, stays: bool
) -> None:
    options = ApplyOptions(prune=prune, deletion_policy=policy)
    name = policy.lower()
    kept = [namespace(name), config_map(name, "a")]
    spoke.want(Wanted("apps", [*kept, config_map(name, "b")], options), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", kept, options), Wanted("other"))
    assert (await spoke.until_applied("apps")).objects == 2
    assert (admin.config_map(name, "b") is None) is prune  # the policy says nothing of a workload that stays
    if admin.config_map(name, "b"):
        admin.delete("v1", "ConfigMap", "b", name)
    spoke.want(Wanted("other"))
    await spoke.until_removed("apps")
    assert (admin.config_map(name, "a") is not None) is stays
    assert (admin.get("v1", "Namespace", name) is not None) is stays


async def test_what_a_finalizer_may_need_stays_until_it_is_gone(spoke: Spoke, admin: Admin) -> None:
    guarded = custom("finals", "guarded", "Gadget")
    guarded["metadata"]["finalizers"] = ["example.com/controller"]  # type: ignore[index]
    objects = [namespace("finals"), definition("gadgets", "Gadget"), config_map("finals", "controller"), guarded]
    spoke.want(Wanted("apps", objects, ApplyOptions(prune=True, timeout=1.0)), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("other"))
    status = await spoke.until_said("apps", lambda status: bool(status.problems), "reports the finalizer")
    problem = status.problems[0]
    assert (problem.id.kind, problem.reason) == ("Gadget", "Terminating")
    assert "waits for its finalizers example.com/controller" in problem.message
    assert "kubectl patch gadget.test.example.com guarded -n finals" in problem.message
    await spoke.until_event("Terminating", "example.com/controller")
    assert admin.config_map("finals", "controller")
    assert "apps" not in spoke.removed
    admin.patch("test.example.com/v1", "Gadget", "guarded", "finals", {"metadata": {"finalizers": None}})
    await spoke.until_removed("apps")
    assert admin.get("v1", "Namespace", "finals") is None


async def test_what_is_on_its_way_holds_up_nothing_else(spoke: Spoke, admin: Admin) -> None:
    slow = config_map("slow", "slow")
    slow["metadata"]["finalizers"] = ["example.com/a"]  # type: ignore[index]
    kept = [namespace("slow"), config_map("slow", "kept", k="v")]
    spoke.want(Wanted("apps", [*kept, slow]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", kept))
    assert (await spoke.until_applied("apps")).objects == 3
    admin.patch("v1", "ConfigMap", "kept", "slow", {"data": {"k": "by hand"}})
    await spoke.until_event("DriftHealed", "slow/kept")
    admin.patch("v1", "ConfigMap", "slow", "slow", {"metadata": {"finalizers": None}})
    await spoke.until("apps", lambda status: status.objects == 2, "lets go of what is gone")


async def test_a_namespace_with_what_is_not_ours_stays_until_that_is_gone(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("shared"), config_map("shared", "a")]))
    await spoke.until_applied("apps")
    admin.create(config_map("shared", "theirs"))
    spoke.want(Wanted("apps"))
    status = await spoke.until("apps", lambda status: bool(status.problems), "refuses")
    assert status.problems[0].reason == "PruneFailed"
    assert "ConfigMap shared/theirs" in status.problems[0].message
    assert admin.config_map("shared", "a") is None
    assert admin.get("v1", "Namespace", "shared")["status"]["phase"] == "Active"  # type: ignore[index]
    admin.delete("v1", "ConfigMap", "theirs", "shared")
    await spoke.until("apps", lambda status: not status.objects, "deletes it then")
    assert admin.get("v1", "Namespace", "shared") is None


@pytest.mark.parametrize("by", ["object", "workload"])
async def test_a_namespace_goes_with_all_in_it_where_that_is_said(spoke: Spoke, admin: Admin, by: str) -> None:
    mine = namespace(f"forced-{by}")
    if by == "object":
        mine["metadata"]["annotations"] = {"fleet.felloe.io/prune": "force"}  # type: ignore[index]
    spoke.want(Wanted("apps", [mine], ApplyOptions(prune=True, force_prune=by == "workload")), Wanted("other"))
    await spoke.until_applied("apps")
    admin.create(config_map(f"forced-{by}", "theirs"))
    spoke.want(Wanted("other"))
    await spoke.until_removed("apps")
    assert admin.get("v1", "Namespace", f"forced-{by}") is None


async def test_a_definition_stays_while_others_have_objects_of_it(spoke: Spoke, admin: Admin) -> None:
    admin.create(namespace("foreign-crs"))
    spoke.want(Wanted("apps", [definition("widgets", "Widget")]), Wanted("other"))
    await spoke.until_applied("apps")
    theirs = custom("foreign-crs", "theirs", "Widget")
    admin.create(theirs)
    spoke.want(Wanted("other"))
    status = await spoke.until_said("apps", lambda status: bool(status.problems), "refuses")
    assert "Widget.test.example.com foreign-crs/theirs" in status.problems[0].message
    admin.delete("test.example.com/v1", "Widget", "theirs", "foreign-crs")
    await spoke.until_removed("apps")


@pytest.mark.parametrize("key", ["kustomize.toolkit.fluxcd.io/prune", "fleet.felloe.io/prune"])
async def test_what_says_that_it_is_not_pruned_is_let_go(spoke: Spoke, admin: Admin, key: str) -> None:
    name = f"disabled-{key.partition('.')[0]}"
    precious = config_map(name, "precious")
    precious["metadata"]["annotations"] = {key: "Disabled"}  # type: ignore[index]
    spoke.want(Wanted("apps", [namespace(name), config_map(name, "a"), precious]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace(name)]))
    assert (await spoke.until_applied("apps")).objects == 1
    assert admin.config_map(name, "a") is None
    assert admin.config_map(name, "precious")
    await spoke.until_event("Pruned", f"{name}/precious left")


def many(name: str, number: int) -> list[Manifest]:
    return [config_map(name, f"m{each:02}", k="v") for each in range(number)]


async def test_most_of_a_workload_is_deleted_only_when_a_person_approves_just_that(spoke: Spoke, admin: Admin) -> None:
    space, objects = namespace("mass"), many("mass", 19)
    spoke.want(Wanted("apps", [space, *objects]))
    await spoke.until_applied("apps")
    fewer = [space, *objects[:8], config_map("mass", "new")]
    spoke.want(Wanted("apps", fewer))
    status = await spoke.until("apps", lambda status: bool(status.pending_prune.name), "asks")
    assert ready(status)[:2] == ("False", "PruneNeedsApproval")
    assert "11 of 20 objects would be deleted (55%, more than 50%" in ready(status)[2]
    assert (status.pending_prune.count, status.pending_prune.total) == (11, 20)
    assert status.pending_prune.objects[0].name == "m08"
    assert {each["metadata"]["name"] for each in objects} | {"new"} <= admin.names("v1", "ConfigMap", "mass")  # type: ignore[index]
    admin.patch("v1", "ConfigMap", "m00", "mass", {"data": {"k": "by hand"}})
    await spoke.until_event("DriftHealed", "mass/m00")

    asked_about = status.pending_prune.name
    spoke.want(Wanted("apps", [space, *objects[:7]]), approved=[asked_about])
    status = await spoke.until("apps", lambda status: status.pending_prune.count == 12, "asks again for other objects")
    spoke.want(Wanted("apps", fewer), approved=[asked_about, "another"])
    status = await spoke.until_applied("apps")
    assert (status.objects, status.HasField("pending_prune")) == (10, False)
    assert "m08" not in admin.names("v1", "ConfigMap", "mass")

    spoke.want(Wanted("apps", [space, *objects]), approved=[asked_about])
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [space, *objects[:8]]), approved=[asked_about])
    await spoke.until("apps", lambda status: bool(status.pending_prune.name), "asks anew: it is another time")
    assert len([event for event in spoke.events if event.reason == "PruneNeedsApproval"]) == 3


async def test_a_large_workload_that_leaves_asks_too_and_survives_a_restart(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    objects = [namespace("leaving"), *many("leaving", 12)]
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        spoke.want(Wanted("apps", objects), Wanted("other"))
        await spoke.until_applied("apps")
        spoke.want(Wanted("other"))
        status = await spoke.until_said("apps", lambda status: bool(status.pending_prune.name), "asks")
        assert status.pending_prune.count == 13
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        await spoke.until_said("apps", lambda now: now.pending_prune.name == status.pending_prune.name, "asks the same")
        assert admin.config_map("leaving", "m00")
        spoke.want(Wanted("other"), approved=[status.pending_prune.name])
        await spoke.until_removed("apps")
    assert admin.get("v1", "Namespace", "leaving") is None


async def test_a_workload_may_say_that_it_never_asks(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("unasked"), *many("unasked", 12)]
    spoke.want(Wanted("apps", objects, ApplyOptions(prune=True, prune_limit=1.0)), Wanted("other"))
    await spoke.until_applied("apps")
    spoke.want(Wanted("other"))
    await spoke.until_removed("apps")
