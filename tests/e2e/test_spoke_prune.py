"""What a spoke deletes, and what it leaves alone."""

from __future__ import annotations

import pytest

from felloe.bundle import ApplyOptions
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually
from tests.spoke.manifests import Wanted, config_map, custom, definition, namespace

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
    spoke.want(Wanted("apps", [namespace("comesback")]))
    await spoke.until_applied("apps")
    first = admin.get("v1", "Namespace", "comesback")["metadata"]["uid"]  # type: ignore[index]
    admin.create(finalizer)
    spoke.want(Wanted("apps"))
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
