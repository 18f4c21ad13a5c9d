"""Taking a used cluster back to what it held when it was new, so that the next test can have it.

Whatever was not there at the start goes, of every kind the API server knows, labelled or not: a test must not depend on
how well what it tests cleans up. Objects that stay because of a finalizer lose it after a while. What tests *changed*
in the objects of a new cluster (the namespace `default` and the like) stays changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.cluster.api import Api
from tests.cluster.errors import HarnessError

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
SYSTEM_NAMESPACES = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})
# What the cluster makes for itself, at any time.
OWN_RESOURCES = frozenset(
    {"componentstatuses", "csinodes", "endpoints", "events", "flowschemas", "ipaddresses", "leases", "nodes"}
    | {"prioritylevelconfigurations", "servicecidrs"}
)
OWN_OBJECTS = frozenset(
    {
        ("configmaps", "extension-apiserver-authentication"),
        ("configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
        ("configmaps", "kube-root-ca.crt"),
        ("endpointslices", "kubernetes"),
        ("serviceaccounts", "default"),
        ("services", "kubernetes"),
    }
)
# These can forbid the deletion of everything else, so they go first.
ADMISSION = "admissionregistration.k8s.io"
AUTOMATIC_APISERVICE = "kube-aggregator.kubernetes.io/automanaged"
GRACE_SECONDS = 3.0
# A custom kind that just comes or goes; its definition is listed all the same. (429 is not about load: the group
# system:masters is exempt from flow control.)
NOT_SERVED = (404, 429, 503)
CLEAN_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Item:
    """One object. `path` is where the API has it."""

    path: str
    group: str
    namespace: str
    owned: bool
    deleting: bool
    finalizers: bool


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects, as discovery tells of it."""

    group: str
    base: str
    plural: str
    namespaced: bool


def snapshot(api: Api) -> frozenset[str]:
    """Return the paths of all objects that a cluster holds."""
    return frozenset(item.path for item in _items(api))


def clean(
    api: Api,
    keep: frozenset[str],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete what is not in the snapshot `keep` and wait until it is gone; `HarnessError` if that takes a minute."""
    started = clock()
    asked: set[str] = set()
    while left := [item for item in _items(api) if item.path not in keep]:
        if clock() - started > CLEAN_SECONDS:
            raise HarnessError(
                f"{api.server} still holds after {CLEAN_SECONDS:g} s: {', '.join(item.path for item in left[:20])}"
            )
        guards = [item for item in left if item.group == ADMISSION]
        for item in guards or left:
            late = clock() - started > GRACE_SECONDS
            if item.deleting:
                if item.finalizers and late:
                    api.drop_finalizers(item.path)
            elif item.path not in asked and (late or not _goes_by_itself(item)):
                asked.add(item.path)
                api.delete(item.path)
        sleep(POLL_SECONDS)


def _goes_by_itself(item: Item) -> bool:
    """Whether it goes with its namespace or its owner, so that a request of its own would only cost."""
    return item.owned or (item.namespace not in SYSTEM_NAMESPACES and item.namespace != "")


def _items(api: Api) -> Iterator[Item]:
    for resource in _resources(api):
        listing = api.get_json(f"{resource.base}/{resource.plural}", METADATA, missing=NOT_SERVED)
        for entry in (listing and listing["items"]) or ():  # null where there are none
            metadata = entry["metadata"]
            namespace = metadata.get("namespace", "")
            own = namespace in SYSTEM_NAMESPACES and (resource.plural, metadata["name"]) in OWN_OBJECTS
            if own or AUTOMATIC_APISERVICE in metadata.get("labels", {}):
                continue
            middle = f"/namespaces/{namespace}" if resource.namespaced else ""
            yield Item(
                path=f"{resource.base}{middle}/{resource.plural}/{metadata['name']}",
                group=resource.group,
                namespace=namespace,
                owned=bool(metadata.get("ownerReferences")),
                deleting="deletionTimestamp" in metadata,
                finalizers=bool(metadata.get("finalizers")),
            )


def _resources(api: Api) -> Iterator[Resource]:
    """Yield each kind once, in its preferred version, that can be listed and deleted."""
    for root in ("/api", "/apis"):
        for group in api.get_json(root, DISCOVERY)["items"]:
            name = group["metadata"].get("name", "")
            seen: set[str] = set()
            for version in group["versions"]:
                base = f"{root}/{name}/{version['version']}" if name else f"{root}/{version['version']}"
                if version.get("freshness") == "Stale":
                    continue
                for resource in version.get("resources", ()):
                    plural = resource["resource"]
                    if plural in seen or plural in OWN_RESOURCES or not {"list", "delete"} <= set(resource["verbs"]):
                        continue
                    seen.add(plural)
                    yield Resource(name, base, plural, resource["scope"] == "Namespaced")
