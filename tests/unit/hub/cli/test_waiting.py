from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from felloe.identity import ObjectId
from hub.cli.judge import judge
from hub.cli.words import Goal
from hub.status.facts import Condition, EventFacts
from hub.status.resource import Resource
from tests.unit.hub.api.inmemory import COMMIT, NOW, Threaded, cluster, workload, workload_summary
from tests.unit.hub.cli.conftest import Felloe


def missing(*clusters: Resource, goal: Goal = Goal.HEALTHY, revision: str = "") -> dict[str, str]:
    return {one.cluster: one.why for one in judge([c.as_json(1) for c in clusters], goal, revision)}  # type: ignore[misc]


def test_applied_is_not_healthy() -> None:
    waiting = cluster("a", workload_summary(healthy=False))
    assert missing(waiting, goal=Goal.APPLIED) == {}
    assert missing(waiting) == {"a": "flux-system/apps: Applied revision: main"}


def test_what_is_missing_is_said_per_workload_and_whether_the_spoke_is_there() -> None:
    one = cluster(
        "a",
        workload_summary(),
        workload_summary("infra", applied=False, healthy=False, why="no such kind"),
        connected=False,
    )
    assert missing(one) == {"a": "not connected: flux-system/infra: no such kind"}


@pytest.mark.parametrize(
    ("revision", "met"),
    [
        (COMMIT, True),
        ("1234abcd", True),
        ("1234ABCD", True),
        (f"main@sha1:{COMMIT}", True),
        ("main@sha1:1234abcd", True),
        ("sha1:1234abcd", True),
        ("123", False),
        ("dead", False),
        ("dev@sha1:1234abcd", False),
        ("main", False),
    ],
)
def test_a_revision_may_be_abbreviated(revision: str, met: bool) -> None:
    assert (missing(cluster("a", workload_summary()), revision=revision) == {}) is met


def test_a_cluster_that_the_hub_can_not_plan_or_that_has_another_root_is_missing() -> None:
    broken = cluster("a", ready=Condition("Ready", "False", "FleetInvalid", "fleet/a.yaml: broken", NOW))
    assert missing(broken) == {"a": "fleet/a.yaml: broken"}
    new = cluster("b", ready=Condition("Ready", "Unknown", "NotJoined", "no spoke has joined", NOW), connected=False)
    without_root = Resource(new.collection, new.kind, new.name, conditions=new.conditions)
    assert missing(without_root) == {"b": "not connected: no spoke has joined"}


def test_suspended_workloads_do_not_count() -> None:
    suspended = workload_summary(applied=True, healthy=False) | {"suspended": True}
    assert missing(cluster("a", suspended)) == {}


def test_a_goal_that_is_met_returns_at_once(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("wait", "-l", "env=dev", "--for", "healthy", "--revision", COMMIT[:8], "--timeout", "1m")
    assert (done.code, done.out, done.err) == (0, f"1 cluster healthy at {COMMIT[:8]}\n", "")


def test_a_goal_that_is_not_met_names_who_is_missing_and_why(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary(applied=False, healthy=False, why="forbidden"))))
    done = felloe("wait", "--for", "applied", "--timeout", "2s")
    assert done.code == 1
    assert "1 of 3 clusters not applied in 2 s" in done.err
    assert "  dev-1: flux-system/apps: forbidden\n" in done.err
    assert "prod-1" not in done.err


def test_nothing_to_wait_for_is_no_success(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("wait", "-l", "env=nowhere", "--for", "applied", "--timeout", "2s")
    assert done.code == 1
    assert "no cluster matches" in done.err
    assert felloe("wait", "--for", "done").code == 2
    assert felloe("wait", "--for", "applied", "--timeout", "long").code == 2


@contextmanager
def started(hub: Threaded, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own."""
    environ = {**os.environ, "FELLOE_CREDENTIAL": str(hub.served.credential), "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "felloe", *arguments],
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    killer = threading.Timer(30, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_wait_ends_when_the_last_cluster_arrives(hub: Threaded) -> None:
    hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary(applied=False, healthy=False))))
    with started(hub, "wait", "--for", "healthy", "--timeout", "30s") as process:
        while not hub.hub.board._subscriptions:
            threading.Event().wait(0.01)
        hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary())))
        assert line(process) == "3 clusters healthy\n"
        assert process.wait(20) == 0


def test_a_hub_that_is_restarted_in_between_is_waited_for(hub: Threaded) -> None:
    hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary(applied=False, healthy=False))))
    with started(hub, "wait", "--for", "healthy", "--timeout", "30s") as process:
        while not hub.hub.board._subscriptions:
            threading.Event().wait(0.01)
        hub.do(lambda h: hub.served.app.closing.set())
        hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary())))
        assert line(process) == "3 clusters healthy\n"
    hub.do(lambda h: hub.served.app.closing.clear())


def test_a_watch_shows_what_there_is_then_changes_and_ends_at_ctrl_c(hub: Threaded) -> None:
    with started(hub, "get", "workloads", "-w") as process:
        assert line(process).startswith("CLUSTER")
        assert [line(process).split()[0] for _ in range(2)] == ["dev-1", "prod-1"]
        hub.do(lambda h: h.board.post(workload("dev-1", objects=77)))
        hub.do(lambda h: h.board.post(replace(workload("dev-1", objects=77), labels={"no": "column"})))
        assert "77" in line(process).split()
        hub.do(lambda h: h.board.withdraw_cluster("dev-1"))
        assert line(process).split()[-1] == "removed"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_events_are_followed(hub: Threaded) -> None:
    with started(hub, "events", "-w", "--cluster", "dev-1") as process:
        assert line(process).startswith("LAST SEEN")
        assert "3 objects applied" in line(process)
        hub.do(lambda h: h.events.add(EventFacts(NOW, "Normal", "Pruned", "1 object pruned", "dev-1")))
        assert "1 object pruned" in line(process)
        pruned = ObjectId("", "Service", "shop", "web")
        hub.do(lambda h: h.events.add(EventFacts(NOW, "Normal", "Pruned", f"{pruned} deleted", "dev-1", object=pruned)))
        assert line(process).split()[-3:] == ["Service", "shop/web", "deleted"]


def test_a_reader_that_goes_away_is_no_error(hub: Threaded) -> None:
    with started(hub, "get", "clusters", "-o", "json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def on_a_terminal(hub: Threaded, columns: int, **environ: str) -> str:
    """Return what `felloe get clusters` writes to a terminal of some width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    variables |= {"FELLOE_CREDENTIAL": str(hub.served.credential), "TERM": "xterm"} | environ
    try:
        command = [sys.executable, "-m", "felloe", "get", "clusters"]
        subprocess.run(command, env=variables, stdout=theirs, timeout=30, check=True)
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_gets_colours_and_no_more_than_its_width(hub: Threaded) -> None:
    message = "word " * 60
    hub.do(lambda h: h.board.post(cluster("dev-1", ready=Condition("Ready", "False", "X", message, NOW))))
    out = on_a_terminal(hub, 100)
    assert "\x1b[31mFalse" in out
    plain = on_a_terminal(hub, 100, NO_COLOR="1")
    assert "\x1b" not in plain
    assert max(len(one) for one in plain.splitlines()) <= 100
    assert "…" in plain
