"""Spellings, lists and schemas: what Git says is applied, and once; what is wrong is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, disturbed
from tests.spoke.manifests import Manifest, Wanted, config_map, custom, definition, deployment, namespace

pytestmark = pytest.mark.cluster


async def quiet(admin: Admin) -> None:
    """Fail where the spoke goes on asking for something."""
    mark = admin.cluster.audit_mark()
    await asyncio.sleep(1.0)
    assert disturbed(admin.cluster, mark) == []


def with_schema(plural: str, kind: str, spec: dict[str, object], **more: object) -> Manifest:
    """Return a definition whose spec has these properties and no others."""
    defined: Any = definition(plural, kind)
    version = defined["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"] = {
        "spec": {"type": "object", "properties": spec},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    version.update(more)
    result: Manifest = defined
    return result


async def test_other_spellings_of_the_same_are_no_drift(spoke: Spoke, admin: Admin) -> None:
    web: Any = deployment("spelt", "web", memory="1024Mi")
    web["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = 0.5
    quota: Manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "spelt"},
        "spec": {"hard": {"requests.cpu": "2000m", "requests.storage": "1024Gi", "pods": 10}},
    }
    spoke.want(Wanted("apps", [namespace("spelt"), web, quota]))
    await spoke.until("apps", lambda status: bool(status.healthy_digest), "healthy")
    await quiet(admin)
    found = admin.get("apps/v1", "Deployment", "web", "spelt")
    assert found
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


async def test_two_protocols_on_one_port_and_none_named(spoke: Spoke, admin: Admin) -> None:
    ports = [{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}]
    service: Any = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "dns", "namespace": "ports"},
        "spec": {"selector": {"app": "dns"}, "ports": ports},
    }
    pod: Any = deployment("ports", "web")
    pod["spec"]["template"]["spec"]["containers"][0]["ports"] = [
        {"containerPort": 53, "protocol": "UDP"},
        {"containerPort": 53},
    ]
    spoke.want(Wanted("apps", [namespace("ports"), service, pod]))
    await spoke.until_applied("apps")
    found = admin.get("v1", "Service", "dns", "ports")
    assert found
    assert [(port["name"], port["protocol"]) for port in found["spec"]["ports"]] == [("udp", "UDP"), ("tcp", "TCP")]
    fewer = {**service, "spec": {**service["spec"], "ports": ports[:1]}}
    spoke.want(Wanted("apps", [namespace("ports"), fewer, pod]))
    await spoke.until_applied("apps")
    found = admin.get("v1", "Service", "dns", "ports")
    assert found
    assert [port["name"] for port in found["spec"]["ports"]] == ["udp"]
    await quiet(admin)


async def test_a_list_that_names_one_item_twice_is_refused_with_the_item(spoke: Spoke, admin: Admin) -> None:
    web: Any = deployment("twice", "web")
    twice = [{"name": "MODE", "value": "1"}, {"name": "MODE", "value": "2"}]
    web["spec"]["template"]["spec"]["containers"][0]["env"] = twice
    spoke.want(Wanted("apps", [namespace("twice"), web, config_map("twice", "a")]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert 'duplicate entries for key [name="MODE"]' in status.problems[0].message
    assert admin.config_map("twice", "a")


async def test_a_schema_fills_in_defaults_and_refuses_what_it_does_not_know(spoke: Spoke, admin: Admin) -> None:
    schema: dict[str, object] = {"size": {"type": "integer"}, "color": {"type": "string", "default": "red"}}
    defined = with_schema("lamps", "Lamp", schema)
    spoke.want(Wanted("apps", [namespace("schema"), defined, custom("schema", "a", "Lamp", size=1)]))
    await spoke.until_applied("apps")
    assert admin.get("test.example.com/v1", "Lamp", "a", "schema")["spec"] == {"size": 1, "color": "red"}  # type: ignore[index]
    await quiet(admin)
    spoke.want(Wanted("apps", [namespace("schema"), defined, custom("schema", "a", "Lamp", size=1, weight=2)]))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    assert ".spec.weight: field not declared in schema" in status.problems[0].message


async def test_what_no_schema_says_is_merged_all_the_same(spoke: Spoke, admin: Admin) -> None:
    spoke.want(
        Wanted("apps", [namespace("free"), definition("frees", "Free"), custom("free", "a", "Free", a={"b": 1})])
    )
    await spoke.until_applied("apps")
    admin.patch("test.example.com/v1", "Free", "a", "free", {"spec": {"a": {"c": 2}}}, "controller")
    await quiet(admin)
    changed = custom("free", "a", "Free", a={"d": [1, 2]})
    spoke.want(Wanted("apps", [namespace("free"), definition("frees", "Free"), changed]))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Free", "a", "free")
    assert found
    assert found["spec"] == {"a": {"c": 2, "d": [1, 2]}}


@pytest.mark.parametrize("subresource", [True, False])
async def test_status_is_its_controllers(spoke: Spoke, admin: Admin, subresource: bool) -> None:
    plural, kind = ("statuses", "Status1") if subresource else ("statusless", "Status2")
    more: dict[str, object] = {"subresources": {"status": {}}} if subresource else {}
    defined = with_schema(plural, kind, {"size": {"type": "integer"}}, **more)
    mine = {**custom("status", "a", kind, size=1), "status": {"phase": "FromGit"}}
    spoke.want(Wanted("apps", [namespace("status"), defined, mine]))
    await spoke.until_applied("apps")
    body: Manifest = {"status": {"phase": "Ready"}}
    if not subresource:
        admin.patch("test.example.com/v1", kind, "a", "status", body, "kubectl-edit")
    await quiet(admin)
    found = admin.get("test.example.com/v1", kind, "a", "status")
    assert found
    assert found.get("status") == (None if subresource else {"phase": "Ready"})


async def test_lists_are_merged_as_their_kind_of_list_says(spoke: Spoke, admin: Admin) -> None:
    text = {"type": "string"}
    named = {"type": "object", "required": ["name"], "properties": {"name": text, "v": text}}
    schema: dict[str, object] = {
        "atomic": {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"},
        "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "map": {
            "type": "array",
            "items": named,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    }
    defined = with_schema("lists", "Lists", schema)

    def lists(**spec: object) -> Manifest:
        return {**custom("lists", "a", "Lists"), "spec": spec}

    first = lists(atomic=["a"], set=["a", "b"], map=[{"name": "a", "v": "1"}, {"name": "b"}])
    spoke.want(Wanted("apps", [namespace("lists"), defined, first]))
    await spoke.until_applied("apps")
    theirs = {"set": ["a", "b", "theirs"], "map": [{"name": "a", "v": "1"}, {"name": "b"}, {"name": "theirs"}]}
    admin.patch("test.example.com/v1", "Lists", "a", "lists", {"spec": theirs}, "controller")
    await quiet(admin)
    spoke.want(Wanted("apps", [namespace("lists"), defined, lists(atomic=["c"], set=["a"], map=[{"name": "a"}])]))
    await spoke.until_applied("apps")
    found = admin.get("test.example.com/v1", "Lists", "a", "lists")
    assert found
    assert found["spec"] == {"atomic": ["c"], "set": ["a", "theirs"], "map": [{"name": "a"}, {"name": "theirs"}]}
    admin.patch("test.example.com/v1", "Lists", "a", "lists", {"spec": {"atomic": ["c", "theirs"]}}, "controller")
    await spoke.until_event("DriftHealed", "Lists.test.example.com lists/a controller changed spec.atomic")


async def test_an_exported_manifest_can_be_applied(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("exported"), config_map("exported", "a", k="v")]))
    await spoke.until_applied("apps")
    exported: Any = admin.config_map("exported", "a")
    exported["data"] = {"k": "w"}
    exported["metadata"] |= {"uid": "another", "resourceVersion": "1"}
    spoke.want(Wanted("apps", [namespace("exported"), exported]))
    await spoke.until_applied("apps")
    assert admin.config_map("exported", "a")["data"] == {"k": "w"}  # type: ignore[index]
