"""The process that evaluates CEL expressions, so that no expression of a tenant can hurt the spoke.

A library can't interrupt an evaluation, and a deeply nested expression ends the process that parses it. So
`spoke.health.cel` starts this module (``python -I -m spoke.health.cel_worker``), asks one question a line, and bears it
when it dies: every answer has a budget of CPU time, enforced by the kernel (SIGPROF), and the process one of memory.

A question is ``{"expressions": [text, …], "variables": {…} or null}``; without variables the expressions are only read.
The answer is ``{"first": index of the first that is true, or null}``, or ``{"failed": index, "error": text, "unread":
bool}``.
"""

from __future__ import annotations

import resource
import signal
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from spoke.health.cel_optional import functions, plain

CPU_SECONDS: Final = 0.25
"""What one question may cost. Expressions over one object take microseconds."""

MEMORY_BYTES: Final = 64 * 2**20
"""What all of a question may take beyond the process itself."""

READY: Final = b"ready\n"
_PROGRAMS_AT_MOST: Final = 256
_ERROR_AT_MOST: Final = 300
_EXTENSIONS: Final = ["strings", "sets", "encoders"]
"""Those that Flux enables (fluxcd/pkg, runtime/cel)."""


class _Failed(Exception):  # noqa: N818
    def __init__(self, index: int, error: Exception, *, unread: bool) -> None:
        super().__init__(str(error))
        self.answer = {"failed": index, "error": _worded(error)[:_ERROR_AT_MOST], "unread": unread}


def _worded(error: Exception) -> str:
    """Return the library's message without what it repeats: the expression itself, and general advice."""
    if isinstance(error, KeyError):
        return f"no such key: {error.args[0]}"
    text = str(error).partition(". Check ")[0]
    _, _, found = text.partition("ERROR: <input>:")
    return f"at {found.splitlines()[0]}" if found else text or type(error).__name__


class Evaluator:
    """Answers questions; what it has read of an expression is kept for the next one."""

    def __init__(self) -> None:
        # The package imports its command line, which would bring 25 MiB that nothing here uses.
        sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
        import cel
        from cel.stdlib import add_stdlib_to_context

        self._compile: Callable[[str], cel.Program] = cel.compile
        self._context = cel.Context
        self._optional = functions(cel.OptionalValue)
        self._extend = add_stdlib_to_context
        self._programs: dict[str, cel.Program] = {}

    def answer(self, question: Mapping[str, object]) -> dict[str, object]:
        """Return the answer to a question."""
        expressions, variables = question.get("expressions"), question.get("variables")
        texts = [str(text) for text in expressions] if isinstance(expressions, list) else []
        try:
            for index, text in enumerate(texts):
                self._read(index, text)
            if isinstance(variables, dict):
                return {"first": self._first(texts, variables)}
        except _Failed as failed:
            return failed.answer
        return {"first": None}

    def _read(self, index: int, text: str) -> None:
        if text in self._programs:
            return
        try:
            program = self._compile(plain(text))
        except Exception as error:  # noqa: BLE001
            raise _Failed(index, error, unread=True) from None
        if len(self._programs) >= _PROGRAMS_AT_MOST:
            self._programs.clear()
        self._programs[text] = program

    def _first(self, texts: list[str], variables: dict[str, object]) -> int | None:
        context = self._context(variables)
        self._extend(context, _EXTENSIONS)
        for name, function in self._optional.items():
            context.add_function(name, function)
        for index, text in enumerate(texts):
            self._read(index, text)
            try:
                value = self._programs[text].execute(context)
                if not isinstance(value, bool):
                    raise TypeError(f"it is a {type(value).__name__}, not true or false")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001
                raise _Failed(index, error, unread=False) from None
            if value:
                return index
        return None


def _confine() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer questions from standard input until it ends."""
    import orjson

    evaluator = Evaluator()
    evaluator.answer({"expressions": ["[1].all(e, e == 1)"], "variables": {}})
    _confine()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        # The signal's default action ends the process, wherever in the library it is.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        answer = evaluator.answer(orjson.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
