"""Kill a spoke again and again on one real cluster, and judge the cluster after each kill."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import urllib3

from felloe.identity import ObjectId, object_id
from felloe.labels import GROUP, SYSTEM_NAMESPACE, WORKLOAD_KIND, WORKLOAD_NAME, WORKLOAD_NAMESPACE
from spoke.apply.inventory import decode
from spoke.kube.client import KubeClient, connect
from spoke.kube.config import load_kubeconfig
from tests.cluster.controlplane import ControlPlane
from tests.faults.judge import Judge, Seen, Snapshot
from tests.faults.link import HubProcess, Line, bundle_of, linked
from tests.faults.proxy import CALM, KillPoint, Proxy, Trouble, proxying, write_kubeconfig
from tests.faults.requests import SERVER_SIDE_APPLY, Phase
from tests.faults.victim import Nursery, Victim
from tests.faults.world import BASE, Generation, World, manifest, objects
from tests.spoke.manifests import Manifest, config_map, namespace, workload_id

SETTLE_SECONDS: Final = 90.0
"""How long a spoke has to come to its end, on a machine that others use too: a bound, no measure."""
_CUT: Final = 0.5
_KILLED_BY_A_CUT: Final = 0.3
_LINE_BYTES: Final = 60_000
_HUB_KILLED: Final = 0.05
"""On the link: how often what happens, and how many bytes a connection carries that is cut."""
_FINALIZER: Final = "faults.example.com/held"
_MINE: Final = {identity: number for number, identity in enumerate(objects())}
_POINTS: Final[Mapping[Phase, tuple[int, int]]] = {
    # How often (of 100) it is chosen, and how late the request may be.
    Phase.RECORD: (22, 8),
    Phase.APPLY: (24, 40),
    Phase.DELETE: (16, 8),
    Phase.LOOK: (7, 8),
    Phase.FORGET: (7, 2),
    Phase.MANAGERS: (3, 2),
    Phase.EVENT: (8, 60),
    Phase.STORE: (6, 8),
    Phase.LOAD: (2, 1),
    Phase.LIST: (2, 6),
    Phase.WATCH: (2, 6),
    Phase.DISCOVER: (1, 2),
}


class Damage(AssertionError):  # noqa: N818
    """The cluster is not as it must be. The message names the seed, the kills and the generations that led there."""


@dataclass(slots=True)
class Tally:
    """What a campaign did."""

    kills: Counter[str] = field(default_factory=Counter)
    generations: int = 0
    settled: int = 0
    by_hand: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    slowest_settle: float = 0.0

    def __str__(self) -> str:
        kills = ", ".join(f"{phase} {count}" for phase, count in sorted(self.kills.items()))
        hand = ", ".join(f"{what} {count}" for what, count in sorted(self.by_hand.items()))
        troubles = ", ".join(f"{what} {count}" for what, count in sorted(self.troubles.items()))
        return (
            f"{self.kills.total()} kills ({kills}); {self.generations} generations, compared whole {self.settled} "
            f"times (the slowest spoke took {self.slowest_settle:.1f} s); by hand: {hand}"
            + (f"; troubles: {troubles}" if troubles else "")
        )


class Campaign:
    """One cluster, one row of generations, one spoke after the other."""

    def __init__(
        self, seed: int, cluster: ControlPlane, client: KubeClient, nursery: Nursery, proxy: Proxy, folder: Path
    ) -> None:
        self.seed = seed
        self.tally = Tally()
        self.proxy = proxy
        self.world = World(random.Random(seed))  # noqa: S311
        self._cluster = cluster
        self._client = client
        self._nursery = nursery
        self._folder = folder
        self._kubeconfig = write_kubeconfig(folder / "kubeconfig", proxy.url)
        self._judge = Judge(Snapshot({}, {}, {}), [self.world.history[-1]], Snapshot({}, {}, {}))
        self._story: list[str] = []
        self._held: set[ObjectId] = set()
        self._link: tuple[HubProcess, Line] | None = None
        self._numbers: dict[str, int] = {}

    @property
    def chance(self) -> random.Random:
        return self.world.chance

    async def prepare(self) -> None:
        """Make what is there before any spoke: the namespaces, and what no spoke may touch."""
        for name in (BASE, SYSTEM_NAMESPACE):
            await self._client.apply(f"/api/v1/namespaces/{name}", json.dumps(namespace(name)).encode())
        for path, decoy in _decoys().items():
            await self._client.apply(path, json.dumps(decoy).encode())
        self._judge.begin(await self._snapshot())

    # -- kills

    async def kill(self, times: int, settle_every: int = 12, trouble: Trouble = CALM) -> None:
        """Kill a spoke so many times, and have one come to its end after each few of them."""
        self.proxy.seed(self.seed)
        self.proxy.trouble = trouble
        for number in range(1, times + 1):
            await self._one_kill(self._point())
            if number % settle_every == 0 or number == times:
                await self.settle()
        self.tally.troubles += self.proxy.given

    async def kill_on_the_link(self, times: int) -> None:
        """The same with a real hub: what it sends is cut anywhere, and the spoke or the hub killed with that."""
        async with linked(self._folder / "hub") as self._link:
            line = self._link[1]
            line.on_cut = self._cut
            await self.kill(times)
        self.tally.troubles["line cut"] += line.cuts
        self._link = None

    def _cut(self) -> None:
        if self.chance.random() < _KILLED_BY_A_CUT:
            self._story.append("killed by a cut")
            self.proxy.kill()

    def _point(self) -> KillPoint:
        phase = self.chance.choices(list(_POINTS), [often for often, _ in _POINTS.values()])[0]
        # An early request of its phase is as good as a late one, and takes fewer generations to reach.
        return KillPoint(phase, self.chance.randint(1, _POINTS[phase][1]), self.chance.random() < 0.5)

    async def _one_kill(self, point: KillPoint) -> None:
        self._story.append(f"kill {point}")
        victim = await self._start(point)
        for _ in range(40):
            await self._by_hand(self.chance.choice((0, 0, 1, 2)))
            if self._link and self.chance.random() < _CUT:
                self._link[1].cut_after = self.chance.randint(0, _LINE_BYTES)
            await self._want(victim)
            if self._link and self.chance.random() < _HUB_KILLED:
                await self._kill_hub(self._link[0])
            self.proxy.land(0.3)
            await self._while_working(victim)
            if victim.dead.is_set():
                break
        else:
            self._story.append("the point was not reached")
            self.proxy.kill()
        self.tally.kills[point.phase.value if self.proxy.fired or point.phase is Phase.STORE else "elsewhere"] += 1
        await victim.close()
        await self.proxy.drained()
        self._judge.fell_late |= self._deleted_late()
        wrong = self._judge.after_kill(await self._snapshot(), victim.stored or self._judge.stored)
        if wrong:
            raise self._damage(f"after the kill {point}", wrong)

    async def _start(self, point: KillPoint | None) -> Victim:
        statement = point.nth if point and point.phase is Phase.STORE else 0
        hub = ""
        if self._link:
            process, line = self._link
            hub = replace(process.identity, hub=f"127.0.0.1:{line.port}").to_json().decode()
        victim = await self._nursery.start(self._kubeconfig, self._folder / "state", statement, hub)
        victim.numbers = self._numbers
        self.proxy.arm(victim.pid, point)
        await victim.go()
        return victim

    async def _want(self, victim: Victim, *, calm: bool = False) -> None:
        generation = self.world.next(calm=calm)
        self.tally.generations += 1
        self._judge.window.append(generation)
        self._story.append(str(generation) + self.world.told())
        if self._link:
            self._numbers[bundle_of(generation).root.hex()] = generation.number
            await self._link[0].publish(generation)
        else:
            await victim.want(generation)

    async def _kill_hub(self, hub: HubProcess) -> None:
        self._story.append("hub killed")
        self.tally.troubles["hub killed"] += 1
        await asyncio.sleep(self.chance.uniform(0, 0.2))
        await hub.kill()
        await hub.start()

    async def _while_working(self, victim: Victim, idle: float = 0.12) -> None:
        """Let a spoke work: until it asks nothing, or for some requests, so that a newer generation cuts in."""
        requests = self.chance.choice((0, 3, 10, 30, 10_000, 10_000))
        before = self.proxy.counts.total()
        loop = asyncio.get_running_loop()
        self.proxy.last_request = loop.time()
        deadline = loop.time() + 5.0
        while not victim.dead.is_set() and self.proxy.counts.total() < before + requests and loop.time() < deadline:
            if loop.time() - self.proxy.last_request > idle:
                break
            await asyncio.sleep(0.002)

    def _deleted_late(self) -> set[ObjectId]:
        """Return which objects' deletions were done later than they were asked for: nobody can take them back."""
        paths = {held.path for held in self.proxy.landed if held.phase is Phase.DELETE}
        return {identity for identity in _MINE if _path(identity) in paths}

    # -- by hand

    async def _by_hand(self, times: int) -> None:
        """Do what people do to objects of ours: edit, delete, take our labels away, put finalizers on them."""
        for _ in range(times):
            there = [
                each for each in _MINE if each.kind in ("ConfigMap", "Secret", "Widget") and each.namespace == BASE
            ]
            identity = self.chance.choice(there)
            what = self.chance.choice(("edited", "edited", "deleted", "stripped", "held"))
            if identity.kind == "Widget" and what in ("stripped", "held"):
                continue  # one that nobody has any more, or that stays, keeps its definition, rightly
            done = await asyncio.to_thread(self._do_by_hand, identity, what)
            if done:
                self._story.append(f"{what} {identity}")
                self.tally.by_hand[what] += 1

    def _do_by_hand(self, identity: ObjectId, what: str) -> bool:
        # What is marked may be deleted or left, so it is marked before.
        if what == "deleted":
            self._judge.deleted.add(identity)
            return self._ask("DELETE", _path(identity)) is not None
        if what == "stripped":
            self._judge.stripped.add(identity)
            body: Manifest = {"metadata": {"labels": {WORKLOAD_NAME: None}}}
        elif what == "held":
            self._held.add(identity)
            body = {"metadata": {"finalizers": [_FINALIZER]}}
        else:
            field_name = "spec" if identity.kind == "Widget" else "data"
            body = {field_name: {"k": "aGFuZA==", "by-hand": "aGFuZA=="}}
        return self._ask("PATCH", f"{_path(identity)}?fieldManager=kubectl-edit", body) is not None

    def _let_go(self) -> None:
        """Take our finalizers away: a controller has done its work."""
        for identity in self._held:
            self._ask("PATCH", f"{_path(identity)}?fieldManager=controller", {"metadata": {"finalizers": None}})
        self._held.clear()

    # -- the end

    async def settle(self) -> None:
        """Let a spoke come to its end, and compare the whole cluster with what is wanted."""
        trouble, self.proxy.trouble = self.proxy.trouble, CALM
        if self._link:  # no cut that was meant for a spoke before this one
            self._link[1].cut_after, self._link[1].on_cut = None, lambda: None
        victim = await self._start(None)
        await self._want(victim, calm=True)
        await self.until_settled()
        self.proxy.trouble = trouble
        await victim.close()
        await self.proxy.drained()
        if self._link:
            self._link[1].on_cut = self._cut

    async def until_settled(self) -> None:
        """Wait until the cluster is as the newest generation says, and take it as the new beginning."""
        await asyncio.to_thread(self._let_go)
        await self.proxy.all_landed()
        self._judge.fell_late |= self._deleted_late()
        started = time.monotonic()
        while True:
            now = await self._snapshot()
            wrong = self._judge.settled(now) or await self._different(self.world.history[-1])
            if not wrong:
                break
            if time.monotonic() - started > SETTLE_SECONDS:
                raise self._damage(f"not settled within {SETTLE_SECONDS:.0f} s", wrong)
            await asyncio.sleep(0.2)
        self.tally.settled += 1
        self.tally.slowest_settle = max(self.tally.slowest_settle, time.monotonic() - started)
        self._judge.begin(now)
        self.proxy.landed.clear()
        self._story.append("settled")

    async def trouble(self, trouble: Trouble, generations: int, restart: Callable[[], None] | None = None) -> None:
        """Have a spoke follow generations on an API server in trouble, with a restart amid; then compare all."""
        self.proxy.seed(self.seed)
        self.proxy.given.clear()
        victim = await self._start(None)
        self.proxy.trouble = trouble
        for number in range(generations):
            await self._by_hand(self.chance.choice((0, 0, 1)))
            await self._want(victim, calm=number == generations - 1)
            if restart and number % 3 == 1:
                self._story.append("the API server restarts")
                await asyncio.to_thread(restart)
            await self._while_working(victim, 1.5)
        self.proxy.trouble = CALM
        self.tally.troubles += self.proxy.given
        await self.until_settled()
        await victim.close()
        await self.proxy.drained()

    # -- what is there

    async def _snapshot(self) -> Snapshot:
        return await asyncio.to_thread(lambda: Snapshot(self._objects(), self._records(), self._decoy_versions()))

    def _records(self) -> dict[str, set[ObjectId]]:
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps?labelSelector={GROUP}/inventory=true"
        pieces = (
            (item["metadata"]["name"], base64.b64decode(item["binaryData"]["inventory.json.zst"]))
            for item in self._ask("GET", path)["items"]
        )
        return {identity.name: set(inventory.items) for identity, inventory in decode(pieces).items()}

    def _objects(self) -> dict[ObjectId, Seen]:
        found = {}
        for collection in sorted({_collection(identity) for identity in _MINE}):
            for item in (self._ask("GET", collection) or {}).get("items") or ():
                item.setdefault("kind", _KINDS[collection][0])
                item.setdefault("apiVersion", _KINDS[collection][1])
                identity = object_id(item)
                if identity in _MINE:
                    metadata = item["metadata"]
                    owner = (metadata.get("labels") or {}).get(WORKLOAD_NAME, "")
                    found[identity] = Seen(metadata["uid"], owner, "deletionTimestamp" in metadata)
        return found

    def _decoy_versions(self) -> dict[str, str]:
        versions = {}
        for path in _decoys():
            metadata = (self._ask("GET", path) or {"metadata": {}})["metadata"]
            versions[path] = f"{metadata.get('uid')} at {metadata.get('resourceVersion')}"
        return versions

    async def _different(self, generation: Generation) -> list[str]:
        """Return which wanted objects a server-side apply of what is wanted would change."""
        return await asyncio.to_thread(lambda: [*self._differences(generation)])

    def _differences(self, generation: Generation) -> list[str]:
        wrong = []
        for identity, want in generation.wants.items():
            wanted = _with_labels(manifest(identity, want.value), want.workload)
            path = f"{_path(identity)}?fieldManager=felloe&force=true&dryRun=All"
            would = self._ask("PATCH", path, wanted, SERVER_SIDE_APPLY)
            live = self._ask("GET", _path(identity))
            if _content(would) != _content(live):
                wrong.append(f"{identity} is not as wanted: {_content(live)} instead of {_content(would)}")
            elif identity.kind == "ConfigMap" and live and live.get("data") != wanted["data"]:
                wrong.append(f"{identity} has fields that nobody wants: {live.get('data')}")
        return wrong

    def _ask(
        self, method: str, path: str, body: Manifest | None = None, kind: str = "application/merge-patch+json"
    ) -> Any:
        """Return what the API server answers, None where there is no such thing."""
        api = self._cluster.api
        headers = {"Content-Type": kind} if body is not None else {}
        data = json.dumps(body).encode() if body is not None else None
        answer = api._pool.request(
            method,
            api.server + path,
            body=data,
            headers=headers,
            timeout=30.0,
            retries=urllib3.Retry(3, redirect=False),
        )
        if answer.status in (404, 409) or (answer.status == 403 and b"being terminated" in answer.data):
            return None
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.data[:500]!r}"
        return json.loads(answer.data)

    def _damage(self, when: str, wrong: list[str]) -> Damage:
        story = "\n".join(self._story[-60:])
        newest = self.world.history[-1]
        wants = "\n".join(f"  {identity}: {want.workload} {want.value}" for identity, want in newest.wants.items())
        listed = "\n".join(f"  {line}" for line in wrong[:30])
        return Damage(
            f"seed {self.seed}, {when}:\n{listed}\n-- what happened\n{story}\n-- wanted last "
            f"(absent: {', '.join(sorted(newest.absent))})\n{wants}"
        )


