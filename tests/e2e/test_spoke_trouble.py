"""A spoke that is restarted, or loses its API server, goes on where it was. (test_spoke_faults kills it.)"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, deployment, namespace

pytestmark = pytest.mark.cluster

LEASES: Manifest = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "create", "update"],
}


async def test_a_restart_with_nothing_changed_writes_nothing(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    objects = [namespace("restart"), *(config_map("restart", f"a{number}") for number in range(50))]
    apps = Wanted("apps", [*objects, deployment("restart", "web")], ApplyOptions(prune=True, wait=True))
    more = [Wanted(f"more-{number}", [config_map("restart", f"m{number}")]) for number in range(12)]
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        spoke.want(apps, *more)
        for wanted in (apps, *more):
            await spoke.until_applied(wanted.name)
    mark = cluster.audit_mark()
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        for wanted in more:
            await spoke.until_applied(wanted.name)
        status = await spoke.until_applied("apps")
    assert status.applied_at.seconds
    assert {verb for verb, *_ in asked(cluster, mark)} <= {"get", "list"}


async def test_what_changed_while_the_spoke_was_away_is_healed(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    objects = [namespace("away"), *(config_map("away", name, k="v") for name in ("edited", "deleted", "same"))]
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        spoke.want(Wanted("apps", objects))
        await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "edited", "away", {"data": {"k": "w"}})
    admin.delete("v1", "ConfigMap", "deleted", "away")
    mark = cluster.audit_mark()
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        await spoke.until_event("DriftHealed", "ConfigMap away/edited")
        await spoke.until_event("DriftHealed", "ConfigMap away/deleted")
        await spoke.until_applied("apps")
    assert admin.config_map("away", "edited")["data"] == {"k": "v"}  # type: ignore[index]
    patched = {name for verb, resource, _, name in asked(cluster, mark) if verb == "patch" and resource == "configmaps"}
    assert {"edited", "deleted"} <= patched
    assert "same" not in patched


async def test_an_api_server_that_restarts_is_followed_again(spoke: Spoke, cluster: ControlPlane, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("outage"), config_map("outage", "a", k="1")]))
    await spoke.until_applied("apps")
    await asyncio.to_thread(cluster.stop_apiserver)
    try:
        spoke.want(Wanted("apps", [namespace("outage"), config_map("outage", "a", k="2")]))
        failing = await spoke.until("apps", lambda status: "can't be reached" in ready(status)[2], "tells")
        assert failing.applied_digest != spoke.digest("apps")
    finally:
        await asyncio.to_thread(cluster.start_apiserver)
    await spoke.until_applied("apps")
    admin.patch("v1", "ConfigMap", "a", "outage", {"data": {"k": "by hand"}})
    await eventually(lambda: admin.config_map("outage", "a")["data"] == {"k": "2"}, "healed")  # type: ignore[index]


async def test_an_api_server_that_hangs_for_a_while_is_waited_for(
    spoke: Spoke, cluster: ControlPlane, admin: Admin
) -> None:
    spoke.want(Wanted("apps", [namespace("hangs")]))
    await spoke.until_applied("apps")
    await asyncio.to_thread(cluster.pause_apiserver)
    try:
        spoke.want(Wanted("apps", [namespace("hangs"), *(config_map("hangs", f"a{number}") for number in range(60))]))
        await asyncio.sleep(2.0)
    finally:
        await asyncio.to_thread(cluster.resume_apiserver)
    await spoke.until_applied("apps")


async def test_a_spoke_that_may_not_read_its_inventory_prunes_nothing_and_says_so(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    async with running(cluster.kubeconfig, tmp_path) as spoke:
        spoke.want(Wanted("apps", [namespace("denied"), config_map("denied", "a")]))
        await spoke.until_applied("apps")
    powerless = await asyncio.to_thread(cluster.kubeconfig_for, "nobody")
    admin.allow("nobody", LEASES)
    async with running(powerless, tmp_path) as spoke:
        spoke.want(Wanted("apps", [namespace("denied")]))
        status = await spoke.until("apps", lambda _: True, "tells")
        assert 'User "nobody" cannot list resource "configmaps"' in ready(status)[2]
    assert admin.config_map("denied", "a")


async def test_newer_bundles_win_at_any_moment(spoke: Spoke, admin: Admin) -> None:
    chance = random.Random(11)  # noqa: S311
    for number in range(60):
        names = chance.sample("abcdefgh", 5)
        wanted = [config_map("newer", name, k=str(number)) for name in names]
        spoke.want(Wanted("apps", [namespace("newer"), *wanted]), Wanted("two", [config_map("newer", f"two-{number}")]))
        await asyncio.sleep(chance.uniform(0, 0.06))
    await spoke.until_applied("apps")
    await spoke.until_applied("two")
    assert admin.names("v1", "ConfigMap", "newer") - {"kube-root-ca.crt"} == {*names, "two-59"}
    for name in names:
        assert admin.config_map("newer", name)["data"] == {"k": "59"}  # type: ignore[index]
