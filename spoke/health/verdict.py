"""How rules word what they found: a condition's own reason and message, else ours."""

from __future__ import annotations

from spoke.health.model import Health, HealthStatus
from spoke.health.snapshot import Condition


def current(message: str, reason: str = "Current") -> Health:
    """Return that the object is as it should be."""
    return Health(HealthStatus.CURRENT, reason, message)


def in_progress(reason: str, message: str) -> Health:
    """Return that the object is not there yet and may still get there."""
    return Health(HealthStatus.IN_PROGRESS, reason, message)


def failed(reason: str, message: str) -> Health:
    """Return that the object will not get there without a change."""
    return Health(HealthStatus.FAILED, reason, message)


def from_condition(status: HealthStatus, condition: Condition, default: str = "") -> Health:
    """Return what a condition says; a condition without a message is named with its status."""
    message = condition.message or default or f"condition {condition.type} is {condition.status}"
    return Health(status, condition.reason or condition.type, message)


def shortfall(have: int, want: int, what: str) -> str:
    """Return ``2 of 3 replicas available``."""
    return f"{have} of {want} {what}"
