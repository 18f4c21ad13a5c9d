from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
import termios
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hub.cli.client import Change
from hub.cli.errors import UnreachableError
from hub.cli.estimate import estimate
from hub.cli.fleet import FleetView
from hub.cli.follow import Known, drawn, follow
from hub.cli.rollout import RolloutView, bar
from hub.cli.table import Screen
from hub.rollout.model import GateResult, Phase, StageState, Verdict
from hub.status.facts import Condition, EventFacts
from hub.status.rollouts import RolloutFacts, build_rollout
from tests.unit.hub.api.inmemory import InMemoryHub, Threaded, cluster, workload
from tests.unit.hub.cli.conftest import Felloe
from tests.unit.hub.rollouts import DONE, FACTS, MOVING, NOW, STATE, T, member

NAME = "shop@production"
SOAKING = replace(STATE, stages={"canary": StageState(started_at=T - 60, healthy_at=T)})
CANARY_DONE = replace(FACTS, state=SOAKING, members=(DONE, *FACTS.members[1:]))
COMPLETE = replace(
    FACTS,
    state=replace(STATE, phase=Phase.COMPLETE, ended_at=T, stages={"canary": StageState(done_at=T)}),
    members=(DONE,),
)
END = Change("SYNCED", {})


def shown(facts: RolloutFacts, **status: Any) -> Mapping[str, Any]:
    resource: dict[str, Any] = json.loads(json.dumps(build_rollout(facts, None, NOW).as_json(1)))
    resource["status"] |= status
    return resource


class Script:
    """A watch that tells what is in a script; each list is one connection, which breaks at its end."""

    def __init__(self, *connections: list[Change]) -> None:
        self._connections = iter(connections)

    async def __call__(self) -> AsyncGenerator[Change]:
        for change in next(self._connections):
            yield change
            for _ in range(20):
                await asyncio.sleep(0)
        raise UnreachableError("the hub is away")


def told(facts: RolloutFacts, **status: Any) -> Change:
    return Change("MODIFIED", shown(facts, **status))


async def test_elsewhere_than_on_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = RolloutView(NAME)
    script = Script([told(FACTS), END, told(FACTS), told(CANARY_DONE), told(COMPLETE)])
    async with asyncio.timeout(10):
        known = await follow(script, view, Screen())
    assert view.succeeded(known)
    assert capsys.readouterr().out.splitlines() == [
        f"{NAME}: Progressing: release 12: stage canary, 0 of 1 done",
        f"{NAME}: stage canary: 0/1 done; 1 moving, 2 of 3 replicas",
        f"{NAME}: stage rest: 0/3 done; 1 offline, stage canary comes first",
        f"{NAME}: Progressing: release 12: stage canary soaks until 2026-01-02T12:10:00Z",
        f"{NAME}: stage canary: 1/1 done; soaks until 2026-01-02T12:10:00Z",
        f"{NAME}: Complete: release 12 is on 1 of 1 clusters",
        f"{NAME}: stage canary: 1/1 done; done",
        f"{NAME}: stage rest: 0/0 done; waiting",
    ]


async def test_on_a_terminal_it_is_drawn_over_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    drawn = asyncio.Event()

    class Watched(RolloutView):
        def lines(self, known: Known, now: datetime, screen: Screen) -> Iterable[str]:
            drawn.set()
            return super().lines(known, now, screen)

    async def script() -> AsyncGenerator[Change]:
        yield told(FACTS)
        yield END
        await drawn.wait()
        yield told(COMPLETE)
        await asyncio.Event().wait()

    main, slave = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as terminal, os.fdopen(slave, "w") as writing:
        monkeypatch.setattr(sys, "stdout", writing)
        async with asyncio.timeout(10):
            await follow(script, Watched(NAME), Screen(80))
        writing.flush()
        monkeypatch.undo()
        os.set_blocking(terminal.fileno(), False)
        seen = b"".join(iter(lambda: terminal.read(4096) or b"", b"")).decode()
    assert seen.index("Progressing") < seen.index("\x1b[1A") < seen.index("Complete")
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor is hidden"


