"""What a cluster says of itself, for selectors on the hub: its version, how many nodes it has, and where they run.

Nothing is watched: nodes change with every heartbeat. One request asks for the version, one for a single whole node
(its ``spec.providerID`` names the provider), one for the labels of the first hundred; the API server tells itself how
many more there are (``metadata.remainingItemCount``).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Final

from felloe.errors import KubernetesError
from spoke.kube.client import METADATA_LIST, Json, KubeClient
from spoke.kube.jitter import spread
from spoke.kube.shapes import mapping, mappings, metadata_of

_NODES: Final = "/api/v1/nodes"
_LOOKED_AT: Final = 100
_AGAIN_SECONDS: Final = 3600.0
"""Seconds: a cluster in which nothing happens is to be left alone, and what is asked here changes seldom."""
_AFTER_FAILURE_SECONDS: Final = 30.0
_REFUSED: Final = frozenset({403, 404})
_SCHEME: Final = re.compile(r"([a-z][a-z0-9.-]{0,62})://")
_PLACES: Final = {"region": "topology.kubernetes.io/region", "zone": "topology.kubernetes.io/zone"}
_log = logging.getLogger(__name__)


async def keep_learning(client: KubeClient, learned: Callable[[Mapping[str, str]], None]) -> None:
    """Tell `learned` what the cluster is, now and about once an hour, until cancelled."""
    while True:
        pause = _AGAIN_SECONDS
        try:
            learned(await facts(client))
        except KubernetesError as error:
            _log.warning("event=cluster-unreachable error=%r", str(error))
            pause = _AFTER_FAILURE_SECONDS
        await asyncio.sleep(spread(pause))


async def facts(client: KubeClient) -> dict[str, str]:
    """Return what a cluster says of itself: kubernetes_version, node_count, provider, region, zone.

    What differs between its nodes, or none of them says, is empty; what may not be asked is left out, and the hub goes
    by what it knew. Raise KubernetesError where the API server does not answer.
    """
    version = await client.get("/version")
    found = {"kubernetes_version": str(version.get("gitVersion", ""))}
    try:
        return found | await _of_nodes(client)
    except KubernetesError as error:
        if error.status not in _REFUSED:
            raise
        return found


async def _of_nodes(client: KubeClient) -> dict[str, str]:
    whole = await client.get(_NODES, {"limit": "1"})
    listed = await client.get(_NODES, {"limit": str(_LOOKED_AT)}, accept=METADATA_LIST)
    labels = [mapping(metadata_of(node).get("labels")) for node in mappings(listed.get("items"))]
    found = {"node_count": _count(listed, len(labels)), "provider": ""}
    for node in mappings(whole.get("items")):
        if scheme := _SCHEME.match(str(mapping(node.get("spec")).get("providerID") or "")):
            found["provider"] = scheme[1]
    for fact, label in _PLACES.items():
        values = {str(each.get(label) or "") for each in labels}
        found[fact] = values.pop() if len(values) == 1 else ""
    return found


def _count(listed: Json, seen: int) -> str:
    about = metadata_of(listed)
    left = about.get("remainingItemCount") if about.get("continue") else 0
    return str(seen + left) if isinstance(left, int) else ""
