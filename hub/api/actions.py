"""What changes something, and what is worked out on request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felloe.identity import WorkloadId
from hub.api.auth import who
from hub.api.body import read_object, reason_of
from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.lists import check_cluster
from hub.pki import check_cluster_name
from hub.status.resource import Collection, Resource, timestamp

_LABEL_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
_LONGEST_TTL: Final = timedelta(days=30)


class Actions:
    """The handlers of everything that is no list."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def create_token(self, request: Request) -> Response:
        """Answer ``POST /api/v1/tokens`` {cluster, labels, ttlSeconds}."""
        asked = await read_object(request, frozenset({"cluster", "labels", "ttlSeconds"}))
        issued = await self._control.create_token(_cluster_name(asked), _labels(asked), _ttl(asked), who=who(request))
        answer = {
            "kind": "JoinToken",
            "cluster": issued.cluster,
            "token": issued.token,
            "expiresAt": timestamp(issued.expires_at),
        }
        return JSONResponse(answer, 201, {"Cache-Control": "no-store"})

    async def render(self, request: Request) -> Response:
        """Answer ``GET /api/v1/clusters/{name}/render?workload=[NAMESPACE/]NAME``."""
        cluster = request.path_params["name"]
        check_cluster(self._control.board, cluster)
        name = request.query_params.get("workload", "")
        workload = self._workload_of(cluster, name) if name else None
        rendered = await self._control.render(cluster, workload)
        items = [
            {"kind": one.id.kind, "namespace": one.id.namespace, "name": one.id.name}
            | {"revision": one.revision, "manifests": list(one.manifests)}
            for one in rendered
        ]
        body = orjson.dumps({"kind": "List", "apiVersion": "v1", "items": items})
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def reconcile_source(self, request: Request) -> Response:
        """Answer ``POST /api/v1/sources/{namespace}/{name}/reconcile`` [{kind}] once the source has been fetched."""
        asked = await read_object(request, frozenset({"kind"}))
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        found = [
            posted.resource
            for posted in self._control.board.list(Collection.SOURCES)
            if (posted.resource.namespace, posted.resource.name) == (namespace, name)
            and asked.get("kind", posted.resource.kind) == posted.resource.kind
        ]
        if not found:
            raise ApiError(404, f"there is no source {namespace}/{name}")
        if len(found) > 1:
            kinds = ", ".join(source.kind for source in found)
            raise ApiError(409, f"{namespace}/{name} is the name of several sources ({kinds}): say which kind")
        revision = await self._control.reconcile_source(found[0].kind, namespace, name, who=who(request))
        return JSONResponse({"kind": found[0].kind, "namespace": namespace, "name": name, "revision": revision})

    async def reconcile_workload(self, request: Request) -> Response:
        """Answer ``POST /api/v1/workloads/{namespace}/{name}/reconcile`` [{cluster, kind, reason}]."""
        workload, clusters, reason = await self._workload(request)
        await self._control.reconcile_workload(workload, clusters, who=who(request), reason=reason)
        return _told(workload, clusters)

    async def suspend_workload(self, request: Request) -> Response:
        """Answer ``POST /api/v1/workloads/{namespace}/{name}/suspend`` [{cluster, kind, reason}]."""
        return await self._suspend(request, "suspend")

    async def resume_workload(self, request: Request) -> Response:
        """Answer ``POST /api/v1/workloads/{namespace}/{name}/resume`` [{cluster, kind, reason}]."""
        return await self._suspend(request, "resume")

    async def approve_prune(self, request: Request) -> Response:
        """Answer ``POST /api/v1/workloads/{namespace}/{name}/approve-prune`` {cluster, prune, [kind, reason]}."""
        asked = await read_object(request, frozenset({"cluster", "kind", "prune", "reason"}))
        if not isinstance(asked.get("cluster"), str) or not isinstance(asked.get("prune"), str):
            raise ApiError(422, "cluster, prune: the cluster and the name of the deletion are needed, as texts")
        found = self._found(request, asked)
        workload = _one(found, f"{request.path_params['namespace']}/{request.path_params['name']}")
        pending = found[0].status.get("pendingPrune")
        name = pending.get("name") if isinstance(pending, Mapping) else None
        if name != asked["prune"]:
            waits = f"the deletion {name} waits, not {asked['prune']}: look again" if name else "no deletion waits"
            raise ApiError(409, f"{workload} on cluster {asked['cluster']!r}: {waits}")
        await self._control.approve_prune(
            workload, found[0].cluster, str(name), who=who(request), reason=reason_of(asked)
        )
        return _told(workload, [found[0].cluster])

    async def revoke_cluster(self, request: Request) -> Response:
        """Answer ``POST /api/v1/clusters/{name}/revoke`` [{reason}], also for one that has only join tokens."""
        asked = await read_object(request, frozenset({"reason"}))
        cluster = check_cluster_name(request.path_params["name"])
        member = await self._control.revoke_cluster(cluster, who=who(request), reason=reason_of(asked))
        return JSONResponse({"kind": "Cluster", "name": cluster, "wasMember": member})

    async def remove_cluster(self, request: Request) -> Response:
        """Answer ``POST /api/v1/clusters/{name}/remove`` [{reason}]."""
        asked = await read_object(request, frozenset({"reason"}))
        cluster = request.path_params["name"]
        if not await self._control.remove_cluster(cluster, who=who(request), reason=reason_of(asked)):
            raise ApiError(404, f"no cluster {cluster!r} has ever joined this hub")
        return JSONResponse({"kind": "Cluster", "name": cluster})

    async def _suspend(self, request: Request, verb: Literal["suspend", "resume"]) -> Response:
        workload, clusters, reason = await self._workload(request)
        await self._control.suspend_workload(
            workload, clusters, suspended=verb == "suspend", who=who(request), reason=reason
        )
        return _told(workload, clusters)

    async def _workload(self, request: Request) -> tuple[WorkloadId, list[str], str]:
        """Return the workload that a request names, the clusters that have it and are meant, and why."""
        asked = await read_object(request, frozenset({"cluster", "kind", "reason"}))
        found = self._found(request, asked)
        name = f"{request.path_params['namespace']}/{request.path_params['name']}"
        return _one(found, name), sorted(resource.cluster for resource in found), reason_of(asked)

    def _found(self, request: Request, asked: Mapping[str, object]) -> list[Resource]:
        """Return the workload that a request names, on every cluster that is meant. Raise ApiError for none."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        found = [
            posted.resource
            for posted in self._control.board.list(Collection.WORKLOADS)
            if (posted.resource.namespace, posted.resource.name) == (namespace, name)
            and asked.get("cluster", posted.resource.cluster) == posted.resource.cluster
            and asked.get("kind", posted.resource.kind) == posted.resource.kind
        ]
        where = f" on cluster {asked['cluster']!r}" if "cluster" in asked else ""
        if not found:
            raise ApiError(404, f"there is no workload {namespace}/{name}{where}")
        return found

    def _workload_of(self, cluster: str, named: str) -> WorkloadId:
        namespace, _, name = named.rpartition("/")
        found = [
            resource
            for key, resource in self._control.board.of_cluster(cluster).items()
            if key.cluster and key.name == name and namespace in {"", key.namespace}
        ]
        if not found:
            raise ApiError(404, f"cluster {cluster!r} has no workload {named!r}")
        return _one(found, named)


def _one(found: list[Resource], named: str) -> WorkloadId:
    """Return the one workload that some resources are, on however many clusters. Raise ApiError where they are more."""
    ids = sorted({WorkloadId(one.kind, one.namespace, one.name) for one in found})
    if len(ids) > 1:
        raise ApiError(409, f"{named!r} is the name of several workloads ({', '.join(map(str, ids))}): say which")
    return ids[0]


def _told(workload: WorkloadId, clusters: list[str]) -> Response:
    answer = {"kind": workload.kind, "namespace": workload.namespace, "name": workload.name, "clusters": clusters}
    return JSONResponse(answer)


def _cluster_name(asked: Mapping[str, object]) -> str:
    name = asked.get("cluster")
    if not isinstance(name, str):
        raise ApiError(422, "cluster: the name of a cluster is needed, as a text")
    return check_cluster_name(name)


def _labels(asked: Mapping[str, object]) -> dict[str, str]:
    labels = asked.get("labels", {})
    if not isinstance(labels, dict):
        raise ApiError(422, "labels: must be an object of texts")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise ApiError(422, f"labels: {key}={value} is no Kubernetes label")
    return labels


def _ttl(asked: Mapping[str, object]) -> timedelta:
    seconds = asked.get("ttlSeconds", 3600)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ApiError(422, "ttlSeconds: must be a number")
    if not 1 <= seconds <= _LONGEST_TTL.total_seconds():
        raise ApiError(422, f"ttlSeconds: {seconds} is not between 1 second and {_LONGEST_TTL.days} days")
    return timedelta(seconds=seconds)
