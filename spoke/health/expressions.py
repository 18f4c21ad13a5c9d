"""Health told by CEL expressions, as in Flux' spec.healthCheckExprs (fluxcd/pkg, runtime/cel; RFC 0009).

A rule replaces the kstatus rules for its kind in its workload. First come an object's deletion and a status for an
older generation, then the expressions inProgress, failed and current, in this order; where none is true, it is in
progress. Evaluating takes another process, so it happens beside the watch that saw the object, newest state only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felloe.bundle import HealthCheckExpr
from felloe.errors import ExpressionError
from felloe.identity import split_api_version
from spoke.health.cel import Cel, FailedExpressionError
from spoke.health.model import Health, HealthStatus

Json = Mapping[str, object]
Answer = Callable[[Health], None]

NOT_EVALUATED: Final = Health(HealthStatus.IN_PROGRESS, "NotEvaluated", "its health expressions are being evaluated")

_CHEAP_SECONDS: Final = 0.02
_PAUSE_SHARE: Final = 4
"""After an evaluation that was not cheap: how many times as long as it took nothing is evaluated."""

_STATUSES: Final = {
    "inProgress": HealthStatus.IN_PROGRESS,
    "failed": HealthStatus.FAILED,
    "current": HealthStatus.CURRENT,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of spec.healthCheckExprs; `field` is where it stands."""

    field: str
    group: str
    kind: str
    expressions: tuple[tuple[str, str], ...]
    """Pairs of name (inProgress, failed, current) and text, in the order in which they are evaluated."""


def rules(exprs: Iterable[HealthCheckExpr]) -> Iterator[Rule]:
    """Yield the rules of a workload. As in Flux they are for a group and kind, whatever the version."""
    for index, expr in enumerate(exprs):
        named = (("inProgress", expr.in_progress), ("failed", expr.failed), ("current", expr.current))
        yield Rule(
            f"spec.healthCheckExprs[{index}]",
            split_api_version(expr.api_version)[0],
            expr.kind,
            tuple((name, text) for name, text in named if text.strip() or name == "current"),
        )


async def unreadable(cel: Cel, exprs: Iterable[HealthCheckExpr], ready_exprs: Mapping[int, str]) -> str:
    """Return which expression of a workload can't be read, with its field; empty where all can.

    `ready_exprs` are those of spec.dependsOn, by their place there.
    """
    texts = {f"{rule.field}.{name}": text for rule in rules(exprs) for name, text in rule.expressions}
    texts |= {f"spec.dependsOn[{index}].readyExpr": text for index, text in ready_exprs.items()}
    for field, text in texts.items():
        if not text.strip():
            return f"{field} is empty: an expression that is true for a healthy object is needed"
        try:
            await cel.read([text])
        except FailedExpressionError as error:
            return f"{field} can't be read: {error}"
        except ExpressionError as error:
            return f"{field}: {error}"
    return ""


async def judge(cel: Cel, rule: Rule, obj: Json) -> Health:
    """Return what a rule says of an object; one that can't be evaluated is UNKNOWN, and the field is named."""
    try:
        place = await cel.first_true([text for _, text in rule.expressions], obj)
    except FailedExpressionError as error:
        name = rule.expressions[error.index][0]
        secret = (rule.group, rule.kind) == ("", "Secret")  # what went wrong may quote what it holds
        why = "it can't be evaluated on this Secret" if secret else str(error)
        return Health(HealthStatus.UNKNOWN, "ExpressionFailed", f"{rule.field}.{name}: {why}")
    except ExpressionError as error:
        return Health(HealthStatus.UNKNOWN, "ExpressionFailed", f"{rule.field}: {error}")
    if place is None:
        return Health(HealthStatus.IN_PROGRESS, "InProgress", f"none of {rule.field} is true yet")
    name = rule.expressions[place][0]
    return Health(_STATUSES[name], name[0].upper() + name[1:], f"{rule.field}.{name} is true")


@dataclass(frozen=True, slots=True)
class _Question:
    rule: Rule
    obj: Json
    answer: Answer


class Evaluations:
    """Objects that wait for their expressions, one state each: a newer one takes the place of an older one.

    Costly expressions over objects that change all the time get a fifth of a core together.
    """

    def __init__(
        self,
        cel: Cel,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cel = cel
        self._pause = pause
        self._clock = clock
        self._waiting: dict[object, _Question] = {}
        self._asked = asyncio.Event()

    def ask(self, key: object, rule: Rule, obj: Json, answer: Answer) -> None:
        """Have an object judged; `answer` is called with its health, unless `key` is asked about again before."""
        self._waiting.pop(key, None)
        self._waiting[key] = _Question(rule, without_managed_fields(obj), answer)
        self._asked.set()

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                key = next(iter(self._waiting))
                question = self._waiting[key]
                process, began = self._cel.pid, self._clock()
                health = await judge(self._cel, question.rule, question.obj)
                took = self._clock() - began
                if self._waiting.get(key) is question:
                    del self._waiting[key]
                    question.answer(health)
                if took > _CHEAP_SECONDS and process == self._cel.pid:
                    await self._pause(took * _PAUSE_SHARE)


def without_managed_fields(obj: Json) -> Json:
    """Return an object without its managedFields, often the larger half, which no expression asks for."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
