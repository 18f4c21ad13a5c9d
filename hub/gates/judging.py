"""What an answer means for a gate: pure functions of the gate and of what came back.

Prometheus' HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from hub.fleet.strategy import HttpGate, PrometheusGate
from hub.gates.web import Answer, Request, describe_status, display, plain

_HTTP_LIMIT: Final = 1 << 20
_PROMETHEUS_LIMIT: Final = 8 << 20
_SHOWN_SAMPLES: Final = 3

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether an answer lets a rollout go on, and what was seen, in a person's words."""

    passed: bool
    message: str


class _OddAnswerError(Exception):
    """The answer is not what the API of a Prometheus says."""


def question(gate: HttpGate | PrometheusGate) -> Request:
    """Return the request that a gate means."""
    if isinstance(gate, HttpGate):
        limit = _HTTP_LIMIT if gate.contains else 0
        return Request(gate.url, limit, final=frozenset(gate.statuses))
    # A POST has no limit on the length of a query, and keeps it out of access logs.
    form = {"query": gate.query, "timeout": f"{gate.timeout:.3f}"}
    address, mark, query = gate.url.partition("?")
    return Request(f"{address.rstrip('/')}/api/v1/query{mark}{query}", _PROMETHEUS_LIMIT, form)


def judge(gate: HttpGate | PrometheusGate, answer: Answer) -> Opinion:
    """Return what an answer means for the gate."""
    return _judge_http(gate, answer) if isinstance(gate, HttpGate) else _judge_prometheus(gate, answer)


def _judge_http(gate: HttpGate, answer: Answer) -> Opinion:
    where = display(gate.url)
    status = describe_status(answer.status)
    if answer.status not in gate.statuses:
        wanted = " or ".join(map(str, gate.statuses))
        return Opinion(False, f"{where} answered {status}; wanted is {wanted}")
    if gate.contains and gate.contains.encode() not in answer.body:
        part = f"the first {_HTTP_LIMIT >> 20} MiB of its answer do" if answer.cut else "its answer does"
        return Opinion(False, f"{where} answered {status}, but {part} not contain {_quoted(gate.contains)}")
    return Opinion(True, f"{where} answered {status}")


def _judge_prometheus(gate: PrometheusGate, answer: Answer) -> Opinion:
    where = display(gate.url)
    if answer.cut:
        size = f"{_PROMETHEUS_LIMIT >> 20} MiB"
        return Opinion(False, f"{where}: the result of the query is larger than {size}; aggregate in the query")
    try:
        samples = list(_samples(answer))
    except _OddAnswerError as error:
        return Opinion(False, f"{where}{error}")
    if not samples:
        say = "the result of the query is empty"
        return Opinion(gate.empty_passes, say if gate.empty_passes else f"{say}; set emptyPasses where that is well")
    holds = _OPERATORS[gate.operator]
    against = [(name, value) for name, value in samples if math.isnan(value) or not holds(value, gate.threshold)]
    wanted = f"{gate.operator} {gate.threshold:g}"
    if against:
        of = f"{len(against)} of {len(samples)} samples are" if len(samples) > 1 else "the value is"
        more = ", …" if len(against) > _SHOWN_SAMPLES else ""
        return Opinion(False, f"{of} not {wanted}: {_listed(against)}{more}")
    if len(samples) == 1:
        return Opinion(True, f"{_listed(samples)} is {wanted}")
    return Opinion(True, f"all {len(samples)} samples are {wanted}")


def _samples(answer: Answer) -> Iterator[tuple[str, float]]:
    """Yield labels and value of each sample of an instant query's result."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise _OddAnswerError(
            f" answered {describe_status(answer.status)} and no JSON: is a Prometheus at this address?"
        ) from None
    if not isinstance(document, dict) or document.get("status") not in ("success", "error"):
        raise _OddAnswerError(f" answered {describe_status(answer.status)}, but not as a Prometheus does")
    if document["status"] == "error":
        kind, said = document.get("errorType"), document.get("error")
        raise _OddAnswerError(f" says {plain(str(kind))}: {plain(str(said))}")
    data = document.get("data")
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind == "scalar":
        yield "", _value(result)
    elif kind == "vector" and isinstance(result, list):
        for sample in result:
            if not isinstance(sample, dict):
                raise _OddAnswerError(" answered with a vector that holds no samples")
            if "histogram" in sample:
                raise _OddAnswerError(": the query gives a native histogram, which has no single value to compare")
            yield _labels(sample.get("metric")), _value(sample.get("value"))
    else:
        raise _OddAnswerError(f": the query gives {plain(str(kind))}; a gate needs an instant vector or a scalar")


def _value(pair: object) -> float:
    """Return the value of ``[time, "value"]``."""
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str):
        try:
            return float(pair[1])
        except ValueError:
            pass
    raise _OddAnswerError(" answered with a sample that has no value")


def _labels(metric: object) -> str:
    """Return a sample's labels as PromQL writes them."""
    if not isinstance(metric, dict):
        return ""
    name = str(metric.get("__name__", ""))
    labels = ", ".join(f"{key}={_quoted(str(value))}" for key, value in sorted(metric.items()) if key != "__name__")
    return plain(f"{name}{{{labels}}}" if labels else name)


def _listed(samples: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:g}".lstrip() for name, value in samples[:_SHOWN_SAMPLES])


def _quoted(text: str) -> str:
    return '"' + plain(text).replace('"', '\\"') + '"'
