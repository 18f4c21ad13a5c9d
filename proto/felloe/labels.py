"""The names that Felloe puts on objects in a cluster."""

from __future__ import annotations

from typing import Final

GROUP: Final = "fleet.felloe.io"
FIELD_MANAGER: Final = "felloe"
WORKLOAD_NAME: Final = f"{GROUP}/workload-name"
WORKLOAD_NAMESPACE: Final = f"{GROUP}/workload-namespace"
WORKLOAD_KIND: Final = f"{GROUP}/workload-kind"
WAVE_ANNOTATION: Final = f"{GROUP}/wave"
DRIFT: Final = f"{GROUP}/drift"
PRUNE: Final = f"{GROUP}/prune"
PRUNE_LIMIT_ANNOTATION: Final = f"{GROUP}/prune-limit"
RENEWED: Final = f"{GROUP}/renewed"
"""An annotation that is on an object for a moment, so that it gets another version."""
FACTS_PREFIX: Final = "facts.felloe.io/"
"""What the labels begin with that say of a cluster what its spoke reports."""
WORKLOAD_LABELS: Final = frozenset({WORKLOAD_KIND, WORKLOAD_NAMESPACE, WORKLOAD_NAME})
SYSTEM_NAMESPACE: Final = "felloe-system"
"""Where a spoke keeps its inventories."""
