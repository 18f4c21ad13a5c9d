"""A spoke that is killed at points that a seed chooses, and an API server in trouble: nothing is lost or orphaned.

`make faults` does the same at length. What fails names its seed: ``FELLOE_FAULTS_SEED=N`` repeats it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from felloe.identity import ObjectId
from spoke.state import BundleStore
from tests.cluster.controlplane import ControlPlane
from tests.faults.campaign import campaign
from tests.faults.proxy import CALM, LATE, SLOW, UNRELIABLE, KillPoint, proxying, write_kubeconfig
from tests.faults.requests import Phase
from tests.faults.victim import Nursery
from tests.faults.world import BASE, Generation, Want
from tests.spoke.cluster import Admin
from tests.spoke.driver import eventually, running
from tests.spoke.manifests import Wanted, commit, config_map, custom, definition, namespace

pytestmark = pytest.mark.cluster

KILLS = int(os.environ.get("FELLOE_FAULTS_KILLS", "25"))
SEED = int(os.environ.get("FELLOE_FAULTS_SEED", "1"))


async def test_a_spoke_that_is_killed_anywhere_loses_orphans_and_wrongly_deletes_nothing(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    async with campaign(cluster, tmp_path, SEED) as faults:
        await faults.kill(KILLS)
        print(f"seed {SEED}: {faults.tally}")


async def test_what_lands_late_after_a_kill_undoes_nothing(cluster: ControlPlane, admin: Admin, tmp_path: Path) -> None:
    async with campaign(cluster, tmp_path, SEED) as faults:
        await faults.kill(max(1, KILLS // 4), trouble=LATE)
        print(f"seed {SEED}: {faults.tally}")


async def test_a_hub_that_is_killed_and_a_link_that_is_cut_anywhere_lose_nothing(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    async with campaign(cluster, tmp_path, SEED) as faults:
        await faults.kill_on_the_link(max(1, KILLS // 5))
        print(f"seed {SEED}: {faults.tally}")


async def test_an_api_server_that_restarts_fails_and_forgets_costs_nothing_but_time(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    async with campaign(cluster, tmp_path, SEED) as faults:
        await faults.trouble(SLOW, 6)
        await faults.trouble(UNRELIABLE, 6)
        await faults.trouble(CALM, 3, lambda: cluster.restart_apiserver(kill=True))
        print(f"seed {SEED}: {faults.tally}")


async def test_a_record_that_could_not_be_deleted_at_once_is_deleted_later(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    def records() -> list[str]:
        items = cluster.api.get_json("/api/v1/namespaces/felloe-system/configmaps")["items"]
        return [item["metadata"]["name"] for item in items if "apps" in str(item["metadata"].get("annotations"))]

    async with proxying(cluster.kubeconfig) as proxy:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", proxy.url)
        async with running(kubeconfig, tmp_path / "state") as spoke:
            spoke.want(Wanted("apps", [namespace("forgets"), config_map("forgets", "a")]), Wanted("other"))
            await spoke.until_applied("apps")
            assert records()
            proxy.refusals[Phase.FORGET] = 7
            spoke.want(Wanted("other"))
            await spoke.until_removed("apps")
            await eventually(lambda: not records(), "the record deleted")
            assert not +proxy.refusals


async def test_a_change_that_was_cut_short_and_taken_back_leaves_nothing_of_it(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    if admin.get("v1", "Namespace", BASE) is None:
        admin.create(namespace(BASE))
    changed = ObjectId("", "ConfigMap", BASE, "cut-short")  # no object of the campaigns
    before, after = ({changed: Want("a", value)} for value in (1, 2))
    async with proxying(cluster.kubeconfig) as proxy, Nursery.open(tmp_path) as nursery:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", proxy.url)
        spoke = await nursery.start(kubeconfig, tmp_path / "state")
        proxy.arm(spoke.pid, KillPoint(Phase.APPLY, 2, after=True))
        await spoke.go()
        await spoke.want(Generation(1, before))
        await eventually(lambda: data(admin, changed) == {"k": "1", "only-1": "x"}, "applied")
        await spoke.want(Generation(2, after))
        async with asyncio.timeout(60):
            await spoke.dead.wait()
        assert data(admin, changed) == {"k": "2", "only-2": "x"}
    await spoke.close()
    store = BundleStore(tmp_path / "state")
    commit(store, 3, Generation(3, before).workloads())
    store.close()
    async with running(cluster.kubeconfig, tmp_path / "state") as again:
        await again.until_applied("a")
    assert data(admin, changed) == {"k": "1", "only-1": "x"}


def data(admin: Admin, identity: ObjectId) -> object:
    return (admin.config_map(identity.namespace, identity.name) or {}).get("data")


async def test_what_discovery_does_not_show_is_not_taken_to_be_gone(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    def there() -> bool:
        return admin.get("blind.example.com/v1", "Gauge", "one", "blind") is not None

    kind = definition("gauges", "Gauge", "blind.example.com")
    async with proxying(cluster.kubeconfig) as proxy:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", proxy.url)
        gauge = custom("blind", "one", "Gauge", "blind.example.com")
        async with running(kubeconfig, tmp_path / "state") as spoke:
            spoke.want(Wanted("kinds", [kind]), Wanted("apps", [namespace("blind"), gauge]))
            await spoke.until_applied("apps")
            assert there()
        proxy.blind = True
        async with running(kubeconfig, tmp_path / "state") as spoke:
            spoke.want(Wanted("kinds", [kind]), Wanted("apps", [namespace("blind")]))
            failing = await spoke.until("apps", lambda status: status.problem_count == 1, "does not prune")
            assert "defined and not served" in failing.problems[0].message
            proxy.blind = False
            await spoke.until_applied("apps")
        assert not there()
