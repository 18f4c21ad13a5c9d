"""A plan as Markdown for a comment on a pull request: bounded, and with nothing in it that could act as Markdown.

What comes from the repository stands in code only, so that it can neither mention people nor add links or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from hub.cli.plan_lines import (
    CHANGED,
    NOTED,
    PLAIN,
    Line,
    findings_line,
    headline,
    object_name,
    order_lines,
    paused_note,
    workload_lines,
    workload_name,
)
from hub.cli.plan_text import named
from hub.cli.view import Json, dig, mapping, number, objects, text

LIMIT: Final = 65_536
"""Characters of a comment on GitHub; here it is bytes, which are never fewer."""
_NOTE: Final = 600
"""Bytes that are left for saying what was left out."""
_MOST_FINDINGS: Final = 30
_LONGEST_LINE: Final = 1000
_DIFF_MARKS: Final = {CHANGED: "!", NOTED: "#", PLAIN: " "}
_SEVERITIES: Final = (("error", "Errors"), ("warning", "Warnings"))


def markdown(plan: Json, limit: int = LIMIT) -> str:
    """Return a plan as Markdown of at most `limit` bytes."""
    page = _Page(limit - _NOTE)
    page.add(*_head(plan))
    for severity, title in _SEVERITIES:
        page.add(*_findings(plan, severity, title))
    page.add(*_order(plan))
    groups = objects(plan, "groups")
    for group in groups:
        if not page.details(_summary(group), list(_diff(group))):
            break
    left_out = len(groups) - page.whole + number(plan, "groupsLeftOut")
    if left_out:
        parts = f"{left_out} group{'' if left_out == 1 else 's'} of clusters"
        page.force(
            f"\n_{parts} left out, in part or whole, since a comment can't be longer: `felloe plan` shows all._\n"
        )
    return page.text


class _Page:
    """Markdown that grows as long as there is room; `whole` counts the details that are there in full."""

    def __init__(self, room: int) -> None:
        self.text = ""
        self.whole = 0
        self._room = room

    def add(self, *lines: str) -> None:
        """Add lines; those for which there is no room are left out."""
        for line in lines:
            if not self._fits(f"{line}\n"):
                return
            self.force(f"{line}\n")

    def details(self, summary: str, lines: list[str]) -> bool:
        """Add what unfolds, with as many of its lines as there is room for; return whether all of them are there."""
        fence = _fence(lines)
        head = f"\n<details><summary>{summary}</summary>\n\n{fence}diff\n"
        tail = f"{fence}\n\n</details>\n"
        body, used = [], len((head + tail).encode())
        for line in lines:
            used += len(line.encode()) + 1
            if not self._fits_bytes(used):
                break
            body.append(f"{line}\n")
        if body:
            self.force(head + "".join(body) + tail)
        complete = len(body) == len(lines)
        self.whole += complete
        return complete

    def force(self, more: str) -> None:
        """Add a text for which room was kept."""
        self.text += more
        self._room -= len(more.encode())

    def _fits(self, more: str) -> bool:
        return self._fits_bytes(len(more.encode()))

    def _fits_bytes(self, number: int) -> bool:
        return number <= self._room


def _head(plan: Json) -> Iterator[str]:
    yield f"### felloe plan: {escape(headline(plan))}"
    yield ""
    findings = findings_line(plan)
    subject = text(plan, "subject")
    yield f"{_code(text(plan, 'revision'))} against {_code(text(plan, 'baseRevision'))}" + (
        f": {_code(subject)}" if subject else ""
    )
    if findings:
        yield ""
        yield f"**{findings}**"


def _findings(plan: Json, severity: str, title: str) -> Iterator[str]:
    told = list(_items(plan, severity))
    if severity == "error":
        told += [f"- {_code(named(each))}: {_code(text(each, 'message'))}" for each in objects(plan, "failed")]
    if not told:
        return
    yield ""
    yield f"**{title}**"
    yield ""
    yield from told[:_MOST_FINDINGS]
    if len(told) > _MOST_FINDINGS:
        yield f"- … and {len(told) - _MOST_FINDINGS} more"


def _items(plan: Json, severity: str) -> Iterator[str]:
    for group in objects(plan, "groups"):
        for workload in objects(group, "workloads"):
            for finding in objects(workload, "findings"):
                if text(finding, "severity") == severity:
                    about = mapping(finding, "object")
                    who = object_name(about) if dig(finding, "object") else workload_name(workload)
                    where, why = _code(text(group, "title")), _code(text(finding, "message"))
                    yield f"- **{escape(text(finding, 'reason'))}** {_code(who)} on {where}: {why}"


def _order(plan: Json) -> Iterator[str]:
    tracks = list(order_lines(plan))
    if not tracks:
        return
    yield ""
    yield "**Order**"
    yield ""
    yield from (f"- {_code(line)}" for line in tracks[:_MOST_FINDINGS])
    if len(tracks) > _MOST_FINDINGS:
        yield f"- … and {len(tracks) - _MOST_FINDINGS} more"


def _summary(group: Json) -> str:
    changed = [workload_name(each) for each in objects(group, "workloads")]
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    paused = paused_note(group)
    return f"{_html(text(group, 'title'))}: {_html(shown)}" + (f" ({paused})" if paused else "")


def _diff(group: Json) -> Iterator[str]:
    for workload in objects(group, "workloads"):
        for line in workload_lines(workload, split=True):
            yield _diff_line(line)


def _diff_line(line: Line) -> str:
    shown = f"{_DIFF_MARKS.get(line.mark, line.mark)} {'  ' * line.depth}{line.text}".rstrip()
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[:_LONGEST_LINE]}…"


def _fence(lines: Iterable[str]) -> str:
    """Return a fence that no line ends."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    return "`" * max(3, longest + 1)


def _code(shown: str) -> str:
    """Return a text as inline code: nothing in it is Markdown."""
    shown = " ".join(shown.split()) or " "
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if shown[:1] == "`" or shown[-1:] == "`" else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _html(shown: str) -> str:
    """Return a text as code inside of HTML, where no Markdown is read up to the next empty line."""
    return f"<code>{escape(' '.join(shown.split()))}</code>"
