"""Versions that are converted or go, and kinds whose server is away: what is said, and that nothing is forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.aggregated import GROUP, aggregated_api, thing
from tests.spoke.cluster import Admin
from tests.spoke.conversion import converting
from tests.spoke.driver import Spoke, eventually, running
from tests.spoke.manifests import Manifest, Wanted, config_map, definition, namespace

pytestmark = pytest.mark.cluster

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
# Nobody waits that long: what is tried again in a test is so because of an event.
PATIENT = ApplyOptions(prune=True, retry_interval=600)


def versioned(plural: str, kind: str, *served: str) -> Manifest:
    """Return the definition of a kind that is stored as v1, and once had a v1alpha1."""
    defined: Any = definition(plural, kind)
    newest = defined["spec"]["versions"][0]
    defined["spec"]["versions"] = [
        {**newest, "name": name, "served": name in served, "storage": name == "v1"} for name in ("v1", "v1alpha1")
    ]
    result: Manifest = defined
    return result


def of(kind: str, version: str, namespace: str, **spec: object) -> Manifest:
    metadata = {"name": "a", "namespace": namespace}
    return {"apiVersion": f"test.example.com/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def discovered(admin: Admin, group: str, version: str) -> set[str]:
    """Return the plural names of the kinds that discovery shows."""
    found = admin.cluster.api.get_json("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    versions = [each for item in found["items"] if item["metadata"]["name"] == group for each in item["versions"]]
    return {kind["resource"] for each in versions if each["version"] == version for kind in each.get("resources", [])}


def spec_of(admin: Admin, plural: str) -> object:
    """Return the spec of the object `a` in the namespace that is called as its kind, as v1; None where it is not."""
    path = f"/apis/test.example.com/v1/namespaces/{plural}/{plural}/a"
    found = admin.cluster.api.get_json(path, missing=(404, 429, 503))
    return found and found["spec"]


async def serve(admin: Admin, plural: str, kind: str, *served: str) -> None:
    """Have versions of a kind served and no others, as an upgrade of its operator does."""
    admin.apply(versioned(plural, kind, *served), "operator")

    def done() -> bool:
        listed = {version for version in ("v1", "v1alpha1") if plural in discovered(admin, "test.example.com", version)}
        paths = {each: f"/apis/test.example.com/{each}/{plural}" for each in ("v1", "v1alpha1")}
        answers = {each for each, path in paths.items() if admin.cluster.api.get_json(path, missing=(404, 429, 503))}
        return listed == answers == set(served)

    await eventually(done, f"{plural} served as {served}")


async def test_what_is_not_served_in_its_version_any_more_is_pruned_in_another(spoke: Spoke, admin: Admin) -> None:
    await serve(admin, "valves", "Valve", "v1", "v1alpha1")
    space = namespace("valves")
    spoke.want(Wanted("apps", [space, of("Valve", "v1alpha1", "valves", size=1)], PATIENT))
    await spoke.until_applied("apps")
    await serve(admin, "valves", "Valve", "v1")
    spoke.want(Wanted("apps", [space, of("Valve", "v1alpha1", "valves", size=2)], PATIENT))
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
    unserved = 'no matches for kind "Valve" in version "test.example.com/v1alpha1": it is served in test.example.com/v1'
    assert status.problems[0].message == unserved
    spoke.want(Wanted("apps", [space], PATIENT))
    await spoke.until_applied("apps")
    assert spec_of(admin, "valves") is None


async def test_what_is_watched_in_a_version_that_goes_is_healed_in_another(spoke: Spoke, admin: Admin) -> None:
    await serve(admin, "taps", "Tap", "v1", "v1alpha1")
    spoke.want(Wanted("apps", [namespace("taps"), of("Tap", "v1alpha1", "taps", size=1)], PATIENT))
    await spoke.until_applied("apps")
    await serve(admin, "taps", "Tap", "v1")
    admin.patch("test.example.com/v1", "Tap", "a", "taps", {"spec": {"size": 2}})
    status = await spoke.until("apps", lambda status: status.problem_count == 1, "says that it can't heal it")
    assert 'no matches for kind "Tap" in version "test.example.com/v1alpha1"' in status.problems[0].message
    spoke.want(Wanted("apps", [namespace("taps"), of("Tap", "v1", "taps", size=1)], PATIENT))
    await spoke.until_applied("apps")
    assert spec_of(admin, "taps") == {"size": 1}
    admin.patch("test.example.com/v1", "Tap", "a", "taps", {"spec": {"size": 3}})
    await eventually(lambda: spec_of(admin, "taps") == {"size": 1}, "healed")


async def test_a_kind_that_is_gone_is_named(spoke: Spoke, admin: Admin) -> None:
    admin.create(definition("knobs", "Knob"))
    knob = of("Knob", "v1", "knobs", size=1)
    spoke.want(Wanted("apps", [namespace("knobs"), knob], PATIENT))
    await spoke.until_applied("apps")
    admin.delete(*CRD, "knobs.test.example.com")
    said = 'no matches for kind "Knob" in version "test.example.com/v1"'
    await spoke.until("apps", lambda status: any(said in each.message for each in status.problems), "says so")
    admin.create(definition("knobs", "Knob"))
    await eventually(lambda: spec_of(admin, "knobs") == {"size": 1}, "made again")
    await spoke.until_applied("apps")


async def test_a_kind_is_converted_by_a_webhook_and_leaves_its_old_version(
    spoke: Spoke, admin: Admin, tmp_path: Path
) -> None:
    """v1alpha1 in Git while v1 is stored, a field that leaves Git, v1 in Git, and then v1alpha1 is no more."""

    async def spec() -> object:
        return await asyncio.to_thread(spec_of, admin, "dials")

    async def edited(**fields: object) -> None:
        # In a thread: the API server asks the webhook, which is served here.
        await asyncio.to_thread(admin.patch, "test.example.com/v1", "Dial", "a", "dials", {"spec": fields})

    async with converting(tmp_path) as conversion:
        kinds = Wanted("kinds", [conversion.definition("dials", "Dial")], PATIENT)
        old = [namespace("dials"), of("Dial", "v1alpha1", "dials", replicas=1, color="red")]
        spoke.want(kinds, Wanted("apps", old))
        await spoke.until_applied("apps")
        assert await spec() == {"count": 1, "color": "red"}
        assert conversion.calls
        conversion.broken = True
        old[1] = of("Dial", "v1alpha1", "dials", replicas=2)
        spoke.want(kinds, Wanted("apps", old))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
        assert "conversion webhook for test.example.com/v1" in status.problems[0].message
        assert "out of order" in status.problems[0].message
        conversion.broken = False
        await spoke.until_applied("apps")
        assert await spec() == {"count": 2}
        await edited(count=5)
        await eventually(lambda: spec_of(admin, "dials") == {"count": 2}, "healed in its old version")
        spoke.want(kinds, Wanted("apps", [namespace("dials"), of("Dial", "v1", "dials", color="blue")]))
        await spoke.until_applied("apps")
        assert await spec() == {"color": "blue"}
        newest = Wanted("kinds", [conversion.definition("dials", "Dial", served=("v1",))], PATIENT)
        spoke.want(newest, Wanted("apps", [namespace("dials"), of("Dial", "v1", "dials", color="blue")]))
        await spoke.until_applied("kinds")
        await edited(color="by hand")
        await eventually(lambda: spec_of(admin, "dials") == {"color": "blue"}, "healed in its new version")
        spoke.want(newest, Wanted("apps", []))
        await spoke.until_applied("apps")
        assert await spec() is None
        spoke.want()
        await spoke.until_removed("kinds")


async def test_what_an_api_server_that_is_away_has_is_not_forgotten(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    kept = [namespace("away"), config_map("away", "a")]
    wanted = Wanted("apps", [*kept, thing("away", "a")])
    async with aggregated_api(tmp_path) as api:
        admin.create(api.service)
        admin.create(api.registration)

        def shown() -> bool:
            return "things" in discovered(admin, GROUP, "v1")

        try:
            await eventually(shown, "the group served")
            async with running(cluster.kubeconfig, tmp_path / "state") as spoke:
                spoke.want(wanted)
                await spoke.until_applied("apps")
                assert api.things
            # As an API server that was restarted meanwhile, it knows of the group, and not what is in it.
            admin.delete("apiregistration.k8s.io/v1", "APIService", f"v1.{GROUP}")
            await eventually(lambda: not shown(), "the group gone")
            api.away = True
            admin.create(api.registration)
            stale = lambda: GROUP in admin.cluster.api.get("/apis").decode()  # noqa: E731
            await eventually(stale, "the group known")
            async with running(cluster.kubeconfig, tmp_path / "state") as spoke:
                spoke.want(Wanted("apps", kept))
                status = await spoke.until("apps", lambda status: status.problem_count == 1, "does not prune")
                assert f"the kinds of {GROUP} can't be told now: its server is away" in status.problems[0].message
                api.away = False
                await spoke.until_applied("apps")
                assert not api.things
        finally:
            admin.delete("apiregistration.k8s.io/v1", "APIService", f"v1.{GROUP}")
            admin.delete("v1", "Service", "aggregated", "default")
