"""Whose memory a spoke's or a hub's was when it was killed, as memray wrote it: ``python -m bench.callers FILE``.

What Python itself and its modules take is counted by the module that was imported, everything else by the function of
ours that asked for it. Memory that C libraries take for themselves is theirs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.figures import Figure, report

_OURS = re.compile(r".*/((?:spoke|hub|proto/felloe)/.+)\.py$")
_LIBRARY = re.compile(r".*/(?:site-packages|python3\.\d+|lib-dynload)/([^/.]+)")
_IMPORT = "<frozen importlib._bootstrap>"
_SHOWN = 40


class _Record(Protocol):
    """One place that allocated, as memray tells it."""

    size: int
    n_allocations: int

    def stack_trace(self, max_stacks: int = 0) -> Sequence[tuple[str, str, int]]: ...


def main(arguments: Sequence[str]) -> None:
    """Print a Markdown table."""
    from memray import FileReader  # no dependency of ours

    parser = argparse.ArgumentParser(prog="python -m bench.callers", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    held: Counter[str] = Counter()
    with FileReader(options.file) as reader:
        for record in reader.get_leaked_allocation_records(merge_threads=True):
            held[caller(record)] += record.size
    rows = [Figure(who, f"{size / 2**20:.2f} MiB", "", "") for who, size in held.most_common(_SHOWN)]
    report([Figure("all", f"{sum(held.values()) / 2**20:.1f} MiB", "", ""), *rows])


def caller(record: _Record) -> str:
    """Return who asked for memory: a module while it was imported, a function of ours, else a library."""
    stack = record.stack_trace()
    for number, (_, file, _) in enumerate(stack):
        if file == _IMPORT:
            return f"import of {_imported(stack[:number])}"
    for function, file, _ in stack:
        if found := _OURS.match(file):
            return f"{found[1]}: {function}"
    return _library(stack)


def _imported(inner: Sequence[tuple[str, str, int]]) -> str:
    return _library(inner) if inner else "modules"


def _library(stack: Sequence[tuple[str, str, int]]) -> str:
    for _, file, _ in stack:
        if found := _OURS.match(file):
            return found[1].split("/")[0]
        if found := _LIBRARY.match(file):
            return found[1]
    return "Python itself"


if __name__ == "__main__":
    main(sys.argv[1:])
