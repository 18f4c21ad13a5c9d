"""CEL expressions (https://cel.dev) as Flux' users write them, evaluated where they can hurt nobody.

They come from tenants, so each is evaluated in a process of its own (`spoke.health.cel_worker`) that is started when
the first expression is used, ends itself when none was for a while, and has budgets of CPU time and memory for every
question. An expression that breaks them is answered with an error from then on, for a pause that doubles.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import orjson

from felloe.errors import ExpressionError
from spoke.health.cel_worker import CPU_SECONDS, MEMORY_BYTES, READY

Json = Mapping[str, object]

LENGTH_AT_MOST: Final = 8192
"""How many characters an expression may have."""

_QUESTION_BYTES_AT_MOST: Final = 4 * 2**20
_WALL_SECONDS: Final = 20.0
_IDLE_SECONDS: Final = 120.0
_FIRST_PAUSE_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 3600.0
_REFUSED_AT_MOST: Final = 1000


class FailedExpressionError(ExpressionError):
    """One of the expressions that were asked about: `index` is its place, `unread` that it can't even be read."""

    def __init__(self, index: int, message: str, *, unread: bool) -> None:
        super().__init__(message)
        self.index = index
        self.unread = unread


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What came of expressions that broke their budget, and until when (monotonic) they are not asked again."""

    message: str
    until: float
    pause: float


class Cel:
    """Evaluates CEL expressions. Nothing is started before the first question; `close` ends what was."""

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._process: Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._awaiting = 0
        self._refused: dict[tuple[str, ...], _Refusal] = {}

    @property
    def pid(self) -> int | None:
        """Return the id of the process that evaluates, None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Keep the process ready inside: starting it takes longer than what waits for an answer should wait."""
        self._awaiting += 1
        try:
            yield
        finally:
            self._awaiting -= 1

    async def read(self, expressions: Sequence[str]) -> None:
        """Raise FailedExpressionError for the first expression that can't be read."""
        await self._ask(expressions, None)

    async def first_true(self, expressions: Sequence[str], variables: Json) -> int | None:
        """Return the place of the first expression that is true, None where none is.

        They are evaluated in this order and not beyond the first that is true. Raise FailedExpressionError where one
        can't be read, fails (a field that it names is missing), or is neither true nor false; ExpressionError where
        they need more than their budget.
        """
        return await self._ask(expressions, variables)

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None:
            await _ended(process)

    async def _ask(self, expressions: Sequence[str], variables: Json | None) -> int | None:
        for index, text in enumerate(expressions):
            if len(text) > LENGTH_AT_MOST:
                message = f"it has {len(text)} characters, more than {LENGTH_AT_MOST}"
                raise FailedExpressionError(index, message, unread=True)
        question = orjson.dumps({"expressions": list(expressions), "variables": variables}) + b"\n"
        if len(question) > _QUESTION_BYTES_AT_MOST:
            raise ExpressionError(f"the object has {len(question)} bytes, too many for an expression to look at")
        key = tuple(expressions)
        refusal = self._refused.get(key)
        if refusal and time.monotonic() < refusal.until:
            raise ExpressionError(refusal.message)
        async with self._one_at_a_time:
            answer = await self._answer(question, key)
        self._refused.pop(key, None)
        if "error" in answer:
            raise FailedExpressionError(
                _place(answer.get("failed")) or 0, str(answer["error"]), unread=bool(answer.get("unread"))
            )
        return _place(answer.get("first"))

    async def _answer(self, question: bytes, key: tuple[str, ...]) -> Json:
        process = await self._started()
        answered = False
        try:
            if process.stdin is None or process.stdout is None:
                raise ExpressionError("the process that evaluates expressions has no pipes")
            async with asyncio.timeout(_WALL_SECONDS):
                process.stdin.write(question)
                line = await process.stdout.readline()
            answered = line.endswith(b"\n")
        except (TimeoutError, OSError):
            line = b""
        finally:
            # Also when this is cancelled: an answer that nobody took would be the next question's.
            if not answered:
                self._process = None
                await asyncio.shield(_ended(process))
        if not answered:
            raise ExpressionError(self._refuse(key, process.returncode or 0))
        self._rest()
        value = orjson.loads(line)
        return value if isinstance(value, dict) else {}

    def _refuse(self, key: tuple[str, ...], code: int) -> str:
        if code == -signal.SIGPROF:
            what = f"it needs more than {CPU_SECONDS:g} s of CPU time"
        else:
            what = f"it needs more than {MEMORY_BYTES >> 20} MiB or is nested too deeply (exit code {code})"
        known = self._refused.pop(key, None)
        pause = min(_LONGEST_PAUSE_SECONDS, known.pause * 2 if known else _FIRST_PAUSE_SECONDS)
        message = f"{what}: write it shorter, without nested loops"
        while len(self._refused) >= _REFUSED_AT_MOST:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = _Refusal(message, time.monotonic() + pause, pause)
        return message

    async def _started(self) -> Process:
        if self._idle is not None:
            self._idle.cancel()
        if self._process is not None and self._process.returncode is None:
            return self._process
        command = [sys.executable, "-I", "-m", "spoke.health.cel_worker"]
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={})
        except OSError as error:
            raise ExpressionError(f"expressions can't be evaluated: {command[0]} does not start: {error}") from error
        try:
            async with asyncio.timeout(_WALL_SECONDS):
                line = await process.stdout.readline() if process.stdout else b""
        except TimeoutError:
            line = b""
        except BaseException:
            await asyncio.shield(_ended(process))
            raise
        if line != READY:
            await _ended(process)
            raise ExpressionError(
                f"expressions can't be evaluated: {' '.join(command)} does not start (exit code {process.returncode}); "
                "install felloe[spoke] whole"
            )
        self._process = process
        return process

    def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._sleep)

    def _sleep(self) -> None:
        """End a process that nobody asked for a while: it sees the end of its input."""
        if self._awaiting:
            self._rest()
            return
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()


async def _ended(process: Process) -> None:
    """End a process and collect it; one that ended by itself keeps its own exit code."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        # One that the kernel is ending has closed its output already: its own end tells why.
        async with asyncio.timeout(1.0):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _place(value: object) -> int | None:
    return value if isinstance(value, int) else None
