"""An API server behind a proxy that kills its client, or answers in the API server's place, when it is told to.

The proxy sees every request, so a kill falls exactly between two of them: after the API server has done what was asked
and before the client learns of it, or just before. What it does is chosen by request, not by time: it can be repeated.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Final

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from spoke.kube.config import load_kubeconfig
from tests.faults.requests import Phase, phase_of

_STUCK_SECONDS: Final = 0.3
_HTTP_FAILS: Final = 300
_WRITES: Final = frozenset({Phase.RECORD, Phase.FORGET, Phase.APPLY, Phase.MANAGERS, Phase.DELETE})
_OFTEN: Final = {Phase.APPLY: 3, Phase.DELETE: 5}
"""How much more often than others a write is held back."""
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The `nth` request of a phase; `after` the API server has done it, or before it gets it."""

    phase: Phase
    nth: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.phase.value} {self.nth}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """How often an API server does what (0 to 1, of its answers): nothing of it by default."""

    late: float = 0.0
    late_seconds: float = 0.5
    too_many: float = 0.0
    failing: float = 0.0
    """500, 502, 503 or 504, before anything was done, or after."""
    broken: float = 0.0
    """The connection ends without an answer, before anything was done, or after."""
    closed: float = 0.0
    """A watch ends after an event."""
    expired: float = 0.0
    """A watch, or the next page of a list, is told that its version is too old."""
    held: float = 0.0
    """A write is held back: its client gets no answer, and it is done later, see `Proxy.land`."""


CALM: Final = Trouble()
SLOW: Final = Trouble(late=0.3, late_seconds=0.5, too_many=0.1)
LATE: Final = Trouble(held=0.08)
UNRELIABLE: Final = Trouble(failing=0.12, broken=0.12, closed=0.2, expired=0.1)


@dataclass(frozen=True, slots=True)
class Held:
    """A write that is done later than its client waits."""

    phase: Phase
    path: str
    land: Callable[[], Awaitable[int]]
    """Does it, and returns the status of the answer."""


@dataclass(slots=True)
class Proxy:
    """What stands between a spoke and its API server. `url` is where the spoke finds it."""

    url: str
    trouble: Trouble = CALM
    counts: Counter[Phase] = field(default_factory=Counter)
    """Requests since `arm`."""
    blind: bool = False
    """Whether discovery shows no custom kinds, as that of an API server does which has just started."""
    refusals: Counter[Phase] = field(default_factory=Counter)
    """How many of the next requests of a phase fail, before anything is done."""
    given: Counter[str] = field(default_factory=Counter)
    """Troubles that were made."""
    last_request: float = 0.0
    _chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311
    _point: KillPoint | None = None
    _victim: int = 0
    _dead: bool = False
    _in_flight: int = 0
    hold: Callable[[Phase, str], bool] = lambda *_: False
    """Returns whether the write of a phase to a path is to be held back."""
    latest_seconds: float = 1.5
    """How long what is held back may wait, at most."""
    held: list[Held] = field(default_factory=list)
    landed: list[Held] = field(default_factory=list)
    """What was held back and then done, in the order in which it was asked to be done."""
    _died: asyncio.Event = field(default_factory=asyncio.Event)
    _landing: set[asyncio.Task[None]] = field(default_factory=set)

    def arm(self, victim: int, point: KillPoint | None) -> None:
        """Take the process id of a new client, and when to kill it."""
        self._victim, self._point, self._dead = victim, point, False
        self._died.clear()
        self.counts.clear()

    def seed(self, seed: int) -> None:
        """Begin the row of troubles anew."""
        self._chance.seed(seed)

    @property
    def fired(self) -> bool:
        """Return whether the client was killed."""
        return self._dead

    def kill(self) -> None:
        """Kill the client now; what it asked and was not passed on yet never will be."""
        self._dead = True
        self._died.set()
        with suppress(ProcessLookupError):
            os.kill(self._victim, SIGKILL)

    async def drained(self) -> None:
        """Wait until the API server has done all that was passed on to it."""
        while self._in_flight:  # noqa: ASYNC110 (a few milliseconds)
            await asyncio.sleep(0.005)

    # -- what lands late

    def hold_back(self, held: Held) -> None:
        """Keep a write for later, but not for too long."""
        self.given["held back"] += 1
        self.held.append(held)
        asyncio.get_running_loop().call_later(self.latest_seconds, self._do, held)

    def land(self, share: float = 1.0) -> None:
        """Have what is held back done now, or a share of it, in an order that chance chooses."""
        for held in self._chance.sample(self.held, len(self.held)):
            if share >= 1.0 or self._chance.random() < share:
                self._do(held)

    async def all_landed(self) -> None:
        """Have all that is held back done, and wait until it is."""
        self.land()
        while self._landing:
            await asyncio.gather(*self._landing)

    def _do(self, held: Held) -> None:
        if held not in self.held:
            return
        self.held.remove(held)
        self.landed.append(held)

        async def do() -> None:
            status = await held.land()
            done = "late, done" if status < _HTTP_FAILS else f"late, refused {status}"
            self.given[done] += 1

        task = asyncio.create_task(do())
        self._landing.add(task)
        task.add_done_callback(self._landing.discard)

    async def stuck(self, phase: Phase) -> bool:
        """Let a write wait, now and then, and return whether its client died of waiting."""
        if self._dead or not self.happens(f"{phase.value} stuck", self.trouble.held):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(_STUCK_SECONDS):
                await self._died.wait()
        return self._dead

    # -- what the handler asks

    def reached(self, phase: Phase) -> int:
        """Count a request, and return its number in its phase."""
        self.counts[phase] += 1
        return self.counts[phase]

    def strikes(self, phase: Phase, number: int, *, after: bool) -> bool:
        """Kill the client if it is time, and return whether it is dead."""
        if not self._dead and self._point == KillPoint(phase, number, after):
            self.kill()
        return self._dead

    def happens(self, name: str, share: float) -> bool:
        """Return whether a trouble comes now."""
        if not share or self._chance.random() >= share:
            return False
        self.given[name] += 1
        return True

    def choice(self, *values: int) -> int:
        return self._chance.choice(values)

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Count a request that the API server works on."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


