"""What stands in the way of deleting a Namespace or a CustomResourceDefinition: what isn't ours and would go with it.

By the time these are deleted, what the workload itself had in them is gone. Whatever is left was made by somebody else,
or is to be kept. Only metadata is read, one page of each kind; what can't be read is not proven to be empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felloe.errors import KubernetesError
from felloe.identity import ObjectId, split_api_version
from spoke.apply.concurrency import bounded
from spoke.apply.plan import CRD, NAMESPACE
from spoke.kube.client import METADATA_LIST, KubeClient
from spoke.kube.discovery import Discovery, Resource
from spoke.kube.errors import NOT_FOUND, no_request_succeeds
from spoke.kube.shapes import mappings

_TOLD: Final = 3
_PAGE: Final = 500
_AT_ONCE: Final = 4
_METHOD_NOT_ALLOWED: Final = 405

_MADE_BY_KUBERNETES: Final = frozenset(
    {
        ("", "Endpoints"),
        ("", "Event"),
        ("coordination.k8s.io", "Lease"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("events.k8s.io", "Event"),
        ("metrics.k8s.io", "PodMetrics"),
    }
)
"""Kinds that come and go with others, and hold nothing of their own."""

_IN_EVERY_NAMESPACE: Final = frozenset(
    {
        ("", "ServiceAccount", "default"),
        ("", "ConfigMap", "kube-root-ca.crt"),
        # OpenShift's and Istio's controllers put these into each namespace.
        ("", "ServiceAccount", "builder"),
        ("", "ServiceAccount", "deployer"),
        ("", "ConfigMap", "openshift-service-ca.crt"),
        ("", "ConfigMap", "istio-ca-root-cert"),
    }
)
_TOKEN_OF: Final = "kubernetes.io/service-account.name"  # noqa: S105 (the annotation of a token's Secret)


class Occupants:
    """Looks into Namespaces and CRDs of one cluster."""

    def __init__(self, client: KubeClient, discovery: Discovery) -> None:
        self._client = client
        self._discovery = discovery

    async def refusal(self, identity: ObjectId, path: str) -> str:
        """Return why a Namespace or CRD can't be deleted, empty where nothing is in the way or it is another kind."""
        if identity[:2] not in (NAMESPACE, CRD):
            return ""
        try:
            found = await (self._in_namespace(identity.name) if identity[:2] == NAMESPACE else self._of_kind(path))
        except KubernetesError as error:
            if no_request_succeeds(error):
                raise
            return f"not deleted, for it is not proven that only ours is in it: {error}"
        if not found:
            return ""
        more = " and more" if len(found) > _TOLD else ""
        return (
            f"not deleted, for what is not this workload's would go with it: {', '.join(found[:_TOLD])}{more}; move or "
            "delete that, or annotate it (or the Kustomization) with fleet.felloe.io/prune: force"
        )

    async def _in_namespace(self, namespace: str) -> list[str]:
        kinds = [
            resource
            for resource in await self._discovery.namespaced()
            if (resource.group, resource.kind) not in _MADE_BY_KUBERNETES
        ]
        found: dict[str, str] = {}

        async def look(resource: Resource) -> None:
            if len(found) > _TOLD:
                return
            for metadata in await self._list(resource.collection(namespace)):
                if self._counts(resource, metadata):
                    # One object may be listed under several groups.
                    who = ObjectId(resource.group, resource.kind, namespace, str(metadata.get("name")))
                    found.setdefault(str(metadata.get("uid")), str(who))

        await bounded(look, kinds, _AT_ONCE)
        return sorted(found.values())

    def _counts(self, resource: Resource, metadata: Mapping[str, object]) -> bool:
        name = str(metadata.get("name"))
        if metadata.get("deletionTimestamp") or (resource.group, resource.kind, name) in _IN_EVERY_NAMESPACE:
            return False
        annotations = metadata.get("annotations")
        account = annotations.get(_TOKEN_OF) if isinstance(annotations, Mapping) else None
        if resource.kind == "Secret" and ("", "ServiceAccount", account) in _IN_EVERY_NAMESPACE:
            return False
        return not any(self._in_same_namespace(owner) for owner in mappings(metadata.get("ownerReferences")))

    def _in_same_namespace(self, owner: Mapping[str, object]) -> bool:
        """Return whether an owner lives in the namespace too: then it is the owner that counts, or is gone."""
        group, version = split_api_version(str(owner.get("apiVersion")))
        known = self._discovery.known(group, str(owner.get("kind"))) if version else None
        return known is not None and known.namespaced

    async def _of_kind(self, path: str) -> list[str]:
        """Return the custom resources of a definition, whoever's they are."""
        definition = await self._client.get(path)
        spec = definition.get("spec")
        names = spec.get("names") if isinstance(spec, Mapping) else None
        if not isinstance(spec, Mapping) or not isinstance(names, Mapping):
            return []
        group, kind, plural = str(spec.get("group")), str(names.get("kind")), str(names.get("plural"))
        served = [str(each.get("name")) for each in mappings(spec.get("versions")) if each.get("served") is True]
        if not served:
            raise KubernetesError("no version of it is served", status=NOT_FOUND)
        listed = await self._list(f"/apis/{group}/{served[0]}/{plural}")
        return sorted(
            str(ObjectId(group, kind, str(metadata.get("namespace") or ""), str(metadata.get("name"))))
            for metadata in listed
            if not metadata.get("deletionTimestamp")
        )

    async def _list(self, path: str) -> list[Mapping[str, object]]:
        """Return the metadata of all objects at a path. Raise KubernetesError where they are more than one page."""
        try:
            answer = await self._client.get(path, {"limit": str(_PAGE)}, accept=METADATA_LIST)
        except KubernetesError as error:
            if error.status in (NOT_FOUND, _METHOD_NOT_ALLOWED):  # a kind that went meanwhile, or has no list
                return []
            raise
        about = answer.get("metadata")
        if isinstance(about, Mapping) and about.get("continue"):
            raise KubernetesError(
                f"{path} has more than {_PAGE} objects, which are too many to look through", status=413
            )
        return [metadata for item in mappings(answer.get("items")) for metadata in mappings([item.get("metadata")])]
