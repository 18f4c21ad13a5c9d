"""`felloe adopt flux`: nothing is done that was not shown and wished for."""

from __future__ import annotations

import json

import pytest

from felloe.v1 import adopt_pb2 as pb
from felloe.v1 import bundle_pb2
from tests.unit.hub.api.inmemory import Threaded
from tests.unit.hub.cli.conftest import Felloe

APPS = bundle_pb2.WorkloadId(kind="Kustomization", namespace="flux-system", name="apps")
OLD = bundle_pb2.ObjectId(group="apps", kind="Deployment", namespace="shop", name="old")
PLAN = [
    pb.FluxAnswer(row=pb.FluxRow(namespace="flux-system", name="root", fate="adopt", own=2)),
    pb.FluxAnswer(
        row=pb.FluxRow(namespace="flux-system", name="apps", fate="adopt", workloads=[APPS], moving=3, left=[OLD])
    ),
    pb.FluxAnswer(row=pb.FluxRow(namespace="flux-system", name="other", fate="stays", why="Felloe has no workload")),
    pb.FluxAnswer(unmatched=bundle_pb2.WorkloadId(kind="Kustomization", namespace="flux-system", name="new")),
]
Action = pb.FluxAdoption


@pytest.fixture
def planned(hub: Threaded) -> Threaded:
    hub.do(lambda h: h.adoption.extend(PLAN))
    return hub


def test_what_it_would_do_is_shown_and_nothing_is_done(planned: Threaded, felloe: Felloe) -> None:
    done = felloe("adopt", "flux", "--cluster", "dev-1")
    assert done.code == 0
    rows = [line.split(maxsplit=4) for line in done.out.splitlines()]
    assert ["flux-system/apps", "flux-system/apps", "3", "1", "is taken over"] in rows
    for shown in (
        "is taken over (2 objects of Flux itself stay)",
        "stays with Flux: Felloe has no workload",
        "Deployment.apps shop/old",
        "--leftovers keep",
        "flux-system/new",
    ):
        assert shown in done.out
    assert "--yes" in done.err
    assert [call[2] for call in planned.hub.calls] == [Action.ACTION_PLAN]


def test_yes_does_it_as_wished(planned: Threaded, felloe: Felloe) -> None:
    done = felloe("adopt", "flux", "--cluster", "dev-1", "--yes", "--leftovers", "keep", "--frozen")
    assert (done.code, done.out.splitlines()[-1]) == (0, "taken over: flux-system/apps")
    assert planned.hub.calls == [
        ("adopt", "dev-1", Action.ACTION_PLAN, Action.LEFTOVERS_UNSPECIFIED, True),
        ("adopt", "dev-1", Action.ACTION_ADOPT, Action.LEFTOVERS_KEEP, True),
    ]


def test_undo_asks_for_another_plan_and_another_act(planned: Threaded, felloe: Felloe) -> None:
    assert felloe("adopt", "flux", "--cluster", "dev-1", "--undo", "--yes").code == 0
    assert [call[2] for call in planned.hub.calls] == [Action.ACTION_UNDO_PLAN, Action.ACTION_UNDO]


def test_json_is_the_plan_or_what_was_done_and_nothing_else(planned: Threaded, felloe: Felloe) -> None:
    plan = json.loads(felloe("adopt", "flux", "--cluster", "dev-1", "-o", "json").out)
    assert [row["name"] for row in plan["rows"]] == ["root", "apps", "other"]
    assert plan["rows"][1]["left"] == [{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "old"}]
    assert plan["unmatched"] == [{"kind": "Kustomization", "namespace": "flux-system", "name": "new"}]
    done = json.loads(felloe("adopt", "flux", "--cluster", "dev-1", "--yes", "-o", "json").out)
    assert done["done"] == "taken over: flux-system/apps"


def test_a_cluster_that_is_not_there(planned: Threaded, felloe: Felloe) -> None:
    done = felloe("adopt", "flux", "--cluster", "nowhere", "--yes")
    assert done.code == 1
    assert "nowhere" in done.err
    assert not planned.hub.calls