class _Dropped(Exception):  # noqa: N818
    """The connection is to end without an answer."""


@asynccontextmanager
async def proxying(kubeconfig: Path) -> AsyncIterator[Proxy]:
    """Yield a proxy for the API server of an administrator's kubeconfig."""
    access = load_kubeconfig(kubeconfig)
    tls = access.credentials().tls or ssl.create_default_context()
    connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=5)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        handler = _Handler(session, access.server)
        runner = web.ServerRunner(web.Server(handler.handle, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        handler.proxy = Proxy(f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            yield handler.proxy
        finally:
            await runner.cleanup()


def write_kubeconfig(path: Path, url: str) -> Path:
    """Write a kubeconfig that leads to a proxy, and return its path."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(document))
    return path


class _Handler:
    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server
        self.proxy = Proxy("")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        proxy = self.proxy
        phase = phase_of(request.method, request.path, request.query, request.headers.get("Content-Type", ""))
        if phase is not Phase.WATCH:
            proxy.last_request = asyncio.get_running_loop().time()
        number = proxy.reached(phase)
        try:
            return (
                await self._watch(request, number)
                if phase is Phase.WATCH
                else await self._answer(request, phase, number)
            )
        except (_Dropped, aiohttp.ClientError, OSError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)

    async def _answer(self, request: web.BaseRequest, phase: Phase, number: int) -> web.StreamResponse:
        proxy, trouble = self.proxy, self.proxy.trouble
        struck = proxy.strikes(phase, number, after=False)
        if phase in _WRITES and await self._late(request, phase, dead=struck):
            raise _Dropped
        if struck:
            raise _Dropped
        if proxy.refusals[phase] > 0:
            proxy.refusals[phase] -= 1
            return _status(503, "ServiceUnavailable")
        if proxy.happens("429", trouble.too_many):
            return _status(429, "TooManyRequests", **{"Retry-After": "1"})
        if phase is Phase.LIST and "continue" in request.query and proxy.happens("expired", trouble.expired):
            return _status(410, "Expired")
        failing, broken = proxy.happens("5xx", trouble.failing), proxy.happens("broken", trouble.broken)
        if (failing or broken) and proxy.choice(0, 1):
            return _trouble(proxy, failing=failing)
        # What was passed on is done, whether or not the client lives to see it.
        late = trouble.late_seconds if proxy.happens("late", trouble.late) else 0.0
        asked = asyncio.ensure_future(self._ask(request, await request.read(), late))
        answer = await asyncio.shield(asked)
        if proxy.strikes(phase, number, after=True):
            raise _Dropped
        return _trouble(proxy, failing=failing) if failing or broken else answer

    async def _late(self, request: web.BaseRequest, phase: Phase, *, dead: bool) -> bool:
        """Hold a write back if that is its turn: of a client that waits, or that died while it was on its way."""
        proxy, trouble = self.proxy, self.proxy.trouble
        died = dead or await proxy.stuck(phase)
        held = proxy.hold(phase, request.path) or (died and trouble.held and proxy.choice(0, 1))
        if not (held or proxy.happens(f"{phase.value} held back", trouble.held * _OFTEN.get(phase, 1))):
            return died
        body = await request.read()

        async def land() -> int:
            try:
                async with proxy.passing(), self._upstream(request, body) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ClientError:  # an API server that restarts just then never sees it
                return 503

        proxy.hold_back(Held(phase, request.path, land))
        return True

    async def _ask(self, request: web.BaseRequest, body: bytes, late: float) -> web.StreamResponse:
        async with self.proxy.passing():
            await asyncio.sleep(late)
            async with self._upstream(request, body) as answer:
                content = await answer.read()
                if self.proxy.blind and request.path == "/apis":
                    content = _without_custom_kinds(answer.headers.get("Content-Encoding", ""), content)
                    headers = {"Content-Type": answer.headers["Content-Type"]}
                    return web.Response(status=answer.status, headers=headers, body=content)
                return web.Response(status=answer.status, headers=_headers(answer.headers), body=content)

    async def _watch(self, request: web.BaseRequest, number: int) -> web.StreamResponse:
        proxy, trouble = self.proxy, self.proxy.trouble
        if proxy.strikes(Phase.WATCH, number, after=False):
            raise _Dropped
        if proxy.happens("watch refused", trouble.failing):
            return _status(proxy.choice(500, 503, 504), "InternalError")
        if proxy.happens("watch expired", trouble.expired):
            return _status(410, "Expired")
        async with self._upstream(request, None) as answer:
            response = web.StreamResponse(status=answer.status, headers=_headers(answer.headers))
            await response.prepare(request)
            if proxy.strikes(Phase.WATCH, number, after=True):
                raise _Dropped
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if not await self._event(response, line):
                        return response
            return response

    async def _event(self, response: web.StreamResponse, line: bytes) -> bool:
        """Pass on an event; return False where the watch ends with it."""
        proxy, trouble = self.proxy, self.proxy.trouble
        number = proxy.reached(Phase.EVENT)
        if proxy.strikes(Phase.EVENT, number, after=False):
            raise _Dropped
        if proxy.happens("event late", trouble.late):
            await asyncio.sleep(trouble.late_seconds)
        if proxy.happens("expired event", trouble.expired):
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            return False
        if proxy.happens("watch broken", trouble.broken):
            raise _Dropped
        await response.write(line + b"\n")
        if proxy.strikes(Phase.EVENT, number, after=True):
            raise _Dropped
        return not proxy.happens("watch closed", trouble.closed)

    def _upstream(self, request: web.BaseRequest, body: bytes | None) -> aiohttp.client._RequestContextManager:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None if body is None else 60)
        url = URL(self._server + request.raw_path, encoded=True)
        return self._session.request(
            request.method, url, data=body or None, headers=_headers(request.headers), timeout=timeout
        )


def _without_custom_kinds(encoding: str, content: bytes) -> bytes:
    groups = json.loads(gzip.decompress(content) if encoding == "gzip" else content)
    groups["items"] = [each for each in groups["items"] if not each["metadata"]["name"].endswith(".example.com")]
    return json.dumps(groups).encode()


def _trouble(proxy: Proxy, *, failing: bool) -> web.Response:
    if not failing:
        raise _Dropped
    return _status(proxy.choice(500, 502, 503, 504), "InternalError")


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _status(code: int, reason: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body | {"message": f"made up: {reason}"}, status=code, headers=headers)
