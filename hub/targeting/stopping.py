"""Why there is no new version of a workload: what ends the work on it, and how that is told."""

from __future__ import annotations

from typing import Final

from felloe.errors import Place
from hub.targeting.plan import READY, Condition
from hub.targeting.roots import Definition

ARTIFACT_FAILED: Final = "ArtifactFailed"
BUILD_FAILED: Final = "BuildFailed"
NOT_SUPPORTED: Final = "NotSupportedYet"


class Stop(Exception):  # noqa: N818 - not an error: it ends the work on one workload and never leaves the walk
    """There will be no new version of this workload."""

    def __init__(self, reason: str, message: str, status: str = "False") -> None:
        self.condition = Condition(READY, status, reason, message)
        super().__init__(message)


def at(definition: Definition, field_: str, message: str) -> str:
    """Return a message with the file, the object and the field of a workload's definition."""
    place = definition.kustomization.place if definition.kustomization else Place()
    where = str(Place(place.file, place.object, field_))
    return f"{where}: {message}" if where else message
