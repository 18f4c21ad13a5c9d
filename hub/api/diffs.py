"""``GET /api/v1/clusters/{name}/diff``: what a cluster would become, as a stream of JSON lines.

Each line is ``{"type": "OBJECT"|"WORKLOAD", "object": …}``. The last is ``{"type": "END"}``, or ``ERROR`` with a Status
where the answer broke off: a stream that ends without either is not whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from felloe.bundle import object_id_from_proto, workload_id_from_proto
from felloe.errors import FelloeError
from felloe.v1 import diff_pb2 as pb
from hub.api.control import Control
from hub.api.errors import ApiError, status_of
from hub.api.lists import check_cluster

CHANGES: Final[Mapping[int, str]] = {
    pb.CHANGE_CREATE: "create",
    pb.CHANGE_UPDATE: "update",
    pb.CHANGE_DELETE: "delete",
    pb.CHANGE_RECREATE: "recreate",
    pb.CHANGE_SKIPPED: "skipped",
    pb.CHANGE_FAILED: "failed",
}
_PARAMETERS: Final = frozenset({"workload", "revision"})


class Diffs:
    """The handler of diffs."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def diff(self, request: Request) -> Response:
        """Answer ``GET /api/v1/clusters/{name}/diff?workload=[NAMESPACE/]NAME&revision=REVISION``."""
        if unknown := sorted(request.query_params.keys() - _PARAMETERS):
            raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(_PARAMETERS))}")
        cluster = request.path_params["name"]
        check_cluster(self._control.board, cluster)
        query = request.query_params
        asked = self._control.compare(cluster, query.get("workload", ""), query.get("revision", ""))
        async with AsyncExitStack() as stack:
            differences = await stack.enter_async_context(asked)
            lines = _lines(differences, stack.pop_all())
        return StreamingResponse(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


async def _lines(differences: AsyncIterator[pb.Difference], stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        try:
            async for difference in differences:
                if difference.HasField("object"):
                    yield _line("OBJECT", _object(difference.object))
                else:
                    yield _line("WORKLOAD", _workload(difference.workload))
        except FelloeError as error:
            yield _line("ERROR", status_of(error))
        else:
            yield _line("END", {})


def _object(said: pb.ObjectDifference) -> dict[str, object]:
    identity, workload = object_id_from_proto(said.id), workload_id_from_proto(said.workload)
    return {
        "workload": workload._asdict(),
        "apiVersion": said.api_version,
        "kind": identity.kind,
        "namespace": identity.namespace,
        "name": identity.name,
        "change": CHANGES.get(said.change, "unknown"),
        "message": said.message,
        "diff": said.diff,
    }


def _workload(said: pb.WorkloadDifference) -> dict[str, object]:
    return {
        **workload_id_from_proto(said.id)._asdict(),
        "objects": said.objects,
        "same": said.same,
        "leftOut": said.left_out,
        "message": said.message,
    }


def _line(kind: str, shown: Mapping[str, object]) -> bytes:
    return orjson.dumps({"type": kind, "object": shown}, option=orjson.OPT_APPEND_NEWLINE)
