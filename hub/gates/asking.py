"""Keeping the gates that rollouts wait for asked: each at its own pace, none in the way of another rollout's.

It is level-based: the caller says which questions it wants answered, again and again; what it no longer names is
dropped, and what it still names goes on. A gate that has passed is asked on for as long as it is wanted, so that what
counts when a stage begins is how it is then, and not how it was while another gate was waited for.

    gates = Gates(secrets, on_change)
    async with asyncio.TaskGroup() as group:
        group.create_task(gates.run())
        gates.ask({Question(track, release, "canary", "errors"): Asked(gate, known)})
        gates.answers(track, release)
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from felloe.errors import FelloeError
from hub.fleet.durations import format_duration
from hub.fleet.strategy import ApprovalGate, Gate, HttpGate, PrometheusGate
from hub.gates import NAMESPACE
from hub.gates.judging import Opinion, judge, question
from hub.gates.web import fetch
from hub.rollout.model import GateResult, Track, Verdict
from hub.sources.http import HttpAuth, TlsTrust
from hub.sources.secrets import SecretFolder

_AT_ONCE: Final = 128
_AT_ONCE_FOR_A_TRACK: Final = 4
_SHORTEST_PAUSE: Final = 0.01


class Question(NamedTuple):
    """A gate of a stage of a track's rollout of a release: an answer about another release is none about this."""

    track: Track
    release: int
    stage: str
    gate: str


class Asked(NamedTuple):
    """What is asked, and what the engine knows of the answer: its word is what outlives a restart of the hub."""

    gate: Gate
    known: GateResult | None = None


OnChange = Callable[[Track], None]


class Gates:
    """Asks, while `run` runs, what `ask` was told last; `on_change` hears of a track whose answers are others now.

    At most 128 requests are under way at once, and at most 4 of one track: a gate that answers slowly holds up no other
    rollout.
    """

    def __init__(self, secrets: SecretFolder, on_change: OnChange, *, clock: Callable[[], float] = time.time) -> None:
        self._web = _Web(secrets)
        self._on_change = on_change
        self._clock = clock
        self._askers: dict[Question, _Asker] = {}
        self._tracks: dict[Track, list[_Asker]] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Ask until cancelled. An error of `on_change` ends it; a gate that can't be asked is an answer."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[_Asker, asyncio.Task[None]] = {}
            while True:
                self._changed.clear()
                wanted = set(self._askers.values())
                for asker in tasks.keys() - wanted:
                    tasks.pop(asker).cancel()
                for asker in wanted - tasks.keys():
                    tasks[asker] = group.create_task(asker.run(), name=f"gate {asker.key}")
                await self._changed.wait()

    def ask(self, wanted: Mapping[Question, Asked]) -> None:
        """Ask exactly these from now on; approvals among them are left to people.

        A question that is asked already goes on, so that its patience ends. It begins anew where its gate says
        something else now, or where the engine wants to know it since later: somebody had the rollout tried again. One
        that is new here, because the hub was restarted, goes on from what is known.
        """
        before, self._askers, self._tracks = self._askers, {}, {}
        for key, (gate, known) in wanted.items():
            if isinstance(gate, ApprovalGate):
                continue
            asker = before.get(key)
            if asker is None or asker.gate != gate:
                since = known.asked_since if known and asker is None and known.verdict is Verdict.WAITING else None
                asker = _Asker(key, gate, self._web, self._on_change, self._clock, since)
            elif known is not None and known.asked_since > asker.since:
                asker = _Asker(key, gate, self._web, self._on_change, self._clock, known.asked_since)
            self._askers[key] = asker
            self._tracks.setdefault(key.track, []).append(asker)
        if before != self._askers:
            self._web.keep(self._tracks)
            self._changed.set()

    def answers(self, track: Track, release: int) -> Mapping[tuple[str, str], GateResult]:
        """Return the answers about a track's rollout of a release so far, by stage and name of the gate."""
        return {
            (asker.key.stage, asker.key.gate): asker.result
            for asker in self._tracks.get(track, ())
            if asker.key.release == release and asker.result is not None
        }


class _Asker:
    """One question: its last answer, and the loop that asks."""

    def __init__(
        self,
        key: Question,
        gate: HttpGate | PrometheusGate,
        web: _Web,
        on_change: OnChange,
        clock: Callable[[], float],
        since: float | None,
    ) -> None:
        self.key = key
        self.gate = gate
        self.result: GateResult | None = None
        self._web = web
        self._on_change = on_change
        self._clock = clock
        self.since = clock() if since is None else since
        self._waits_since = self.since

    async def run(self) -> None:
        pause = random.uniform(0.0, self.gate.interval)  # noqa: S311  # gates that begin together spread, once
        while True:
            result = self._result(await self._web.ask(self.key.track, self.gate))
            before, self.result = self.result, result
            if before is None or (before.verdict, before.message) != (result.verdict, result.message):
                self._on_change(self.key.track)
            if result.verdict is Verdict.FAILED:
                return
            if result.verdict is Verdict.WAITING:
                pause = min(pause, self._waits_since + self.gate.patience - result.at)
            await asyncio.sleep(max(pause, _SHORTEST_PAUSE))
            pause = self.gate.interval

    def _result(self, opinion: Opinion) -> GateResult:
        """Return what an answer comes to: patience counts from when it last began to be waited for."""
        now = self._clock()
        if opinion.passed:
            self._waits_since = now
            return GateResult(Verdict.PASSED, now, self.since, opinion.message)
        if now - self._waits_since < self.gate.patience:
            return GateResult(Verdict.WAITING, now, self.since, opinion.message)
        message = f"did not pass within {format_duration(self.gate.patience)}: {opinion.message}"
        return GateResult(Verdict.FAILED, now, self.since, message)


class _Web:
    """Makes the requests of all gates: bounded in number, with the credentials as they are at that moment."""

    def __init__(self, secrets: SecretFolder) -> None:
        self._secrets = secrets
        self._trust = TlsTrust()
        self._all = asyncio.Semaphore(_AT_ONCE)
        self._tracks: dict[Track, asyncio.Semaphore] = {}

    def keep(self, tracks: Collection[Track]) -> None:
        """Forget the limits of all other tracks."""
        self._tracks = {track: limit for track, limit in self._tracks.items() if track in tracks}

    async def ask(self, track: Track, gate: HttpGate | PrometheusGate) -> Opinion:
        """Ask once, when it is this one's turn."""
        limit = self._tracks.setdefault(track, asyncio.Semaphore(_AT_ONCE_FOR_A_TRACK))
        async with limit, self._all:
            try:
                auth, context = await asyncio.to_thread(self._credentials, gate)
                answer = await fetch(question(gate), auth, context, gate.timeout)
            except FelloeError as error:
                return Opinion(False, str(error))
        return judge(gate, answer)

    def _credentials(self, gate: HttpGate | PrometheusGate) -> tuple[HttpAuth, ssl.SSLContext]:
        auth = HttpAuth.of(self._secrets.read(NAMESPACE, gate.secret) if gate.secret else None)
        return auth, self._trust.context(auth.ca)
