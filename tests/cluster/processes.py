"""Processes that cannot outlive the test run that started them.

A crashed or SIGKILLed test run runs no ``finally`` and no exit handler, so the promise that nothing stays behind must
be the kernel's: every process is started through `launch.py`, which asks for a SIGKILL at the death of its parent. The
kernel means the parent *thread* (prctl(2), PR_SET_PDEATHSIG), so all are started from one thread that lives until
`ProcessKeeper.close`, whichever thread asks for them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue

from tests.cluster.errors import HarnessError

LAUNCHER = Path(__file__).with_name("launch.py")
TAIL_LINES = 25
GRACE_SECONDS = 10.0
KILL_SECONDS = 30.0


class Process:
    """One running program with a log file that holds both its outputs."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not exited yet."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group; nothing happens where it is gone."""
        if self.running:
            os.killpg(self.pid, number)

    def stop(self, *, kill: bool = False, grace: float = GRACE_SECONDS) -> None:
        """Ask it to end, insist after `grace` seconds (`kill`: at once), and wait until it is gone."""
        if not kill:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # a paused process would not see the request
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        self.signal(signal.SIGKILL)
        self._popen.wait(KILL_SECONDS)

    def check(self) -> None:
        """Raise `HarnessError` with the tail of the log if it has exited."""
        if not self.running:
            raise HarnessError(f"{self.name} exited with {self._popen.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of its log, with the log's path."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([*(f"  {line}" for line in lines), f"  (whole log: {self.log})"])

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until `ready`; `HarnessError` with the log's tail if it exits or needs more than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise HarnessError(f"{self.name}: {what} not within {timeout:g} s; its log ends with\n{self.tail()}")
            time.sleep(0.05)


class ProcessKeeper:
    """Starts processes, all from one thread, and kills those that still run when it is closed."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started: list[Process] = []
        self._thread = threading.Thread(target=self._serve, name="process-keeper", daemon=True)
        self._thread.start()

    def start(self, name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
        """Start ``argv[0]`` (an absolute path) in its own process group, with its output appended to `log`."""
        outcome: SimpleQueue[Process | OSError] = SimpleQueue()

        def spawn() -> None:
            try:
                outcome.put(self._spawn(name, argv, log, environment))
            except OSError as error:
                outcome.put(error)

        self._requests.put(spawn)
        result = outcome.get()
        if isinstance(result, OSError):
            raise HarnessError(f"cannot start {name} ({argv[0]}): {result}") from result
        self._started.append(result)
        return result

    def close(self) -> None:
        """Kill what still runs, for nothing of it is to be kept, and end the thread."""
        for process in reversed(self._started):
            process.stop(kill=True)
        self._requests.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            request()

    @staticmethod
    def _spawn(name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        return Process(name, popen, log)