async def test_a_hub_that_goes_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script([told(FACTS), END], [told(COMPLETE), END])
    async with asyncio.timeout(10):
        await follow(script, RolloutView(NAME), Screen())
    assert "Complete" in capsys.readouterr().out
    with pytest.raises(UnreachableError):
        await follow(Script([]), RolloutView(NAME), Screen())


async def test_a_pipe_is_told_once_that_the_hub_is_away_and_that_it_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script([told(FACTS), END], [], [], [told(FACTS), END, told(COMPLETE)])
    async with asyncio.timeout(10):
        await follow(script, RolloutView(NAME), Screen())
    said = capsys.readouterr()
    assert said.err.splitlines() == ["not current: the hub is away", "the hub is there again"]
    assert "not current" not in said.out


def test_what_a_low_window_leaves_out_is_said_and_never_that_it_is_not_current() -> None:
    lines = [str(number) for number in range(30)]
    assert list(drawn(lines, "", 30)) == lines
    low = list(drawn(lines, "gone", 10))
    assert (len(low), low[0], low[-1]) == (10, "0", "not current: gone")
    assert low[-2] == "… and 22 more lines, for which this window is too low"


async def test_a_window_that_is_made_narrower_is_drawn_anew_and_as_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    widths: list[int | None] = []
    main, slave = pty.openpty()

    class Watched(RolloutView):
        def lines(self, known: Known, now: datetime, screen: Screen) -> Iterable[str]:
            widths.append(screen.width)
            termios.tcsetwinsize(slave, (40, 60))
            return super().lines(known, now, screen)

        def over(self, known: Known) -> bool:
            return len(widths) > 1

    async def script() -> AsyncGenerator[Change]:
        yield told(FACTS)
        yield END
        await asyncio.Event().wait()

    termios.tcsetwinsize(slave, (40, 200))
    with os.fdopen(main, "rb", buffering=0), os.fdopen(slave, "w") as writing:
        monkeypatch.setattr(sys, "stdout", writing)
        async with asyncio.timeout(10):
            await follow(script, Watched(NAME), Screen(200))
        monkeypatch.undo()
    assert widths[:2] == [200, 60]


def test_a_watch_may_end_by_time(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(build_rollout(COMPLETE, None, NOW)))
    done = felloe("rollout", "watch", NAME, "--revision", "feedfeed", "--timeout", "1s")
    assert (done.code, done.err) == (1, f"error: rollout {NAME}: revision feedfeed is not through after 1s\n")
    assert felloe("rollout", "watch", NAME, "--timeout", "soon").code == 2


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.COMPLETE, 0), (Phase.FAILED, 1), (Phase.ABORTED, 1), (Phase.UNDONE, 1)]
)
def test_the_exit_code_says_how_it_ended(hub: Threaded, felloe: Felloe, phase: Phase, code: int) -> None:
    ended = replace(FACTS, state=replace(STATE, phase=phase, ended_at=T))
    hub.do(lambda h: h.board.post(build_rollout(ended, None, NOW)))
    assert felloe("rollout", "watch", NAME).code == code
    assert felloe("rollout", "watch", "other").err.startswith("error: there is no rollout 'other'")


async def test_with_a_revision_it_goes_on_until_that_is_through(capsys: pytest.CaptureFixture[str]) -> None:
    commit = "abcd1234" * 5
    newer = {"revision": f"main@sha1:{commit}", "release": 13}
    view = RolloutView(NAME, "abcd1234")
    script = Script([told(COMPLETE), END, told(FACTS, **newer), told(COMPLETE, **newer)])
    async with asyncio.timeout(10):
        assert view.succeeded(await follow(script, view, Screen()))
    pinned = RolloutView(NAME, commit)
    assert pinned.over({NAME: shown(COMPLETE, pins={"GitRepository/flux-system/app": f"main@sha1:{commit}"})})
    superseded = Script([told(FACTS, **newer), END, told(FACTS, release=14)])
    view = RolloutView(NAME, "abcd1234")
    async with asyncio.timeout(10):
        assert not view.succeeded(await follow(superseded, view, Screen()))


