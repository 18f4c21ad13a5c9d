"""What the hub asks about taking a cluster over, and what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from google.protobuf.message import DecodeError

from felloe.bundle import object_id_to_proto, workload_id_to_proto
from felloe.errors import LinkError
from felloe.v1 import adopt_pb2 as pb
from spoke.adopt.adoption import Adoption, Decision
from spoke.adopt.plan import Plan, Row

_LEFTOVERS = {pb.FluxAdoption.LEFTOVERS_KEEP: False, pb.FluxAdoption.LEFTOVERS_PRUNE: True}


async def answer(adoption: Adoption, question: bytes) -> AsyncGenerator[bytes, None]:
    """Yield the plan, row by row, or in one sentence what was done. Raise AdoptionError, KubernetesError, LinkError."""
    try:
        asked = pb.FluxAdoption.FromString(question)
    except DecodeError as error:
        raise LinkError("the question about adoption can't be read: bring hub and spoke to the same version") from error
    decision = Decision(prune=_LEFTOVERS.get(asked.leftovers), frozen=asked.frozen)
    match asked.action:
        case pb.FluxAdoption.ACTION_PLAN:
            messages = _told(await adoption.plan(decision))
        case pb.FluxAdoption.ACTION_UNDO_PLAN:
            messages = _told(await adoption.undo_plan())
        case pb.FluxAdoption.ACTION_ADOPT:
            messages = iter([pb.FluxAnswer(done=await adoption.adopt(decision))])
        case pb.FluxAdoption.ACTION_UNDO:
            messages = iter([pb.FluxAnswer(done=await adoption.undo())])
        case _:
            raise LinkError("the hub asks for something about adoption that this spoke does not know: update it")
    for message in messages:
        yield message.SerializeToString()


def _told(plan: Plan) -> Iterator[pb.FluxAnswer]:
    for row in plan.rows:
        yield pb.FluxAnswer(row=_row(row))
    for workload in plan.unmatched:
        yield pb.FluxAnswer(unmatched=workload_id_to_proto(workload))


def _row(row: Row) -> pb.FluxRow:
    return pb.FluxRow(
        namespace=row.flux.name.namespace,
        name=row.flux.name.name,
        fate=row.fate.value,
        why=row.why,
        revision=row.flux.revision,
        workloads=[workload_id_to_proto(workload) for workload in row.workloads],
        moving=len(row.moving or {}),
        left=[object_id_to_proto(identity) for identity in row.left],
        own=row.own,
    )
