"""A plan as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import typer

from hub.cli.plan_lines import (
    ADDED,
    CHANGED,
    NOTED,
    REMOVED,
    Line,
    findings_line,
    headline,
    order_lines,
    paused_note,
    workload_lines,
)
from hub.cli.view import Json, number, objects, text, texts

_COLOURS: Final = {ADDED: "green", REMOVED: "red", CHANGED: "yellow", NOTED: "magenta"}
_NAMED: Final = 5


def text_lines(plan: Json, *, colour: bool) -> Iterator[str]:
    """Yield the lines of a plan."""
    subject = text(plan, "subject")
    yield f"{text(plan, 'revision')} against {text(plan, 'baseRevision')}" + (f": {subject}" if subject else "")
    for group in objects(plan, "groups"):
        yield ""
        paused = paused_note(group)
        yield text(group, "title") + (f" ({paused})" if paused else "")
        for workload in objects(group, "workloads"):
            for line in workload_lines(workload, split=False):
                yield _styled(line, colour=colour)
    yield from _order(plan)
    yield ""
    for failed in objects(plan, "failed"):
        yield f"error: {named(failed)}: {text(failed, 'message')}"
    if left_out := number(plan, "groupsLeftOut"):
        yield f"{left_out} more groups of clusters are left out: use --cluster or --selector"
    findings = findings_line(plan)
    yield headline(plan) + (f"; {findings}" if findings else "")


def _order(plan: Json) -> Iterator[str]:
    tracks = list(order_lines(plan))
    if tracks:
        yield ""
        yield "order"
    yield from (f"  {line}" for line in tracks)


def named(failed: Json) -> str:
    """Return which clusters could not be planned."""
    names = texts(failed, "clusters")
    more = len(names) - _NAMED
    return f"cluster {', '.join(names[:_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _styled(line: Line, *, colour: bool) -> str:
    shown = f"{'  ' * (line.depth + 1)}{line.mark} {line.text}".rstrip()
    style = _COLOURS.get(line.mark) if colour else None
    return typer.style(shown, fg=style) if style else shown