# -- how long it takes


def left(facts: RolloutFacts, now: datetime = NOW, **status: Any) -> str:
    return str(estimate(shown(facts, **status), now))


def test_an_estimate_goes_by_what_clusters_took_and_the_soaks_that_are_left() -> None:
    approved = {"ok": GateResult(Verdict.PASSED, T, T)}
    state = replace(SOAKING, stages={**SOAKING.stages, "rest": StageState(gates=approved)})
    members = (DONE, member("b"), member("c"), member("d"))
    facts = replace(FACTS, state=state, members=members)
    assert left(facts, meanSeconds=60.0) == "about 13m left"  # 10 minutes of soak, 3 clusters one at a time
    assert left(facts, NOW + timedelta(minutes=4), meanSeconds=60.0) == "about 9m left"


def test_an_estimate_ends_where_a_person_is_asked() -> None:
    assert left(CANARY_DONE, meanSeconds=60.0) == "about 10m until approval ok"


def test_without_anything_to_go_by_there_is_no_estimate() -> None:
    assert left(FACTS) == "None"
    approved = {"ok": GateResult(Verdict.PASSED, T, T)}
    soaking = replace(SOAKING, stages={**SOAKING.stages, "rest": StageState(gates=approved)})
    members = (DONE, member("b"), member("c"), member("d"))
    known = replace(FACTS, state=soaking, members=members)
    assert left(replace(known, shut="no window is open until tomorrow"), meanSeconds=60.0) == "None"
    assert left(replace(CANARY_DONE, state=replace(SOAKING, phase=Phase.PAUSED)), meanSeconds=60.0) == "None"


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ({"clusters": 10, "done": 10}, "██████████"),
        ({"clusters": 1000, "done": 999}, "█████████·"),
        ({"clusters": 1000, "done": 500, "failed": 1, "moving": 3}, "█████▒x···"),
        ({"clusters": 0}, "··········"),
    ],
)
def test_a_bar_is_full_only_where_all_are_done(counts: dict[str, Any], drawn: str) -> None:
    assert bar(counts, 10) == drawn


# -- status, fleet, top


def test_a_status_says_where_why_and_who_is_not_done(hub: Threaded, felloe: Felloe) -> None:
    failed = replace(STATE, failed={"a": "not healthy after 15m"}, phase=Phase.PAUSED, reason="1 of 1 failed")
    hub.do(lambda h: h.board.post(build_rollout(replace(FACTS, state=failed), None, NOW)))
    done = felloe("rollout", "status", NAME)
    assert done.code == 0, done.err
    assert re.search(r"^Release: +12, main@sha1:12 \"Scale up\" by ann$", done.out, re.MULTILINE)
    why = r"release 12: paused: 1 of 1 failed; a: not healthy after 15m"
    assert re.search(rf"^Message: +{why}$", done.out, re.MULTILINE)
    assert re.search(r"a +canary +Failed +- +12 +not healthy after 15m", done.out)
    assert "xxxxxxxx" in done.out
    assert json.loads(felloe("rollout", "status", NAME, "-o", "json").out)["status"]["release"] == 12


def _add(event: EventFacts, memory: InMemoryHub) -> None:
    memory.events.add(event)


def test_describe_also_tells_what_happened_to_it(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(build_rollout(FACTS, None, NOW)))
    for about in (NAME, "web"):
        event = EventFacts(NOW, "Normal", "StageBegan", f"{about}: stage 'canary' begins with 1 cluster")
        hub.do(partial(_add, event))
    out = felloe("describe", "rollout", NAME).out
    assert re.search(rf"StageBegan +- +- +{NAME}: stage 'canary' begins with 1 cluster$", out, re.MULTILINE)
    assert "web: stage" not in out


