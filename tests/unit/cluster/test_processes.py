"""No process outlives the run that started it, whatever ends that run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.errors import HarnessError
from tests.cluster.processes import Process, ProcessKeeper

ROOT = Path(__file__).resolve().parents[3]
SLEEP = "/bin/sleep"
RUN_OF_TWO = """
import os, sys, threading, time
from pathlib import Path
from tests.cluster.processes import ProcessKeeper
keeper = ProcessKeeper()
processes = [keeper.start("sleeper", ["/bin/sleep", "600"], Path(sys.argv[1]), os.environ) for _ in range(2)]
print(*(process.pid for process in processes), flush=True)
time.sleep(600)
"""


@pytest.fixture
def keeper() -> Iterator[ProcessKeeper]:
    keeper = ProcessKeeper()
    yield keeper
    keeper.close()


def gone(pid: int, timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_killed_run_leaves_no_process(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN_OF_TWO, str(tmp_path / "log")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert len(pids) == 2
    assert all(psutil.pid_exists(pid) for pid in pids)
    run.kill()
    run.wait(10)
    assert all(gone(pid) for pid in pids)


def test_a_process_outlives_the_thread_that_asked_for_it(keeper: ProcessKeeper, tmp_path: Path) -> None:
    started: list[Process] = []
    thread = threading.Thread(
        target=lambda: started.append(keeper.start("sleeper", [SLEEP, "600"], tmp_path / "log", os.environ))
    )
    thread.start()
    thread.join(10)
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(started[0].pid).wait(0.3)
    assert started[0].running


def test_close_ends_what_runs_also_when_paused(tmp_path: Path) -> None:
    keeper = ProcessKeeper()
    process = keeper.start("sleeper", [SLEEP, "600"], tmp_path / "log", os.environ)
    process.signal(signal.SIGSTOP)
    keeper.close()
    assert gone(process.pid)


def test_a_polite_end_reaches_a_paused_process(keeper: ProcessKeeper, tmp_path: Path) -> None:
    process = keeper.start("sleeper", [SLEEP, "600"], tmp_path / "log", os.environ)
    process.signal(signal.SIGSTOP)
    process.stop(grace=30)
    assert not process.running


def test_a_failed_start_shows_the_end_of_the_log(keeper: ProcessKeeper, tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "echo the port is taken >&2; exit 3"]
    process = keeper.start("server", argv, tmp_path / "log", os.environ)
    with pytest.raises(HarnessError, match=r"server exited with 3:\n  the port is taken"):
        process.wait_until(lambda: False, "not ready", 30)


def test_a_program_that_is_not_there_is_named(keeper: ProcessKeeper, tmp_path: Path) -> None:
    process = keeper.start("server", ["/nonexistent/server"], tmp_path / "log", os.environ)
    with pytest.raises(HarnessError, match=r"/nonexistent/server"):
        process.wait_until(lambda: False, "not ready", 30)
