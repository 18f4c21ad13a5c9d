"""What a spoke reports of its cluster, as labels that selectors can ask for.

They have a prefix of their own, which neither a join token nor a Cluster in Git may use, so that nobody can say
otherwise; and only what is known here becomes a label, so that a spoke can't give itself any other one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from felloe.labels import FACTS_PREFIX

KUBERNETES_VERSION: Final = f"{FACTS_PREFIX}kubernetes-version"
"""Major and minor: ``1.34``."""

_LABELS: Final = {
    "node_count": f"{FACTS_PREFIX}node-count",
    "provider": f"{FACTS_PREFIX}provider",
    "region": f"{FACTS_PREFIX}region",
    "zone": f"{FACTS_PREFIX}zone",
}
_MINOR: Final = re.compile(r"v?([0-9]{1,3}\.[0-9]{1,4})(?![0-9])")
_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def with_facts(joined: Mapping[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a join token with those that the spoke's facts give."""
    labels = {key: value for key, value in joined.items() if not key.startswith(FACTS_PREFIX)}
    if version := _MINOR.match(facts.get("kubernetes_version", "")):
        labels[KUBERNETES_VERSION] = version[1]
    for fact, label in _LABELS.items():
        value = facts.get(fact, "")
        if _VALUE.fullmatch(value):
            labels[label] = value
    return labels
