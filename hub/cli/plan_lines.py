"""The lines of a plan that text and Markdown have in common: each with a mark for what becomes of what it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from felloe.k8syaml import JsonValue, dump
from hub.cli.view import Json, dig, flag, harmless, mapping, number, objects, text, texts

ADDED, REMOVED, CHANGED, PLAIN, NOTED = "+", "-", "~", " ", "!"
_MARKS: Final = {"create": ADDED, "delete": REMOVED, "release": REMOVED, "update": CHANGED}
_WIDE: Final = 100
_WORDS: Final = {"create": "to create", "update": "to change", "delete": "to delete", "release": "to let go of"}


class Line(NamedTuple):
    """A line: what it is about, how deep, and its text, which is harmless for a terminal."""

    mark: str
    depth: int
    text: str


def headline(plan: Json) -> str:
    """Return in one line what a plan comes to."""
    total, changed = number(plan, "clusters"), number(plan, "changedClusters")
    counted = [f"{count} {words}" for what, words in _WORDS.items() if (count := number(plan, "objects", what))]
    clusters = f"{total} cluster{'' if total == 1 else 's'}"
    if not changed:
        return f"nothing changes on {clusters}"
    return f"{', '.join(counted) or 'options or variables change'} on {changed} of {clusters}"


def findings_line(plan: Json) -> str:
    """Return how much is to be said about a plan, empty for nothing."""
    counts = {
        "error": number(plan, "findings", "error") + len(objects(plan, "failed")),
        "warning": number(plan, "findings", "warning"),
    }
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count)


def object_name(told: Json) -> str:
    """Return who an object is: ``Deployment shop/web``."""
    namespace, name = text(told, "namespace"), text(told, "name")
    return f"{text(told, 'kind')} {namespace}/{name}" if namespace else f"{text(told, 'kind')} {name}"


def workload_name(told: Json) -> str:
    """Return who a workload is: ``Kustomization/flux-system/apps``."""
    return "/".join(text(told, part) for part in ("kind", "namespace", "name"))


def workload_lines(told: Json, *, split: bool) -> Iterator[Line]:
    """Yield the lines of a workload; `split`: what a field was and what it becomes are two lines."""
    change, unit = text(told, "change"), text(told, "unit")
    via = f" ({unit})" if unit else ""
    yield Line(_MARKS.get(change, PLAIN), 0, f"{workload_name(told)}{via}")
    if stages := [f"{text(each, 'stage')} {number(each, 'clusters')}" for each in objects(told, "stages")]:
        yield Line(PLAIN, 1, f"stages: {', '.join(stages)}")
    about: dict[str, list[Json]] = {}
    for finding in objects(told, "findings"):
        about.setdefault(object_name(mapping(finding, "object")) if dig(finding, "object") else "", []).append(finding)
    for finding in about.get("", []):
        yield _finding(finding, 1)
    for field in objects(told, "options"):
        yield from _field(field, 1, split=split, prefix="option ")
    for variable in objects(told, "variables"):
        yield from _variable(variable, split=split)
    for each in objects(told, "objects"):
        yield from _object(each, about.get(object_name(each), []), split=split)


def order_lines(plan: Json) -> Iterator[str]:
    """Yield in which order what changes would go through the fleet, a line a track."""
    for track in objects(plan, "order"):
        stages = [_stage(stage) for stage in objects(track, "stages")]
        waits = _waits(track)
        rollout = text(track, "rollout")
        how = f"by rollout {rollout}: {' → '.join(stages)}" if rollout else f"at once: {' → '.join(stages)}"
        yield f"{text(track, 'track')}: " + "; ".join(part for part in (waits, how) if part)


def _waits(track: Json) -> str:
    after, soak = text(track, "after"), text(track, "afterSoak")
    if not after:
        return ""
    extra = ([f"for {soak}"] if soak else []) + (["approved"] if flag(track, "afterApproval") else [])
    return f"after {after} is healthy" + (f" ({', '.join(extra)})" if extra else "")


def _stage(told: Json) -> str:
    changing, members = len(texts(told, "clusters")), number(told, "members")
    name = text(told, "name")
    count = f"{changing} cluster{'' if changing == 1 else 's'}" + (f" of {members}" if members != changing else "")
    extra = [f"gate {gate}" for gate in texts(told, "gates")]
    if soak := text(told, "soak"):
        extra.append(f"soak {soak}")
    shown = f"{name} {count}".strip()
    return f"{shown} ({', '.join(extra)})" if extra else shown


def _object(told: Json, findings: list[Json], *, split: bool) -> Iterator[Line]:
    change = text(told, "change")
    notes = []
    if former := text(told, "formerName"):
        notes.append(f"was {former}")
    if dig(told, "from"):
        notes.append(f"comes from {workload_name(mapping(told, 'from'))}")
    if change == "release":
        notes.append("stays in the cluster")
    yield Line(_MARKS.get(change, PLAIN), 1, object_name(told) + (f" ({', '.join(notes)})" if notes else ""))
    for finding in findings:
        yield _finding(finding, 2)
    for field in objects(told, "fields"):
        yield from _field(field, 2, split=split)
    manifest = dig(told, "manifest")
    if isinstance(manifest, dict):
        yield from _block(ADDED, 2, manifest)
    elif isinstance(manifest, str):
        yield Line(ADDED, 2, harmless(manifest))
    if left_out := number(told, "fieldsLeftOut"):
        yield Line(PLAIN, 2, f"… and {left_out} more fields")


def _finding(finding: Json, depth: int) -> Line:
    message = " ".join(text(finding, "message").split())
    return Line(NOTED, depth, f"{text(finding, 'severity')}: {text(finding, 'reason')}: {message}")


def _variable(told: Json, *, split: bool) -> Iterator[Line]:
    name = text(told, "name")
    for value in objects(told, "values"):
        count = number(value, "clusters")
        where = f" ({count} cluster{'' if count == 1 else 's'})"
        before, after = dig(value, "before"), dig(value, "after")
        was = "(not set)" if before is None else _inline(before)
        becomes = "(not set)" if after is None else _inline(after)
        yield from _replaced(f"variable {name}", was, becomes, 1, split=split, suffix=where)
    if more := number(told, "valuesLeftOut"):
        yield Line(PLAIN, 1, f"variable {name}: … and {more} more values")


def _field(told: Json, depth: int, *, split: bool, prefix: str = "") -> Iterator[Line]:
    path, operation = prefix + text(told, "path"), text(told, "operation")
    before, after = dig(told, "before"), dig(told, "after")
    if diff := text(told, "diff"):
        yield Line(CHANGED, depth, f"{path}:")
        for line in diff.splitlines():
            mark = line[:1] if line[:1] in (ADDED, REMOVED) else PLAIN
            yield Line(mark, depth + 1, line[1:] if line[:1] in (ADDED, REMOVED, " ") else line)
    elif operation == "add":
        yield from _one(ADDED, depth, path, after)
    elif operation == "remove":
        yield from _one(REMOVED, depth, path, before)
    elif operation == "variable":
        yield Line(CHANGED, depth, f"{path}: {_inline(after)} (by its variables)")
    else:
        note = " (order)" if operation == "reorder" else ""
        yield from _replaced(path, _inline(before), _inline(after), depth, split=split, suffix=note)


def _replaced(path: str, was: str, becomes: str, depth: int, *, split: bool, suffix: str = "") -> Iterator[Line]:
    if split:
        yield Line(REMOVED, depth, f"{path}: {was}{suffix}")
        yield Line(ADDED, depth, f"{path}: {becomes}{suffix}")
    else:
        yield Line(CHANGED, depth, f"{path}: {was} → {becomes}{suffix}")


def _one(mark: str, depth: int, path: str, value: JsonValue | Json) -> Iterator[Line]:
    inline = _inline(value)
    if len(inline) <= _WIDE or not isinstance(value, dict | list):
        yield Line(mark, depth, f"{path}: {inline}")
    else:
        yield Line(mark, depth, f"{path}:")
        yield from _block(mark, depth + 1, value)


def _block(mark: str, depth: int, value: JsonValue) -> Iterator[Line]:
    for line in harmless(dump(value)).splitlines():
        yield Line(mark, depth, line)


def _inline(value: JsonValue | Json) -> str:
    return harmless(json.dumps(value, ensure_ascii=False))


def paused_note(group: Json) -> str:
    """Return that clusters of a group take nothing for now, empty where none is paused."""
    paused = number(group, "paused")
    return f"{paused} of them paused, so that nothing of it happens there for now" if paused else ""
