"""``GET /api/v1/clusters/{name}/explain/…``: why a cluster gets what a Placement places; whence a variable's value."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felloe.identity import WorkloadId
from hub.api.control import Control
from hub.api.errors import ApiError
from hub.api.lists import check_cluster
from hub.fleet.schema import did_you_mean
from hub.targeting.explaining import Subject, explain_placement, explain_variable


class Explanations:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def placement(self, request: Request) -> Response:
        """Answer ``GET /api/v1/clusters/{name}/explain/placements/{placement}``."""
        subject, name = self._subject(request), request.path_params["placement"]
        placement = subject.fleet.placements.get(name)
        if placement is None:
            raise ApiError(404, f"there is no Placement {name!r}; {did_you_mean(name, subject.fleet.placements)}")
        found = explain_placement(placement, subject)
        return JSONResponse(
            {
                "kind": "PlacementExplanation",
                "placement": found.placement,
                "cluster": found.cluster,
                "selected": found.selected,
                "checks": [asdict(check) for check in found.checks],
                "overrides": [
                    {
                        "field": f"spec.overrides[{each.position}]",
                        "applies": each.applies,
                        "checks": [asdict(check) for check in each.checks],
                        "changes": list(each.changes),
                    }
                    for each in found.overrides
                ],
                "workloads": [workload._asdict() for workload in found.workloads],
                "notes": list(found.notes),
            }
        )

    async def variable(self, request: Request) -> Response:
        """Answer ``GET /api/v1/clusters/{name}/explain/variables/{variable}?workload=[NAMESPACE/]NAME``."""
        subject = self._subject(request)
        asked = request.query_params.get("workload", "")
        workload = _workload(subject, asked) if asked else None
        found = explain_variable(request.path_params["variable"], subject, workload)
        return JSONResponse(
            {
                "kind": "VariableExplanation",
                "variable": found.variable,
                "cluster": found.cluster,
                "workload": workload._asdict() if workload else None,
                "value": found.value,
                "chain": [asdict(one) for one in found.chain],
                "notes": list(found.notes),
            }
        )

    def _subject(self, request: Request) -> Subject:
        cluster = request.path_params["name"]
        check_cluster(self._control.board, cluster)
        return self._control.subject(cluster)


def _workload(subject: Subject, named: str) -> WorkloadId:
    """Return the workload of a cluster, or of a Placement that may give it to it, that a name means."""
    namespace, _, name = named.rpartition("/")
    known: set[WorkloadId] = {*(subject.plan.by_id if subject.plan else ()), *_placed(subject)}
    found = sorted(each for each in known if each.name == name and namespace in {"", each.namespace})
    if not found:
        raise ApiError(404, f"cluster {subject.name!r} has no workload {named!r}")
    if len(found) > 1:
        raise ApiError(409, f"{named!r} is the name of several workloads ({', '.join(map(str, found))}): say which")
    return found[0]


def _placed(subject: Subject) -> set[WorkloadId]:
    return {workload for placement in subject.fleet.placements.values() for workload in placement.workloads}
