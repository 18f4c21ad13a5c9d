"""Gates are asked of a real server on loopback; what a Prometheus says is in its own end-to-end test."""

from __future__ import annotations

import asyncio
import gzip
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from hub.fleet.strategy import ApprovalGate, Gate, HttpGate, PrometheusGate
from hub.gates.asking import Asked, Gates, Question
from hub.rollout.model import GateResult, Track, Verdict
from hub.sources.secrets import SecretFolder
from tests.servers.web import Request, Response, WebServer

SHOP = Track("placement/shop", "production")
CART = Track("placement/cart")
SECONDS = 20

T = TypeVar("T")


def http(url: str, **options: object) -> HttpGate:
    return HttpGate("smoke", url, interval=0.01, **options)  # type: ignore[arg-type]  # of a test's own making


def key(track: Track = SHOP, release: int = 7, gate: str = "smoke") -> Question:
    return Question(track, release, "canary", gate)


class World:
    """Running gates, and a way to wait for what they say."""

    def __init__(self, secrets: SecretFolder) -> None:
        self.now = 1000.0
        self.changes: list[Track] = []
        self.gates = Gates(secrets, self.changes.append, clock=lambda: self.now)

    def ask(self, wanted: Mapping[Question, Gate], known: GateResult | None = None) -> None:
        self.gates.ask({question: Asked(gate, known) for question, gate in wanted.items()})

    async def until(self, what: Callable[[], T | None]) -> T:
        async with asyncio.timeout(SECONDS):
            while (found := what()) is None:  # noqa: ASYNC110  # threads of servers set no event of this loop
                await asyncio.sleep(0.005)
            return found

    async def answer(self, verdict: Verdict, question: Question | None = None, says: str = "") -> GateResult:
        question = question or key()

        def look() -> GateResult | None:
            found = self.gates.answers(question.track, question.release).get((question.stage, question.gate))
            return found if found and found.verdict is verdict and says in found.message else None

        return await self.until(look)


