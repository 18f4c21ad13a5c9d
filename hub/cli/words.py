"""The words that options take. Apart from what they mean, so that defining a command imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class Output(StrEnum):
    """The forms of output beside the table."""

    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class PlanOutput(StrEnum):
    """The forms of a plan."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


class Goal(StrEnum):
    """What to wait for."""

    APPLIED = "applied"
    HEALTHY = "healthy"
