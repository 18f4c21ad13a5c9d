"""What an API server was asked, read from its metrics and its audit log.

Metrics cost nothing and know verbs and resources, but not who asked; the audit log knows that too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What requests are counted by; `verb` as in the metrics (GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE …)."""

    verb: str
    group: str
    resource: str
    subresource: str
    code: int


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Numbers of answered requests; ``later - earlier`` is what was asked in between."""

    counts: Mapping[RequestKind, int]

    def __sub__(self, earlier: RequestCounts) -> RequestCounts:
        difference = {kind: count - earlier.counts.get(kind, 0) for kind, count in self.counts.items()}
        return RequestCounts({kind: count for kind, count in difference.items() if count})

    def by_verb(self, *, exclude: Collection[str] = ()) -> dict[str, int]:
        """Return the numbers by verb, without the verbs in `exclude`."""
        result: Counter[str] = Counter()
        for kind, count in self.counts.items():
            if kind.verb not in exclude:
                result[kind.verb] += count
        return dict(result)

    def total(self, *, exclude: Collection[str] = ()) -> int:
        """Return the number of all requests, without the verbs in `exclude`."""
        return sum(self.by_verb(exclude=exclude).values())


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit log. `verb` as in RBAC (get, list, watch, create, update, patch, delete …).

    A watch has two: of the stage ``ResponseStarted`` and, when it ends, ``ResponseComplete``; others have the latter.
    """

    stage: str
    verb: str
    uri: str
    user: str
    impersonated: str
    user_agent: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    time: str


def parse_request_counts(metrics: str) -> RequestCounts:
    """Read the counter `apiserver_request_total` from a Prometheus text exposition."""
    counts: Counter[RequestKind] = Counter()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        kind = RequestKind(
            labels["verb"], labels["group"], labels["resource"], labels["subresource"], int(labels["code"])
        )
        counts[kind] += int(float(sample["value"]))
    return RequestCounts(dict(counts))


def parse_audit(line: bytes) -> AuditEvent:
    """Read one line of the audit log (audit.k8s.io/v1 Event)."""
    event = json.loads(line)
    reference = event.get("objectRef", {})
    return AuditEvent(
        stage=event["stage"],
        verb=event["verb"],
        uri=event["requestURI"],
        user=event.get("user", {}).get("username", ""),
        impersonated=event.get("impersonatedUser", {}).get("username", ""),
        user_agent=event.get("userAgent", ""),
        group=reference.get("apiGroup", ""),
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        time=event["stageTimestamp"],
    )