@asynccontextmanager
async def campaign(cluster: ControlPlane, folder: Path, seed: int) -> AsyncIterator[Campaign]:
    """Yield a campaign on a cluster, which is emptied for it: what a spoke left without a record is an orphan."""
    await asyncio.to_thread(cluster.clean)
    async with (
        connect(load_kubeconfig(cluster.kubeconfig)) as client,
        proxying(cluster.kubeconfig) as proxy,
        Nursery.open(folder) as nursery,
    ):
        found = Campaign(seed, cluster, client, nursery, proxy, folder)
        await found.prepare()
        yield found


def _with_labels(wanted: Manifest, workload: str) -> Manifest:
    owner = workload_id(workload)
    metadata = dict(wanted["metadata"])  # type: ignore[call-overload]
    metadata["labels"] = {WORKLOAD_KIND: owner.kind, WORKLOAD_NAMESPACE: owner.namespace, WORKLOAD_NAME: owner.name}
    return wanted | {"metadata": metadata}


def _content(obj: Any) -> Any:
    """Return what of an object is wanted: not what the API server and controllers write."""
    if obj is None:
        return None
    metadata = {name: obj["metadata"].get(name) for name in ("labels", "annotations", "finalizers")}
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")} | {"metadata": metadata}


def _decoys() -> dict[str, Manifest]:
    """Return what is not ours, some of which looks like ours."""
    copied = _with_labels(config_map(BASE, "decoy-copied", k="v"), "a")
    stranger = _with_labels(config_map(BASE, "decoy-stranger", k="v"), "nobody")
    role = _with_labels(manifest(ObjectId("rbac.authorization.k8s.io", "ClusterRole", "", "decoy"), 1), "b")
    found = [config_map(BASE, "decoy", k="v"), copied, stranger, role, config_map(SYSTEM_NAMESPACE, "decoy", k="v")]
    return {_path(object_id(each)): each for each in found}


_KINDS: Final[dict[str, tuple[str, str]]] = {}


def _collection(identity: ObjectId) -> str:
    plurals = {"CustomResourceDefinition": "customresourcedefinitions"}
    plural = plurals.get(identity.kind, identity.kind.lower() + "s")
    base = f"/apis/{identity.group}/v1" if identity.group else "/api/v1"
    path = f"{base}/{plural}"
    _KINDS[path] = (identity.kind, f"{identity.group}/v1" if identity.group else "v1")
    return path


def _path(identity: ObjectId) -> str:
    base, _, plural = _collection(identity).rpartition("/")
    inside = f"/namespaces/{identity.namespace}" if identity.namespace else ""
    return f"{base}{inside}/{plural}/{identity.name}"
