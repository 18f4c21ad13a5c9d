"""A spoke lives on what the cluster keeps for it: on an empty disk, without its hub, and beside another spoke."""

from __future__ import annotations

import asyncio
import base64
import random
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions
from felloe.errors import KubernetesError
from spoke.cluster.lease import Times
from spoke.cluster.namespace import OwnNamespace
from spoke.cluster.recorder import Recorder
from spoke.kube.client import connect
from spoke.kube.config import load_kubeconfig
from spoke.state import BundleStore
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, commit, config_map, namespace, secret, workload_id

pytestmark = pytest.mark.cluster

SOON = Times(duration=3.0, give_up=2.0, renew=0.5, retry=0.2, request=2.0)
OLD_HUB, NEW_HUB = b"a" * 32, b"b" * 32
KEEPS = "felloe-system"


def rule(resource: str, *verbs: str, group: str = "") -> Manifest:
    return {"apiGroups": [group], "resources": [resource], "verbs": [*verbs]}


WITHOUT_SECRETS = (
    rule("configmaps", "get", "list", "watch", "create", "patch", "delete"),
    rule("leases", "get", "create", "update", group="coordination.k8s.io"),
)


def pieces(admin: Admin) -> set[str]:
    return {name for name in admin.names("v1", "Secret", KEEPS) if name.startswith("desired-")} - {"desired-state"}


def following(state: Path, hub: bytes) -> None:
    """Let a state folder follow a hub."""
    store = BundleStore(state)
    store.trust(hub)
    store.close()


def head_of(admin: Admin) -> str:
    found = admin.get("v1", "Secret", "desired-state", KEEPS)
    assert found
    return str(found["data"]["zst"])


async def recorded(admin: Admin, spoke: Spoke) -> None:
    """Wait until the newest bundle is in the cluster."""

    async def there() -> bool:
        async with connect(load_kubeconfig(admin.cluster.kubeconfig)) as client:
            head = await Recorder(OwnNamespace(client), spoke.store, lambda *_: None).head()
        current = spoke.store.current
        return bool(current and head and (head.root, head.generation) == (current.bundle.root, current.generation))

    async with asyncio.timeout(30):
        while not await there():  # noqa: ASYNC110 (another process is what is looked at)
            await asyncio.sleep(0.05)


async def test_on_an_empty_disk_without_its_hub_it_heals_and_deletes_nothing(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    objects = [namespace("moved"), *(config_map("moved", f"a{number}", k="v") for number in range(20))]
    apps = Wanted("apps", [*objects, secret("moved", "password", password="s3cret")])
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(apps, Wanted("other", [config_map("moved", "b")]))
        await spoke.until_applied("apps")
        await spoke.until_applied("other")
        await recorded(admin, spoke)
    admin.patch("v1", "ConfigMap", "a1", "moved", {"data": {"k": "by hand"}})
    admin.delete("v1", "ConfigMap", "a2", "moved")
    mark = cluster.audit_mark()
    async with running(cluster.kubeconfig, tmp_path / "two") as spoke:
        await spoke.until_event("DriftHealed", "ConfigMap moved/a1")
        await spoke.until_event("DriftHealed", "ConfigMap moved/a2")
        assert (await spoke.until_applied("apps")).objects == 22
        await spoke.until_applied("other")
        assert not [name for verb, resource, _, name in asked(cluster, mark) if verb == "delete"]
        assert admin.config_map("moved", "a1")["data"] == {"k": "v"}  # type: ignore[index]
        # And the hub, when it is back, goes on from there: what it takes out of the bundle is deleted.
        spoke.want(Wanted("apps", objects), Wanted("other"))
        await spoke.until_applied("apps")
        await spoke.until_applied("other")
        assert admin.get("v1", "Secret", "password", "moved") is None
        assert admin.config_map("moved", "b") is None


async def test_a_record_that_was_damaged_is_written_anew(cluster: ControlPlane, admin: Admin, tmp_path: Path) -> None:
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", [namespace("damaged"), config_map("damaged", "a", k="v")]))
        await spoke.until_applied("apps")
        await recorded(admin, spoke)
    nonsense = base64.b64encode(b"nonsense").decode()
    admin.patch("v1", "Secret", "desired-state", KEEPS, {"data": {"zst": nonsense}})
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", [namespace("damaged"), config_map("damaged", "a", k="w")]))
        await spoke.until_applied("apps")
        await eventually(lambda: head_of(admin) != nonsense, "another one is written")
        await recorded(admin, spoke)


async def test_a_change_of_one_object_rewrites_one_piece(spoke: Spoke, cluster: ControlPlane, admin: Admin) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(1500))
    objects = [config_map("pieces", f"a{number}", k=f"{number}{text}") for number in range(600)]
    spoke.want(Wanted("apps", [namespace("pieces"), *objects]))
    await spoke.until_applied("apps")
    await recorded(admin, spoke)
    before = pieces(admin)
    assert len(before) >= 6
    objects[300] = config_map("pieces", "a300", k="changed")
    mark = cluster.audit_mark()
    spoke.want(Wanted("apps", [namespace("pieces"), *objects]))
    await spoke.until_applied("apps")
    await recorded(admin, spoke)
    await eventually(lambda: len(pieces(admin)) == len(before), "the old piece is gone")
    assert len(pieces(admin) - before) == 1
    written_by = ("create", "patch")
    written = [name for verb, resource, _, name in asked(cluster, mark) if resource == "secrets" and verb in written_by]
    assert len(written) == 2, "a piece, and the head"