@asynccontextmanager
async def running(secrets: Path | None = None) -> AsyncIterator[World]:
    world = World(SecretFolder(secrets))
    task = asyncio.create_task(world.gates.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def secret(folder: Path, **values: str) -> Path:
    (folder / "felloe-gates" / "probe").mkdir(parents=True)
    for name, value in values.items():
        (folder / "felloe-gates" / "probe" / name).write_text(value)
    return folder


async def test_a_gate_is_asked_until_it_passes_and_says_meanwhile_why_not() -> None:
    ready = threading.Event()
    with WebServer(lambda _: Response(200 if ready.is_set() else 503)) as server:
        async with running() as world:
            world.ask({key(): http(f"{server.url}/healthz?token=hidden")})
            waiting = await world.answer(Verdict.WAITING)
            assert waiting.message == f"{server.url}/healthz answered HTTP 503 Service Unavailable; wanted is 200"
            ready.set()
            passed = await world.answer(Verdict.PASSED)
    assert passed.asked_since == 1000.0
    assert world.changes == [SHOP, SHOP]  # one for each thing it said, however often it was asked
    assert server.requests[0].path == "/healthz?token=hidden"


async def test_patience_ends_with_what_was_seen_last_and_then_nobody_asks() -> None:
    with WebServer(lambda _: Response(500)) as server:
        async with running() as world:
            world.ask({key(): http(server.url, patience=60.0)})
            await world.answer(Verdict.WAITING)
            world.now += 61
            failed = await world.answer(Verdict.FAILED)
            asked = len(server.requests)
            await asyncio.sleep(0.1)
            assert len(server.requests) == asked
    assert failed.message.startswith("did not pass within 1m: ")
    assert "HTTP 500" in failed.message


async def test_who_can_not_be_reached_is_waited_for_and_named() -> None:
    with WebServer(lambda _: Response()) as server:
        gone = server.url
    async with running() as world:
        world.ask({key(): http(f"{gone}/x?token=hidden", patience=60.0)})
        waiting = await world.answer(Verdict.WAITING)
        assert waiting.message == f"{gone}/x can't be asked: Connection refused"
        world.now += 60
        assert "Connection refused" in (await world.answer(Verdict.FAILED)).message


async def test_a_gate_that_passed_counts_only_for_as_long_as_it_does() -> None:
    broken = threading.Event()
    with WebServer(lambda _: Response(500 if broken.is_set() else 200)) as server:
        async with running() as world:
            world.ask({key(): http(server.url, patience=60.0)})
            await world.answer(Verdict.PASSED)
            world.now += 3600
            await world.until(lambda: _at(world, world.now))
            broken.set()
            await world.answer(Verdict.WAITING)  # its patience begins when it stops to pass
            world.now += 61
            await world.answer(Verdict.FAILED)


def _at(world: World, when: float) -> bool | None:
    return any(result.at == when for result in world.gates.answers(SHOP, 7).values()) or None


async def test_an_answer_about_another_release_is_none_about_this_one() -> None:
    with WebServer(lambda _: Response(200)) as server:
        async with running() as world:
            world.ask({key(): http(server.url)})
            await world.answer(Verdict.PASSED)
            world.ask({key(release=8): http(server.url)})
            assert world.gates.answers(SHOP, 7) == {}
            assert world.gates.answers(SHOP, 8) == {}
            await world.answer(Verdict.PASSED, key(release=8))


async def test_what_is_no_longer_wanted_is_not_asked_and_what_is_changed_begins_anew() -> None:
    with WebServer(lambda request: Response(200 if request.path == "/a" else 500)) as server:
        async with running() as world:
            world.ask({key(): http(f"{server.url}/a"), key(CART): ApprovalGate("smoke")})
            await world.answer(Verdict.PASSED)
            assert world.gates.answers(CART, 7) == {}  # an approval is people's
            world.ask({key(): http(f"{server.url}/b")})
            assert world.gates.answers(SHOP, 7) == {}
            await world.answer(Verdict.WAITING)
            world.ask({})
            await asyncio.sleep(0.05)  # one that is under way may still arrive
            asked = len(server.requests)
            await asyncio.sleep(0.1)
            assert len(server.requests) == asked


async def test_a_hub_that_was_restarted_has_no_more_patience_than_the_one_before() -> None:
    with WebServer(lambda _: Response(500)) as server:
        async with running() as world:
            known = GateResult(Verdict.WAITING, at=990.0, asked_since=500.0)
            world.ask({key(): http(server.url, patience=499.0)}, known)
            assert (await world.answer(Verdict.FAILED)).asked_since == 500.0


async def test_a_gate_that_failed_begins_anew_only_when_it_is_asked_anew() -> None:
    with WebServer(lambda _: Response(500)) as server:
        async with running() as world:
            wanted: dict[Question, Gate] = {key(): http(server.url, patience=60.0)}
            world.ask(wanted)
            await world.answer(Verdict.WAITING)
            world.now += 61
            failed = await world.answer(Verdict.FAILED)
            world.ask(wanted, failed)
            asked = len(server.requests)
            await asyncio.sleep(0.1)
            assert len(server.requests) == asked
            world.now += 100
            world.ask(wanted, GateResult(Verdict.WAITING, at=world.now, asked_since=world.now))
            assert (await world.answer(Verdict.WAITING)).asked_since == world.now


async def test_slow_gates_of_one_rollout_do_not_hold_up_another() -> None:
    go = threading.Event()

    def answer(request: Request) -> Response:
        if request.path == "/slow":
            go.wait(SECONDS)
        return Response(200)

    with WebServer(answer) as server:
        async with running() as world:
            slow: dict[Question, Gate] = {
                key(gate=f"g{n}"): HttpGate(f"g{n}", f"{server.url}/slow", timeout=SECONDS) for n in range(200)
            }
            world.ask(slow)
            await world.until(lambda: len(server.requests) >= 4 or None)
            world.ask({**slow, key(CART): http(f"{server.url}/fast")})
            await world.answer(Verdict.PASSED, key(CART))
            assert sum(request.path == "/slow" for request in server.requests) == 4
            go.set()


async def test_one_request_takes_no_longer_than_its_timeout_however_it_drips() -> None:
    def drip() -> Iterator[bytes]:
        while True:
            yield b"."
            threading.Event().wait(0.02)

    with WebServer(lambda _: Response(200, drip())) as server:
        async with running() as world:
            world.ask({key(): http(server.url, contains="ok", timeout=0.2)})
            waiting = await world.answer(Verdict.WAITING)
    assert waiting.message == f"{server.url}: no answer within 0.2 s"


async def test_no_more_is_read_than_a_gate_needs() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    with WebServer(lambda _: Response(200, endless())) as server:
        async with running() as world:
            world.ask({key(): http(server.url, contains="ok", timeout=SECONDS)})
            await world.answer(Verdict.WAITING, says="the first 1 MiB")
            world.ask({key(gate="head"): HttpGate("head", server.url)})
            await world.answer(Verdict.PASSED, key(gate="head"))
    assert sent < 64 << 20


async def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"ok" * 1000)
    with WebServer(lambda _: Response(200, packed, {"Content-Encoding": "gzip"})) as server:
        async with running() as world:
            world.ask({key(): http(server.url, contains="ok")})
            await world.answer(Verdict.WAITING, says="answered compressed")
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_redirects_are_followed_within_the_web_only() -> None:
    targets = {"/a": "/b", "/file": "file:///etc/passwd", "/ftp": "ftp://127.0.0.1/x", "/loop": "/loop"}

    def answer(request: Request) -> Response:
        target = targets.get(request.path)
        return Response(302, headers={"Location": target}) if target else Response(200, b"here")

    with WebServer(answer) as server:
        async with running() as world:
            gates = {name: http(f"{server.url}/{name}", contains="here") for name in ("a", "file", "ftp", "loop")}
            gates["final"] = http(f"{server.url}/a", statuses=(302,))
            world.ask({key(gate=name): gate for name, gate in gates.items()})
            await world.answer(Verdict.PASSED, key(gate="a"))
            await world.answer(Verdict.PASSED, key(gate="final"))
            await world.answer(Verdict.WAITING, key(gate="file"), "from http to file; refused")
            await world.answer(Verdict.WAITING, key(gate="ftp"), "from http to ftp; refused")
            await world.answer(Verdict.WAITING, key(gate="loop"), "more than 5 redirects")


