"""Why pods are not what they should be, in the words that a person looks for: pure functions over pods and events.

A Deployment only says "0 of 2 replicas available"; its pods say ImagePullBackOff, and their events what the registry
answered. What a container wrote itself (its termination message, its log) is left out: it may hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from spoke.health.snapshot import Json, Snapshot, count, entries, integer, section, snapshot, text

_MESSAGE_AT_MOST: Final = 300
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
_TELLS_NOTHING_NEW: Final = frozenset({"BackOff"})
"""Warning events that only say again that the kubelet waits before the next attempt."""

_ENDED: Final = "ended without success"
_WORST_FIRST: Final = ("blocked", "ended", "unscheduled", "starting", "unready", "pending", "terminating")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with one pod; `what` is its class, one of those that are told worst first."""

    pod: str
    uid: str
    what: str
    message: str

    @property
    def explains_itself(self) -> bool:
        """Return whether no event could say more."""
        return self.what == "unscheduled" or (self.what == "ended" and self.message != _ENDED)


def worst(pods: Iterable[Json]) -> tuple[Trouble, int] | None:
    """Return the pod that tells most, and how many others tell the same; None where all are fine."""
    found = sorted(
        (trouble for pod in pods if (trouble := of_pod(pod))),
        key=lambda trouble: (_WORST_FIRST.index(trouble.what), trouble.pod),
    )
    if not found:
        return None
    same = sum(trouble.message == found[0].message for trouble in found)
    return found[0], same - 1


def of_pod(pod: Json) -> Trouble | None:
    """Return what is wrong with a pod, None where nothing is; never raises."""
    seen = snapshot(pod)
    phase = text(seen.status, "phase")
    if phase == "Succeeded" or (phase == "Running" and seen.condition("Ready", "True")):
        return None
    name, uid = text(seen.metadata, "name"), text(seen.metadata, "uid")
    what, message = _trouble(seen, phase)
    return Trouble(name, uid, what, message)


def _trouble(pod: Snapshot, phase: str) -> tuple[str, str]:
    if since := text(pod.metadata, "deletionTimestamp"):
        return "terminating", f"being deleted since {since}"
    if phase == "Failed":
        return "ended", _ended(pod)
    if blocked := next(_blocked(pod), ""):
        return "blocked", blocked
    scheduled = pod.condition("PodScheduled", "False")
    if scheduled:
        return "unscheduled", f"{scheduled.reason or 'Unschedulable'}: {_short(scheduled.message)}"
    starting = [name for name, _, state in _containers(pod) if section(state, "waiting")]
    if starting:
        return "starting", f"waits for {_names(starting)} to be created"
    if phase == "Running":
        return "unready", _unready(pod)
    return "pending", f"phase {phase or 'unknown'}"


def _blocked(pod: Snapshot) -> Iterator[str]:
    """Yield what keeps containers from running: the reason, its message, and how the last attempt ended."""
    for name, container, state in _containers(pod):
        waiting = section(state, "waiting")
        reason = text(waiting, "reason")
        ended = section(container, "lastState", "terminated") or section(state, "terminated")
        if reason == "CrashLoopBackOff":
            restarts = count(container, "restartCount")
            yield f"container {name}: CrashLoopBackOff: {_exit(ended)}, restarted {restarts} times"
        elif reason not in _STARTING:
            message = _short(text(waiting, "message"))
            yield f"container {name}: {reason}{': ' if message else ''}{message}"
        elif section(state, "terminated") and integer(ended, "exitCode"):
            yield f"container {name}: {_exit(ended)}"


def _unready(pod: Snapshot) -> str:
    unready = [name for name, container, _ in _containers(pod) if container.get("ready") is False]
    if unready:
        return f"{_names(unready)} running but not ready"
    condition = pod.condition("Ready", "False") or pod.condition("ContainersReady", "False")
    return f"not ready{': ' if condition and condition.message else ''}{_short(condition.message) if condition else ''}"


def _ended(pod: Snapshot) -> str:
    if reason := text(pod.status, "reason"):
        message = _short(text(pod.status, "message"))
        return f"{reason}{': ' if message else ''}{message}"
    for name, _, state in _containers(pod):
        ended = section(state, "terminated")
        if integer(ended, "exitCode"):
            return f"container {name}: {_exit(ended)}"
    return _ENDED


def _exit(ended: Json) -> str:
    if not ended:
        return "ended"
    reason = text(ended, "reason")
    code = integer(ended, "exitCode")
    return f"ended with exit code {'unknown' if code is None else code}{f' ({reason})' if reason else ''}"


def _containers(pod: Snapshot) -> Iterator[tuple[str, Json, Json]]:
    """Yield name, status and state of every container, those that run first coming first."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in entries(pod.status, field):
            yield text(container, "name"), container, section(container, "state")


def _names(names: list[str]) -> str:
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}"


def last_warning(events: Iterable[Json]) -> str:
    """Return the newest Warning event as ``Reason: message``, empty where there is none that tells anything."""
    warnings = [
        event
        for event in events
        if text(event, "type") == "Warning" and text(event, "reason") not in _TELLS_NOTHING_NEW
    ]
    if not warnings:
        return ""
    newest = max(warnings, key=_when)
    return f"{text(newest, 'reason')}: {_short(text(newest, 'message'))}"


def _when(event: Json) -> str:
    """Return when an event happened last; RFC 3339 in UTC, which sorts as text."""
    return max(
        text(section(event, "series"), "lastObservedTime"),
        text(event, "lastTimestamp"),
        text(event, "eventTime"),
        text(event, "firstTimestamp"),
    )


def _short(message: str) -> str:
    line = " ".join(message.split()).rstrip(".")
    return line if len(line) <= _MESSAGE_AT_MOST else f"{line[: _MESSAGE_AT_MOST - 1]}…"


def selector(obj: Mapping[str, object]) -> str:
    """Return ``spec.selector`` of an object that runs pods as a query parameter; empty where it selects nothing.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api
    """
    wanted = section(obj, "spec", "selector")
    labels = section(wanted, "matchLabels")
    terms = [f"{key}={value}" for key, value in labels.items() if isinstance(value, str)]
    for expression in entries(wanted, "matchExpressions"):
        key, operator = text(expression, "key"), text(expression, "operator")
        listed = expression.get("values")
        values = ",".join(str(value) for value in listed) if isinstance(listed, list) else ""
        if operator in ("In", "NotIn") and values:
            terms.append(f"{key} {operator.lower()} ({values})")
        elif operator == "Exists":
            terms.append(key)
        elif operator == "DoesNotExist":
            terms.append(f"!{key}")
    return ",".join(terms)
