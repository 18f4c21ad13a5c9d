"""What comes before what, and what goes on as soon as that is there: by events, not by waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, custom, definition, namespace

pytestmark = pytest.mark.cluster

# Nobody waits that long: what is tried again in a test is so because of an event.
PATIENT = ApplyOptions(prune=True, retry_interval=600)


def in_wave(manifest: Manifest, wave: int) -> Manifest:
    metadata: Any = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {"fleet.felloe.io/wave": str(wave)}}}


def invalid(namespace: str, name: str) -> Manifest:
    return {**config_map(namespace, name), "data": {"not a key": "x"}}


def cluster_role(name: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}],
    }


async def test_waves_of_ones_own_come_in_their_order(spoke: Spoke, admin: Admin) -> None:
    last: Manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "order-last"},
        "webhooks": [],
    }
    objects = [
        last,
        in_wave(config_map("order", "third"), 2),
        config_map("order", "second"),
        in_wave(config_map("order", "first"), -5),
        cluster_role("order-role"),
        in_wave(namespace("order"), 9),
    ]
    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", objects))
    await spoke.until_applied("apps")
    names = ["order", "order-role", "first", "second", "third", "order-last"]
    applied = [name for verb, *_, name in asked(admin.cluster, mark) if verb == "patch" and name in names]
    assert applied == names
    spoke.want(Wanted("apps", []))
    await spoke.until_applied("apps")


async def test_what_fails_in_a_named_wave_holds_the_later_ones_up_until_it_is_fixed(spoke: Spoke, admin: Admin) -> None:
    def objects(first: Manifest) -> list[Manifest]:
        return [namespace("held"), in_wave(first, -1), config_map("held", "b"), in_wave(config_map("held", "c"), 1)]

    spoke.want(Wanted("apps", objects(invalid("held", "a")), PATIENT))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert ready(status)[2].endswith("; 2 of later waves wait for that")
    assert admin.names("v1", "ConfigMap", "held") <= {"kube-root-ca.crt"}
    spoke.want(Wanted("apps", objects(config_map("held", "a")), PATIENT))
    await spoke.until_applied("apps")
    assert {"a", "b", "c"} <= admin.names("v1", "ConfigMap", "held")


async def test_a_failure_in_an_unnamed_wave_holds_nobody_up(spoke: Spoke, admin: Admin) -> None:
    wrong = {**cluster_role("Not:valid/name"), "rules": [{"verbs": []}]}
    spoke.want(Wanted("apps", [namespace("free"), wrong, config_map("free", "a")], PATIENT))
    await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert admin.config_map("free", "a")


async def test_drift_is_healed_behind_a_wave_that_fails(spoke: Spoke, admin: Admin) -> None:
    kept = in_wave(config_map("behind", "a", k="v"), 1)
    spoke.want(Wanted("apps", [namespace("behind"), kept], PATIENT))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", [namespace("behind"), invalid("behind", "b"), kept], PATIENT))
    await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    admin.patch("v1", "ConfigMap", "a", "behind", {"data": {"k": "by hand"}})
    await spoke.until_event("DriftHealed", "ConfigMap behind/a")


async def test_a_kind_that_somebody_else_defines_is_used_at_once(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("kinds"), custom("kinds", "one", "Sprocket")], PATIENT))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "has no kind")
    assert 'no matches for kind "Sprocket"' in status.problems[0].message
    admin.create(definition("sprockets", "Sprocket"))
    await spoke.until_applied("apps")


async def test_a_definition_that_is_deleted_by_hand_comes_back_with_its_objects(spoke: Spoke, admin: Admin) -> None:
    objects = [namespace("undefined"), definition("cogs", "Cog"), custom("undefined", "one", "Cog", size=1)]
    spoke.want(Wanted("apps", objects, PATIENT))
    await spoke.until_applied("apps")
    admin.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "cogs.test.example.com")

    def back() -> bool:
        found = admin.get("test.example.com/v1", "Cog", "one", "undefined")
        return found is not None and found["spec"] == {"size": 1} and "deletionTimestamp" not in found["metadata"]

    await spoke.until_event("DriftHealed", "CustomResourceDefinition.apiextensions.k8s.io cogs.test.example.com was")
    await eventually(back, "the object back")
    await spoke.until_applied("apps")


async def test_a_namespace_that_somebody_else_makes_is_used_at_once(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [config_map("appears", "a")], PATIENT))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "has no namespace")
    assert 'namespaces "appears" not found' in status.problems[0].message
    admin.create(namespace("appears"))
    await spoke.until_applied("apps")


async def test_rights_that_somebody_grants_are_used_at_once(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    admin.create(namespace("granted"))
    admin.apply(namespace("felloe-system"), "tester")
    limited = await asyncio.to_thread(cluster.kubeconfig_for, "limited")
    everything = ["get", "list", "watch", "create", "patch", "delete", "update"]
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": everything},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "create", "patch"]},
    ]
    grant(admin, "limited-own", "felloe-system", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
    grant(admin, "limited-looks", "", rules[1:])
    async with running(limited, tmp_path / "state") as spoke:
        spoke.want(Wanted("apps", [config_map("granted", "a")], PATIENT))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "is refused")
        assert "is forbidden" in status.problems[0].message
        grant(admin, "limited-granted", "granted", rules[:1])
        await spoke.until_applied("apps")


def grant(admin: Admin, name: str, namespace: str, rules: list[dict[str, list[str]]]) -> None:
    """Let the user `limited` do something, everywhere or in a namespace."""
    metadata: Manifest = {"name": name, **({"namespace": namespace} if namespace else {})}
    kind, api = "Role" if namespace else "ClusterRole", "rbac.authorization.k8s.io/v1"
    admin.apply({"apiVersion": api, "kind": kind, "metadata": metadata, "rules": rules}, "tester")
    admin.apply(
        {
            "apiVersion": api,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
        },
        "tester",
    )


async def test_nothing_is_followed_that_nothing_lacks(spoke: Spoke, admin: Admin) -> None:
    def follows() -> set[str]:
        events = admin.cluster.audit_since(mark, user_agent="felloe-spoke")
        return {event.resource for event in events if event.verb == "watch"}

    mark = admin.cluster.audit_mark()
    spoke.want(Wanted("apps", [namespace("lacks"), config_map("lacks", "a")], PATIENT))
    await spoke.until_applied("apps")
    await asyncio.sleep(0.3)
    assert follows() <= {"namespaces", "configmaps"}
