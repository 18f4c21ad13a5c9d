"""The kind `Rollout`: a strategy as Git writes it, read into `hub.fleet.strategy`'s facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from felloe.errors import ConfigError
from felloe.k8syaml import JsonValue
from hub.fleet.document import NAME, Header, Spec, checked_spec
from hub.fleet.errors import FleetError
from hub.fleet.schema import Duration, Field, Flag, ListOf, Number, Portion, Record, Text, Whole
from hub.fleet.selectors import SELECTOR, read_selector, selector_mistakes
from hub.fleet.strategy import (
    DEFAULT_TIMEOUT,
    ApprovalGate,
    Freeze,
    Gate,
    HttpGate,
    Offline,
    OnFailure,
    OnNewRelease,
    Order,
    OrderBy,
    PrometheusGate,
    Stage,
    Strategy,
    Window,
)
from hub.sources.url import check_web_url

_GATES: Final = ("approval", "http", "prometheus")
_OPERATORS: Final = ("<", "<=", ">", ">=", "==", "!=")
_CRON_FIELDS: Final = 5


def _cron_mistake(text: str) -> str:
    """Return what is wrong with a schedule: cron's five fields, and a time that comes."""
    right = "write cron's five fields, minute hour day-of-month month day-of-week, as in '0 9 * * 1-5'"
    if len(text.split()) != _CRON_FIELDS:
        return f"{text[:60]!r} is no schedule; {right}"
    try:
        next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return f"{text[:60]!r} is no schedule, its {str(error).lower().removeprefix('bad ')} is wrong; {right}"
    except StopIteration:
        return f"{text[:60]!r} names a time that never comes, so the window would never open"
    return ""