async def test_a_large_object_that_does_not_compress_is_cut(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    noise = base64.b85encode(random.Random(3).randbytes(750_000)).decode().replace("$", "-")  # noqa: S311
    objects = [namespace("large"), config_map("large", "a", k=noise)]
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", objects))
        await spoke.until_applied("apps")
        await recorded(admin, spoke)
        root = spoke.store.current.bundle.root  # type: ignore[union-attr]
    assert [name for name in pieces(admin) if name.endswith("-1")], "one pack has two pieces"
    async with running(cluster.kubeconfig, tmp_path / "two") as spoke:
        await spoke.until_status("apps")
        assert spoke.store.current
        assert spoke.store.current.bundle.root == root


async def test_killed_between_pieces_the_older_bundle_is_found_whole(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    old = BundleStore(tmp_path / "one")
    text = "x y z " * 300
    many = [config_map("between", f"a{number}", k=f"{number}{text}") for number in range(300)]
    first = commit(old, 1, [Wanted("apps", many)])
    changed = [config_map("between", f"a{number}", k=f"new {number}{text}") for number in range(300)]
    async with connect(load_kubeconfig(cluster.kubeconfig)) as client:
        await write(Recorder(OwnNamespace(client), old, lambda *_: None), first)
        for allowed in range(1, 6):
            second = commit(old, 1 + allowed, [Wanted("apps", changed)])
            own = Failing(OwnNamespace(client), allowed)
            recorder = Recorder(own, old, lambda *_: None)  # type: ignore[arg-type]
            recorder.want(second)
            task = asyncio.create_task(recorder.run())
            await asyncio.wait_for(own.dead.wait(), 30)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            reader = BundleStore(tmp_path / f"reader-{allowed}")
            again = Recorder(OwnNamespace(client), reader, lambda *_: None)
            head = await again.head()
            assert head is not None
            found = await again.restore(head)
            assert found.bundle.root == first.bundle.root
            assert not reader.missing(found.bundle)
            reader.close()
        # The next spoke writes the rest, and leaves nothing lying about.
        last = Recorder(OwnNamespace(client), old, lambda *_: None)
        await write(last, second)
        head = await last.head()
        assert head is not None
        assert head.root == second.bundle.root
        await eventually(lambda: pieces(admin) == head.names(), "what no head names is gone")
    old.close()


class Failing:
    """The spoke's namespace, until the process is killed: after so many writes every request fails."""

    def __init__(self, real: OwnNamespace, writes: int) -> None:
        self._real = real
        self._left = writes
        self.dead = asyncio.Event()
        self.name = real.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def apply(self, *arguments: Any) -> str:
        if self._left == 0:
            self.dead.set()
            raise KubernetesError("killed", status=0)
        self._left -= 1
        return await self._real.apply(*arguments)


async def write(recorder: Recorder, stored: Any) -> None:
    recorder.want(stored)
    task = asyncio.create_task(recorder.run())
    await recorder.recorded()
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_the_right_to_keep_secrets_it_works_and_says_so_and_an_older_record_undoes_nothing(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    first = [namespace("denied"), config_map("denied", "old", k="1"), config_map("denied", "same", k="1")]
    second = [namespace("denied"), config_map("denied", "new", k="2"), config_map("denied", "same", k="2")]
    unchanged = Wanted("unchanged", [config_map("denied", "beside", k="1")])
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", first), unchanged)
        await spoke.until_applied("apps")
        await spoke.until_applied("unchanged")
        await recorded(admin, spoke)
    limited = await asyncio.to_thread(cluster.kubeconfig_for, "limited")
    admin.allow("limited", *WITHOUT_SECRETS)
    admin.allow("limited", rule("namespaces", "*"), rule("configmaps", "*"), namespace="")
    async with running(limited, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", second), unchanged, Wanted("third", [config_map("denied", "third")]))
        await spoke.until_event("RecordRefused", 'User "limited" cannot')
        await spoke.until_applied("apps")
        await spoke.until_applied("third")
        assert admin.config_map("denied", "old") is None
    admin.patch("v1", "ConfigMap", "beside", "denied", {"data": {"k": "by hand"}})
    async with running(cluster.kubeconfig, tmp_path / "two") as spoke:
        held = await spoke.until("apps", lambda status: ready(status)[1] == "DesiredStateOutdated", "is held")
        assert "generation 1, but generation 2 was applied" in ready(held)[2]
        await spoke.until_event("DriftHealed", "ConfigMap denied/beside")
        await spoke.until_applied("unchanged")
        assert admin.config_map("denied", "old") is None
        assert admin.config_map("denied", "same")["data"] == {"k": "2"}  # type: ignore[index]
        assert {"new", "third"} <= admin.names("v1", "ConfigMap", "denied")
        assert spoke.store.doubtful, "the hub is asked what is right"
        # It has been reached, and says that generation 1 is right after all.
        spoke.want(Wanted("apps", first), unchanged)
        await spoke.until_applied("apps")
        await spoke.until_removed("third")
        assert admin.names("v1", "ConfigMap", "denied") == {"old", "same", "beside", "kube-root-ca.crt"}


async def test_of_two_spokes_one_works_and_the_other_says_so(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    def wanted(value: str) -> Wanted:
        return Wanted("apps", [namespace("two"), config_map("two", "a", k=value)])

    async with running(cluster.kubeconfig, tmp_path / "one", times=SOON) as first:
        first.join("hub-one:8443", "production")
        first.want(wanted("first"))
        await first.until_applied("apps")
        async with running(cluster.kubeconfig, tmp_path / "two", times=SOON) as second:
            second.want(wanted("second"), Wanted("more", [config_map("two", "b")]))
            said = await second.until(
                "apps", lambda status: ready(status)[1] == "ClusterHeldByAnotherSpoke", "stands back"
            )
            assert "cluster production of the hub hub-one:8443, since 20" in ready(said)[2]
            await second.until("more", lambda status: ready(status)[1] == "ClusterHeldByAnotherSpoke", "stands back")
            await asyncio.sleep(SOON.duration + 1.0)
            assert admin.config_map("two", "a")["data"] == {"k": "first"}  # type: ignore[index]
            assert admin.config_map("two", "b") is None
            # The first one loses the lease to somebody who did not wait: it stops at once.
            take_lease(admin, "somebody")
            said = await first.until(
                "apps", lambda status: ready(status)[1] == "ClusterHeldByAnotherSpoke", "stops, too"
            )
            admin.patch("v1", "ConfigMap", "a", "two", {"data": {"k": "by hand"}})
            await asyncio.sleep(0.5)
            assert admin.config_map("two", "a")["data"] == {"k": "by hand"}  # type: ignore[index]
            # Somebody never renews it: one of the two has it then, and only one.
            await eventually(lambda: admin.config_map("two", "a")["data"]["k"] != "by hand", "healed")  # type: ignore[index]


def take_lease(admin: Admin, holder: str) -> None:
    admin.patch("coordination.k8s.io/v1", "Lease", "felloe-spoke", KEEPS, {"spec": {"holderIdentity": holder}})


async def test_a_spoke_that_ends_gives_the_lease_to_the_next_at_once(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        async with running(cluster.kubeconfig, tmp_path / name) as spoke:
            spoke.want(Wanted("apps", [namespace("handed"), config_map("handed", name)]))
            await spoke.until_applied("apps")


async def test_a_lease_that_may_not_be_had_is_asked_for_by_name(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    powerless = await asyncio.to_thread(cluster.kubeconfig_for, "powerless")
    async with running(powerless, tmp_path) as spoke:
        spoke.want(Wanted("apps", [namespace("lease")]))
        status = await spoke.until("apps", lambda status: ready(status)[0] == "False", "tells")
    assert 'User "powerless" cannot get resource "leases"' in ready(status)[2]
    assert (
        "needs get, create and update of leases (coordination.k8s.io) in the namespace felloe-system"
        in (ready(status)[2])
    )


async def test_what_another_hub_left_stays_until_a_person_says_so(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    both = [namespace("hubs"), config_map("hubs", "both", k="1")]
    following(tmp_path / "one", OLD_HUB)
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", [*both, config_map("hubs", "old")]), Wanted("gone", [config_map("hubs", "gone")]))
        await spoke.until_applied("apps")
        await spoke.until_applied("gone")
        await recorded(admin, spoke)
    following(tmp_path / "one", NEW_HUB)
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        uid = admin.config_map("hubs", "both")["metadata"]["uid"]  # type: ignore[index]
        spoke.want(Wanted("apps", [*both, config_map("hubs", "new")]), Wanted("more", [config_map("hubs", "more")]))
        status = await spoke.until_applied("apps")
        await spoke.until_applied("more")
        assert [problem.reason for problem in status.problems] == ["InventoryOfAnotherHub"]
        await spoke.until_event("InventoryOfAnotherHub", "ConfigMap hubs/old")
        await spoke.until_event("InventoryOfAnotherHub", "ConfigMap hubs/gone")
        assert {"old", "gone", "new", "more"} <= admin.names("v1", "ConfigMap", "hubs")
        assert admin.config_map("hubs", "both")["metadata"]["uid"] == uid  # type: ignore[index]
        # What is of this hub alone is deleted as ever.
        spoke.want(Wanted("apps", [*both, config_map("hubs", "new")]), Wanted("more"))
        await spoke.until_applied("more")
        assert admin.config_map("hubs", "more") is None
    async with running(cluster.kubeconfig, tmp_path / "one", prune_former_hub=True) as spoke:
        await spoke.until_removed("gone")
        await eventually(lambda: admin.config_map("hubs", "old") is None, "the old hub's object is deleted")
        assert {"both", "new"} <= admin.names("v1", "ConfigMap", "hubs")


async def test_a_deposed_hub_is_known_on_an_empty_disk(cluster: ControlPlane, admin: Admin, tmp_path: Path) -> None:
    following(tmp_path / "one", OLD_HUB)
    store = BundleStore(tmp_path / "one")
    store.see_epoch(7)
    store.close()
    async with running(cluster.kubeconfig, tmp_path / "one") as spoke:
        spoke.want(Wanted("apps", [namespace("deposed")], ApplyOptions(prune=True)))
        await spoke.until_applied("apps")
        await recorded(admin, spoke)
    async with running(cluster.kubeconfig, tmp_path / "two") as spoke:
        await spoke.until_applied("apps")
        assert spoke.store.epoch == 7
        assert spoke.store.trusted == OLD_HUB
        assert workload_id("apps") in spoke.store.current.bundle.by_id  # type: ignore[union-attr]