async def test_a_secret_is_shown_to_the_host_that_the_gate_names_and_to_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        WebServer(lambda _: Response(200)) as other,
        WebServer(lambda _: Response(302, headers={"Location": f"{other.url}/x"})) as server,
    ):
        async with running(secret(tmp_path, bearerToken="s3cret\n")) as world:
            world.ask({key(): http(server.url, secret="probe")})
            await world.answer(Verdict.PASSED)
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "authorization" not in other.requests[0].headers
    assert "s3cret" not in caplog.text


async def test_a_query_is_posted_with_basic_authorization_and_not_sent_elsewhere(tmp_path: Path) -> None:
    success = b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}'

    def answer(request: Request) -> Response:
        if request.path.startswith("/moved"):
            return Response(307, headers={"Location": "/api/v1/query"})
        return Response(200, success)

    with WebServer(answer) as server:
        async with running(secret(tmp_path, username="me", password="s3cret")) as world:
            query = PrometheusGate("smoke", server.url, "1 + 1", "==", 1.0, interval=0.01, secret="probe")
            moved = PrometheusGate("moved", f"{server.url}/moved", "1", "==", 1.0, interval=0.01)
            world.ask({key(): query, key(gate="moved"): moved})
            assert (await world.answer(Verdict.PASSED)).message == "1 is == 1"
            await world.answer(Verdict.WAITING, key(gate="moved"), "what was sent is not sent on")
    asked = next(request for request in server.requests if request.path == "/api/v1/query")
    assert (asked.method, asked.body) == ("POST", b"query=1+%2B+1&timeout=10.000")
    assert asked.headers["authorization"] == "Basic bWU6czNjcmV0"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "secret felloe-gates/probe is not there"),
        ({"password": "s3cret"}, "holds a password but no username"),
        ({"ca.crt": "s3cret"}, "holds no PEM certificate"),
    ],
)
async def test_a_secret_that_can_not_be_used_is_an_answer(tmp_path: Path, values: Mapping[str, str], says: str) -> None:
    with WebServer(lambda _: Response(200)) as server:
        async with running(secret(tmp_path, **values) if values else tmp_path) as world:
            world.ask({key(): http(server.url, secret="probe")})
            waiting = await world.answer(Verdict.WAITING, says=says)
    assert "s3cret" not in waiting.message
    assert not server.requests