def _zone_mistake(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # no such zone, or no name of one at all
        return f"{text[:60]!r} is no time zone of the IANA database, such as Europe/Berlin or UTC"
    return ""


def _date_mistake(text: str) -> str:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        return f"{text[:60]!r} is no day; write it as 2026-12-23"
    return ""


def _url_mistake(text: str) -> str:
    try:
        check_web_url(text)
    except ConfigError as error:
        return error.message
    return ""


_ZONE: Final = Field(Text(judge=_zone_mistake))
_DAY: Final = Field(Text(judge=_date_mistake), required=True)
_URL: Final = Field(Text(judge=_url_mistake), required=True)
_ASKING: Final = {
    "timeout": Field(Duration(least=1.0)),
    "interval": Field(Duration(least=1.0)),
    "patience": Field(Duration()),
    "secretRef": Field(Record({"name": Field(NAME, required=True)})),
}
_GATE: Final = Record(
    {
        "name": Field(NAME, required=True),
        "approval": Field(Record({})),
        "http": Field(
            Record(
                {"url": _URL, "statuses": Field(ListOf(Whole(100, 599))), "contains": Field(Text(blank=False))}
                | _ASKING
            )
        ),
        "prometheus": Field(
            Record(
                {
                    "url": _URL,
                    "query": Field(Text(blank=False), required=True),
                    "operator": Field(Text(one_of=_OPERATORS), required=True),
                    "threshold": Field(Number(), required=True),
                    "emptyPasses": Field(Flag()),
                }
                | _ASKING
            )
        ),
    }
)
_STAGE: Final = Record(
    {
        "name": Field(NAME, required=True),
        "clusterSelector": Field(SELECTOR),
        "environments": Field(ListOf(NAME)),
        "clusters": Field(ListOf(NAME)),
        "share": Field(Portion()),
        "maxConcurrent": Field(Portion()),
        "maxUnavailable": Field(Portion()),
        "maxFailures": Field(Whole()),
        "order": Field(
            Record(
                {
                    "by": Field(Text(one_of=tuple(OrderBy)), required=True),
                    "label": Field(Text(blank=False)),
                    "seed": Field(Text()),
                }
            )
        ),
        "soak": Field(Duration()),
        "timeout": Field(Duration(least=1.0)),
        "onFailure": Field(Text(one_of=tuple(OnFailure))),
        "gates": Field(ListOf(_GATE)),
    }
)
_WINDOW: Final = Record(
    {
        "schedule": Field(Text(judge=_cron_mistake), required=True),
        "duration": Field(Duration(least=60.0), required=True),
        "timeZone": _ZONE,
    }
)
_ROLLOUT: Final = Record(
    {
        "stages": Field(ListOf(_STAGE)),
        "windows": Field(ListOf(_WINDOW)),
        "freezes": Field(ListOf(Record({"first": _DAY, "last": _DAY, "timeZone": _ZONE}))),
        "offline": Field(Text(one_of=tuple(Offline))),
        "onNewRelease": Field(Text(one_of=tuple(OnNewRelease))),
        "onRevert": Field(NAME),
    }
)


def parse_rollout(manifest: Mapping[str, JsonValue], about: Header) -> Strategy:
    """Return what a Rollout says. Raise FleetError (a ConfigError) with every mistake."""
    spec, _ = checked_spec(manifest, about, _ROLLOUT)
    mistakes = [*_stage_mistakes(spec), *_freeze_mistakes(spec)]
    if mistakes:
        raise FleetError(about.error(message, field) for field, message in mistakes)
    return Strategy(
        name=about.name,
        stages=tuple(map(_stage, spec.records("stages"))),
        windows=tuple(
            Window(each.text("schedule"), each.seconds("duration", 0.0), each.text("timeZone", "UTC"))
            for each in spec.records("windows")
        ),
        freezes=tuple(
            Freeze(each.text("first"), each.text("last"), each.text("timeZone", "UTC"))
            for each in spec.records("freezes")
        ),
        offline=Offline(spec.text("offline", Offline.SKIP)),
        on_new_release=OnNewRelease(spec.text("onNewRelease", OnNewRelease.SUPERSEDE)),
        on_revert=spec.text("onRevert"),
        place=about.place,
    )


def _stage(stage: Spec) -> Stage:
    order = stage.record("order")
    return Stage(
        name=stage.text("name"),
        selector=read_selector(stage.record("clusterSelector")) if "clusterSelector" in stage else None,
        environments=stage.texts("environments"),
        clusters=stage.texts("clusters"),
        share=stage.share("share"),
        max_concurrent=stage.share("maxConcurrent"),
        max_unavailable=stage.share("maxUnavailable"),
        max_failures=stage.whole("maxFailures"),
        order=Order(OrderBy(order.text("by", OrderBy.NAME)), order.text("label"), order.text("seed")),
        soak=stage.seconds("soak", 0.0),
        gates=tuple(map(_gate, stage.records("gates"))),
        timeout=stage.seconds("timeout", DEFAULT_TIMEOUT),
        on_failure=OnFailure(stage.text("onFailure", OnFailure.PAUSE)),
    )


def _gate(gate: Spec) -> Gate:
    name = gate.text("name")
    if "http" in gate:
        http = gate.record("http")
        statuses = http.wholes("statuses") or (200,)
        return _asked(http, HttpGate(name, http.text("url"), statuses, http.text("contains")))
    if "prometheus" in gate:
        asked = gate.record("prometheus")
        found = PrometheusGate(
            name, asked.text("url"), asked.text("query"), asked.text("operator"), asked.number("threshold")
        )
        return _asked(asked, replace(found, empty_passes=asked.flag("emptyPasses")))
    return ApprovalGate(name)


_Asked = TypeVar("_Asked", HttpGate, PrometheusGate)


def _asked(spec: Spec, gate: _Asked) -> _Asked:
    """Return a gate with how it is asked; what is not said is as the gate has it."""
    return replace(
        gate,
        timeout=spec.seconds("timeout", gate.timeout),
        interval=spec.seconds("interval", gate.interval),
        patience=spec.seconds("patience", gate.patience),
        secret=spec.record("secretRef").text("name"),
    )


def _stage_mistakes(spec: Spec) -> Iterator[tuple[str, str]]:
    names: dict[str, int] = {}
    for index, stage in enumerate(spec.records("stages")):
        path = f"spec.stages[{index}]"
        first = names.setdefault(stage.text("name"), index)
        if first != index:
            yield (
                f"{path}.name",
                f"{stage.text('name')} is the name of spec.stages[{first}] already; give it another one",
            )
        yield from selector_mistakes(stage.record("clusterSelector"), f"{path}.clusterSelector")
        for condition in ("environments", "clusters"):
            if condition in stage and not stage.texts(condition):
                yield f"{path}.{condition}", "is an empty list, which no cluster can match; remove it or name some"
        yield from _order_mistakes(stage.record("order"), f"{path}.order")
        yield from _gate_mistakes(stage, path)


def _order_mistakes(order: Spec, path: str) -> Iterator[tuple[str, str]]:
    for field, by in (("label", OrderBy.LABEL), ("seed", OrderBy.RANDOM)):
        if field in order and order.text("by") != by:
            yield f"{path}.{field}", f"counts only with `by: {by}`; remove it, or say that"
    if order.text("by") == OrderBy.LABEL and "label" not in order:
        yield f"{path}.label", "is required and missing: by which label?"


def _gate_mistakes(stage: Spec, path: str) -> Iterator[tuple[str, str]]:
    names: dict[str, int] = {}
    for index, gate in enumerate(stage.records("gates")):
        here, name = f"{path}.gates[{index}]", gate.text("name")
        first = names.setdefault(name, index)
        if first != index:
            yield f"{here}.name", f"{name} is the name of {path}.gates[{first}] already; give it another one"
        kinds = [kind for kind in _GATES if kind in gate]
        if len(kinds) != 1:
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            yield here, f"must have exactly one of {', '.join(_GATES)}; {found}"


def _freeze_mistakes(spec: Spec) -> Iterator[tuple[str, str]]:
    for index, freeze in enumerate(spec.records("freezes")):
        if freeze.text("last") < freeze.text("first"):
            yield f"spec.freezes[{index}].last", f"is before its first day, {freeze.text('first')}"