def test_a_status_names_some_clusters_and_wide_or_describe_all(hub: Threaded, felloe: Felloe) -> None:
    members = (MOVING, *(member(f"b{number:03}") for number in range(100)))
    hub.do(lambda h: h.board.post(build_rollout(replace(FACTS, members=members), None, NOW)))
    short = felloe("rollout", "status", NAME).out
    assert (short.splitlines()[-1], "b050" in short) == ("  and 81 more", False)
    assert "b050" in felloe("rollout", "status", NAME, "-o", "wide").out
    assert "b050" in felloe("describe", "rollout", NAME).out


def test_a_list_of_rollouts(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(build_rollout(FACTS, None, NOW)))
    out = felloe("rollout", "list").out
    assert re.split(r" {3,}", out.splitlines()[0]) == [
        "NAME", "PHASE", "RELEASE", "REVISION", "DONE", "AGE", "MESSAGE",
    ]  # fmt: skip
    assert re.search(rf"^{NAME} +Progressing +12 +main@sha1:12 +0/4 ", out, re.MULTILINE)
    assert out == felloe("get", "rollouts").out


def test_the_fleet_on_one_screen(hub: Threaded, felloe: Felloe) -> None:
    paused = replace(FACTS, state=replace(STATE, phase=Phase.PAUSED, reason="1 failed"))
    hub.do(lambda h: h.board.post(build_rollout(paused, None, NOW)))
    out = felloe("fleet").out
    assert re.search(r"^  dev +- +1 +1 +0 +0 +main@sha1:1234abcd$", out, re.MULTILINE)
    assert re.search(rf"^  {NAME} +Paused +\S+ +0/4 +11 main@sha1:11 +12 main@sha1:12 ", out, re.MULTILINE)
    assert out.endswith(f"Stuck:\n  {NAME}: release 12: paused: 1 failed\n    felloe rollout resume {NAME}\n")
    assert json.loads(felloe("fleet", "-o", "json").out)["waits"][0]["stuck"] is True
    assert felloe("fleet", "-w", "-o", "json").code == 2


def test_what_changes_in_the_fleet_is_told_once() -> None:
    def fleet(ready: int, *waits: Any) -> Mapping[str, Any]:
        dev = {"name": "dev", "clusters": 3, "ready": ready, "revisions": [{"revision": "r", "clusters": 3}]}
        return {"fleet": {"environments": [dev], "waits": [*waits]}}

    view = FleetView()
    assert view.news(fleet(3)) == ["environment dev: 3 of 3 ready, 0 failing, 0 offline; runs r"]
    assert view.news(fleet(3)) == []
    wait = {"name": "shop", "message": "paused", "stuck": True, "kind": "Paused"}
    assert view.news(fleet(3, wait)) == ["stuck: shop: paused"]
    assert view.news(fleet(3)) == ["no more: stuck: shop: paused"]


def test_top_says_what_is_slow_drifts_and_fails(hub: Threaded, felloe: Felloe) -> None:
    times = {"receivedAt": "2026-01-02T03:00:00.000000Z", "healthyAt": "2026-01-02T03:05:00.500000Z"}
    bad = (Condition("Ready", "False", "X", "web: crash", NOW),)
    slow = workload("dev-1", healthy=True, healed=7, **times)
    failing = replace(workload("dev-1", "web", healed=0, problemCount=3), conditions=bad)
    hub.do(lambda h: h.board.replace_cluster(cluster("dev-1", env="dev"), [slow, failing]))
    out = felloe("top", "-n", "1").out
    assert re.search(r"Slowest to become healthy:\n.*\n  dev-1 +flux-system/apps +5m ", out)
    assert re.search(r"Most drifted:\n.*\n  dev-1 +flux-system/apps +7 ", out)
    assert re.search(r"Failing:\n.*\n  dev-1 +flux-system/web +3 +web: crash\n$", out)
    assert json.loads(felloe("top", "-o", "json").out)["slowest"][0]["seconds"] == 300.5
    assert "Failing: none" in felloe("top", "-l", "env=nowhere").out
    assert felloe("top", "-n", "0").code == 2
