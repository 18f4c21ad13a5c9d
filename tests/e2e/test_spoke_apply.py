"""What a spoke makes of a bundle in a real cluster: apply, order, failures, templates."""

from __future__ import annotations

import base64

import pytest

from felloe.bundle import ApplyOptions
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, ready
from tests.spoke.manifests import Manifest, Wanted, config_map, custom, definition, namespace, secret

pytestmark = pytest.mark.cluster


async def test_a_namespace_and_what_is_in_it_come_in_one_bundle(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [config_map("one", "a", k="v"), namespace("one")]))
    status = await spoke.until_applied("apps")
    found = admin.config_map("one", "a")
    assert found
    assert found["data"] == {"k": "v"}
    assert found["metadata"]["labels"] == {
        "fleet.felloe.io/workload-kind": "Kustomization",
        "fleet.felloe.io/workload-namespace": "flux-system",
        "fleet.felloe.io/workload-name": "apps",
    }
    assert ready(status)[1] == "ReconciliationSucceeded"
    assert (status.objects, status.problem_count) == (2, 0)


async def test_a_change_reaches_the_object_and_removes_fields_that_left_git(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("change"), config_map("change", "a", old="1", kept="1")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("change"), config_map("change", "a", kept="2", new="1")]))
    await spoke.until_applied("apps")
    found = admin.config_map("change", "a")
    assert found
    assert found["data"] == {"kept": "2", "new": "1"}


async def test_our_labels_win_over_those_of_the_manifest(spoke: Spoke, admin: Admin) -> None:
    forged = config_map("forged", "a")
    forged["metadata"] = {
        "name": "a",
        "namespace": "forged",
        "labels": {"fleet.felloe.io/workload-name": "other", "kept": "yes"},
    }
    spoke.want(Wanted("apps", [namespace("forged"), forged]))
    await spoke.until_applied("apps")
    found = admin.config_map("forged", "a")
    assert found
    assert found["metadata"]["labels"]["fleet.felloe.io/workload-name"] == "apps"
    assert found["metadata"]["labels"]["kept"] == "yes"


async def test_a_definition_and_its_objects_come_in_one_bundle(spoke: Spoke, admin: Admin) -> None:
    objects = [custom("crs", "one", "Gadget", size=3), namespace("crs"), definition("gadgets", "Gadget")]
    spoke.want(Wanted("apps", objects))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Gadget", "one", "crs")
    assert found
    assert found["spec"] == {"size": 3}
    assert not any("matches for kind" in event.message for event in spoke.events)


async def test_an_object_is_applied_as_soon_as_its_definition_appears(spoke: Spoke, admin: Admin) -> None:
    waits = ApplyOptions(retry_interval=600)
    spoke.want(Wanted("crs", [namespace("late"), custom("late", "one", "Widget")], waits))
    status = await spoke.until("crs", lambda status: status.problem_count > 0, "has no kind")
    assert 'no matches for kind "Widget" in version "test.example.com/v1"' in status.problems[0].message
    both = Wanted("crs", [namespace("late"), custom("late", "one", "Widget")], waits)
    spoke.want(both, Wanted("definitions", [definition("widgets", "Widget")]))
    await spoke.until_applied("crs")
    assert admin.get("test.example.com/v1", "Widget", "one", "late")


async def test_a_failing_object_says_what_the_api_server_says_and_stops_no_other(spoke: Spoke, admin: Admin) -> None:
    wrong: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "wrong", "namespace": "fails"},
        "spec": {"ports": [{"port": 99999}]},
    }
    spoke.want(Wanted("apps", [namespace("fails"), config_map("fails", "a"), wrong]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert admin.config_map("fails", "a")
    (problem,) = status.problems
    assert (problem.id.kind, problem.id.name, problem.reason) == ("Service", "wrong", "ApplyFailed")
    assert "99999" in problem.message
    assert "must be between 1 and 65535" in problem.message
    assert ready(status)[:2] == ("False", "ReconciliationFailed")
    assert not status.applied_digest
    spoke.want(Wanted("apps", [namespace("fails"), config_map("fails", "a")]))
    await spoke.until_applied("apps")


async def test_a_namespaced_object_without_a_namespace_says_what_to_set(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [config_map("", "nowhere")]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert "namespace not specified: set metadata.namespace" in status.problems[0].message


async def test_an_object_too_large_is_refused_in_the_api_servers_words(spoke: Spoke, admin: Admin) -> None:
    fits = config_map("large", "fits", text="x" * 1_000_000)
    spoke.want(Wanted("apps", [namespace("large"), fits, config_map("large", "too-large", text="x" * 1_048_577)]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert admin.config_map("large", "fits")
    assert "Too long: may not be more than 1048576 bytes" in status.problems[0].message


async def test_a_template_is_filled_in_and_again_when_a_variable_changes(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("vars"), config_map("vars", "a", where="${region}")]
    spoke.want(Wanted("apps", objects, variables={"region": "north"}))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", objects, variables={"region": "south"}))
    await spoke.until_applied("apps")
    found = admin.config_map("vars", "a")
    assert found
    assert found["data"] == {"where": "south"}
    spoke.want(Wanted("apps", objects, variables={}))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert ready(status)[:2] == ("False", "BuildFailed")
    assert "region" in status.problems[0].message


async def test_a_secrets_text_becomes_data_that_is_ours(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("secrets"), secret("secrets", "a", password="one", old="x")]))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("secrets"), secret("secrets", "a", password="two")]))
    await spoke.until_applied("apps")
    found = admin.get("v1", "Secret", "a", "secrets")
    assert found
    assert found["data"] == {"password": base64.b64encode(b"two").decode()}


async def test_two_workloads_that_want_one_object_say_so(spoke: Spoke, admin: Admin) -> None:
    shared = config_map("both", "a", k="v")
    spoke.want(Wanted("first", [namespace("both"), shared]), Wanted("second", [shared]))
    await spoke.until_applied("first")
    status = await spoke.until("second", lambda status: status.problem_count == 1, "fails")
    assert "Kustomization/flux-system/first wants this object too" in status.problems[0].message


async def test_a_reconciliation_that_is_asked_for_applies_everything_again(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("again"), config_map("again", "a")]
    spoke.want(Wanted("apps", objects))
    await spoke.until_applied("apps")
    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", objects, ApplyOptions(prune=True, requested_at="now")))
    await spoke.until_applied("apps")
    assert ("patch", "configmaps", "again", "a") in asked(admin.cluster, mark)
