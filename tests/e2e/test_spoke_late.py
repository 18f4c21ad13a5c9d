"""What the API server was asked and does late, when its spoke is dead and the next one is at work, undoes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from spoke.state import BundleStore
from tests.cluster.controlplane import ControlPlane
from tests.faults.proxy import Proxy, proxying, write_kubeconfig
from tests.faults.requests import Phase
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, running
from tests.spoke.manifests import Manifest, Wanted, commit, config_map, namespace

pytestmark = pytest.mark.cluster

PLACE = "late"


@dataclass(slots=True)
class Scene:
    """Spokes one after the other behind one proxy."""

    proxy: Proxy
    kubeconfig: Path
    state: Path

    @asynccontextmanager
    async def spoke(self) -> AsyncIterator[Spoke]:
        async with running(self.kubeconfig, self.state, late_seconds=6.0) as spoke:
            yield spoke

    def want(self, *objects: Manifest) -> None:
        """Put what is wanted on the disk of the next spoke."""
        store = BundleStore(self.state)
        assert store.current
        commit(store, store.current.generation + 1, [wanted(*objects)])
        store.close()

    async def begin(self, *objects: Manifest) -> None:
        """Have a spoke apply what is there at first, and end."""
        async with self.spoke() as spoke:
            spoke.want(wanted(*objects))
            await spoke.until_applied("apps")

    async def end_before(self, phase: Phase, path: str, *objects: Manifest) -> None:
        """Have a spoke end whose request of a phase for a path is on its way: it is done when the test says so."""
        self.proxy.hold = lambda each, where: each is phase and where.endswith(path)
        async with self.spoke() as spoke:
            spoke.want(wanted(*objects))
            await eventually(lambda: self.proxy.held, f"{phase.value} of {path}")
            self.proxy.hold = lambda *_: True  # what follows never gets there
        self.proxy.hold = lambda *_: False
        del self.proxy.held[1:]

    async def heal_twice(self, admin: Admin, name: str) -> None:
        """Have a spoke ask twice for an object that somebody deleted: the first request is on its way when it ends."""
        async with self.spoke() as spoke:
            await spoke.until_applied("apps")
            self.proxy.hold = lambda phase, path: (
                phase is Phase.APPLY and path.endswith(f"/{name}") and not self.proxy.held
            )
            admin.delete("v1", "ConfigMap", name, PLACE)
            await eventually(lambda: self.proxy.held, "the heal got no answer")
            await eventually(lambda: data(admin, name), "it was asked for once more")
        self.proxy.hold = lambda *_: False


def wanted(*objects: Manifest) -> Wanted:
    return Wanted("apps", [namespace(PLACE), *objects])


@pytest.fixture
async def scene(cluster: ControlPlane, admin: Admin, tmp_path: Path) -> AsyncIterator[Scene]:
    admin.forget_spokes()
    async with proxying(cluster.kubeconfig) as proxy:
        proxy.latest_seconds = 600.0
        yield Scene(proxy, write_kubeconfig(tmp_path / "kubeconfig", proxy.url), tmp_path / "state")


def data(admin: Admin, name: str) -> object:
    return (admin.config_map(PLACE, name) or {}).get("data")


async def test_an_older_state_that_is_applied_late_is_refused(scene: Scene, admin: Admin) -> None:
    await scene.begin(config_map(PLACE, "older", k="1"))
    await scene.end_before(Phase.APPLY, "/older", config_map(PLACE, "older", k="2"))
    async with scene.spoke() as spoke:
        spoke.want(wanted(config_map(PLACE, "older", k="3")))
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, refused 409"] == 1
        assert data(admin, "older") == {"k": "3"}


async def test_a_change_that_is_taken_back_is_refused_when_it_comes_late(scene: Scene, admin: Admin) -> None:
    await scene.begin(config_map(PLACE, "back", k="1"))
    await scene.end_before(Phase.APPLY, "/back", config_map(PLACE, "back", k="2"))
    async with scene.spoke() as spoke:
        spoke.want(wanted(config_map(PLACE, "back", k="1")))
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, refused 409"] == 1
        found = admin.config_map(PLACE, "back")
        assert found
        assert found["data"] == {"k": "1"}
        assert "annotations" not in found["metadata"]


async def test_what_is_wanted_again_is_not_deleted_late(scene: Scene, admin: Admin) -> None:
    kept = config_map(PLACE, "again", k="1")
    await scene.begin(kept)
    before = admin.config_map(PLACE, "again")
    await scene.end_before(Phase.DELETE, "/again")
    scene.want(kept)
    async with scene.spoke() as spoke:
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, refused 409"] == 1
        after = admin.config_map(PLACE, "again")
        assert before
        assert after
        assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_what_is_made_late_and_wanted_no_more_is_deleted(scene: Scene, admin: Admin) -> None:
    await scene.begin()
    await scene.end_before(Phase.APPLY, "/unwanted", config_map(PLACE, "unwanted", k="1"))
    async with scene.spoke() as spoke:
        spoke.want(wanted())
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, done"] == 1
        await eventually(lambda: admin.config_map(PLACE, "unwanted") is None, "it is deleted")
        await spoke.until("apps", lambda status: status.objects == 1, "has it no more in its inventory")


async def test_what_is_made_late_after_it_was_deleted_is_deleted_again(scene: Scene, admin: Admin) -> None:
    await scene.begin(config_map(PLACE, "healed", k="1"))
    await scene.heal_twice(admin, "healed")
    async with scene.spoke() as spoke:
        spoke.want(wanted())
        await eventually(lambda: admin.config_map(PLACE, "healed") is None, "it is deleted")
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, done"] == 1
        await eventually(lambda: admin.config_map(PLACE, "healed") is None, "it is deleted again")
        await spoke.until("apps", lambda status: status.objects == 1, "has it no more in its inventory")


async def test_what_gets_labels_late_after_it_changed_hands_is_not_left_to_nobody(scene: Scene, admin: Admin) -> None:
    moved = config_map(PLACE, "moved", k="1")
    await scene.begin(moved)
    await scene.heal_twice(admin, "moved")
    async with scene.spoke() as spoke:
        spoke.want(wanted(), Wanted("other", [moved]))
        await spoke.until_applied("other")
        await spoke.until_applied("apps")
    await scene.proxy.all_landed()
    assert scene.proxy.given["late, done"] == 1
    async with scene.spoke() as spoke:
        spoke.want(wanted())
        await eventually(lambda: admin.config_map(PLACE, "moved") is None, "it is deleted")


async def test_what_is_made_late_over_a_newer_state_is_healed(scene: Scene, admin: Admin) -> None:
    await scene.begin()
    await scene.end_before(Phase.APPLY, "/over", config_map(PLACE, "over", k="1"))
    async with scene.spoke() as spoke:
        spoke.want(wanted(config_map(PLACE, "over", k="2")))
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, done"] == 1
        await eventually(lambda: data(admin, "over") == {"k": "2"}, "it is healed")


async def test_an_older_record_that_is_written_late_is_refused(scene: Scene, admin: Admin) -> None:
    await scene.begin(config_map(PLACE, "one", k="1"))
    await scene.end_before(Phase.RECORD, "-1-0", config_map(PLACE, "one", k="1"), config_map(PLACE, "two", k="1"))
    newest = [config_map(PLACE, "three", k="1"), config_map(PLACE, "one", k="1")]
    async with scene.spoke() as spoke:
        spoke.want(wanted(*newest))
        await spoke.until_applied("apps")
        await scene.proxy.all_landed()
        assert scene.proxy.given["late, refused 409"] == 1
    async with scene.spoke() as spoke:
        spoke.want(wanted())
        await spoke.until_applied("apps")
        assert not admin.names("v1", "ConfigMap", PLACE) & {"one", "two", "three"}
