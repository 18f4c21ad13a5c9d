"""Taking a cluster over from Flux: what it would do (GET), and to do or undo it (POST)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felloe.bundle import object_id_from_proto, workload_id_from_proto
from felloe.v1 import adopt_pb2 as pb
from hub.api.auth import who
from hub.api.body import read_object, reason_of
from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.lists import check_cluster

_LEFTOVERS: Final[Mapping[str, pb.FluxAdoption.Leftovers]] = {
    "": pb.FluxAdoption.LEFTOVERS_UNSPECIFIED,
    "keep": pb.FluxAdoption.LEFTOVERS_KEEP,
    "prune": pb.FluxAdoption.LEFTOVERS_PRUNE,
}
_PARAMETERS: Final = frozenset({"undo", "frozen"})
_NO_STORE: Final = {"Cache-Control": "no-store"}


class Adoption:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def plan(self, request: Request) -> Response:
        """Answer ``GET /api/v1/clusters/{name}/adopt/flux?undo=true&frozen=true``: what would be done."""
        if unknown := sorted(request.query_params.keys() - _PARAMETERS):
            raise ApiError(400, f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(_PARAMETERS))}")
        undo, frozen = (_switch(request.query_params.get(name, "false"), name) for name in ("undo", "frozen"))
        action = pb.FluxAdoption.ACTION_UNDO_PLAN if undo else pb.FluxAdoption.ACTION_PLAN
        answers = await self._ask(request, pb.FluxAdoption(action=action, frozen=frozen))
        return JSONResponse(_shown(answers), headers=_NO_STORE)

    async def act(self, request: Request) -> Response:
        """Answer ``POST /api/v1/clusters/{name}/adopt/flux`` [{undo, frozen, leftovers, reason}] once it is done."""
        body = await read_object(request, frozenset({"undo", "frozen", "leftovers", "reason"}))
        undo, frozen = (body.get(name, False) for name in ("undo", "frozen"))
        leftovers = body.get("leftovers", "")
        for name, value in (("undo", undo), ("frozen", frozen)):
            if not isinstance(value, bool):
                raise ApiError(422, f"{name}: must be true or false")
        if not isinstance(leftovers, str) or leftovers not in _LEFTOVERS:
            raise ApiError(422, "leftovers: must be keep or prune")
        asked = pb.FluxAdoption(
            action=pb.FluxAdoption.ACTION_UNDO if undo else pb.FluxAdoption.ACTION_ADOPT,
            leftovers=_LEFTOVERS[leftovers],
            frozen=bool(frozen),
        )
        return JSONResponse(_shown(await self._ask(request, asked, reason_of(body))), headers=_NO_STORE)

    async def _ask(self, request: Request, asked: pb.FluxAdoption, reason: str = "") -> Iterable[pb.FluxAnswer]:
        cluster = request.path_params["name"]
        check_cluster(self._control.board, cluster)
        return await self._control.adopt_flux(cluster, asked, who=who(request), reason=reason)


def _switch(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise ApiError(400, f"{name}: must be true or false, not {text!r}")
    return text == "true"


def _shown(answers: Iterable[pb.FluxAnswer]) -> dict[str, object]:
    rows: list[object] = []
    unmatched: list[object] = []
    done = ""
    for answer in answers:
        match answer.WhichOneof("answer"):
            case "row":
                rows.append(_row(answer.row))
            case "unmatched":
                unmatched.append(workload_id_from_proto(answer.unmatched)._asdict())
            case "done":
                done = answer.done
    return {"kind": "FluxAdoption", "apiVersion": "v1", "rows": rows, "unmatched": unmatched, "done": done}


def _row(row: pb.FluxRow) -> dict[str, object]:
    return {
        "namespace": row.namespace,
        "name": row.name,
        "fate": row.fate,
        "why": row.why,
        "revision": row.revision,
        "workloads": [workload_id_from_proto(workload)._asdict() for workload in row.workloads],
        "moving": row.moving,
        "left": [object_id_from_proto(identity)._asdict() for identity in row.left],
        "own": row.own,
    }
