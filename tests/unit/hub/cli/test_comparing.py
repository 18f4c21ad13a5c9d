"""`felloe diff` shows diffs on stdout, says everything else on stderr, and its exit code is that of kubectl diff."""

from __future__ import annotations

import json

import pytest

from felloe.v1 import bundle_pb2
from felloe.v1 import diff_pb2 as pb
from hub.link.queries import AwayError, QueryError
from tests.unit.hub.api.inmemory import Threaded
from tests.unit.hub.cli.conftest import Felloe

APPS = bundle_pb2.WorkloadId(kind="Kustomization", namespace="flux-system", name="apps")


def changed(name: str, change: pb.Change, *, diff: str = "", message: str = "") -> pb.Difference:
    identity = bundle_pb2.ObjectId(kind="ConfigMap", namespace="shop", name=name)
    said = pb.ObjectDifference(workload=APPS, id=identity, api_version="v1", change=change, diff=diff, message=message)
    return pb.Difference(object=said)


def summary(objects: int, same: int, *, left_out: int = 0, message: str = "") -> pb.Difference:
    said = pb.WorkloadDifference(id=APPS, objects=objects, same=same, left_out=left_out, message=message)
    return pb.Difference(workload=said)


def answers(hub: Threaded, *differences: pb.Difference) -> None:
    hub.do(lambda h: setattr(h, "differences", list(differences)))


def test_no_difference_prints_nothing_and_is_0(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, summary(3, 3, message="it is suspended"))
    done = felloe("diff", "--cluster", "dev-1", "--workload", "apps", "--revision", "main")
    assert (done.code, done.out, done.err) == (0, "", "3 objects: no differences\n")
    assert hub.hub.calls[0] == ("diff", "dev-1", "apps", "main")


def test_differences_are_1(hub: Threaded, felloe: Felloe) -> None:
    answers(
        hub,
        changed("a", pb.CHANGE_UPDATE, diff="--- LIVE/a\n+++ MERGED/a\n-x\n+y\x1b[31m\n"),
        changed("b", pb.CHANGE_SKIPPED, message="it is left alone"),
        changed("c", pb.CHANGE_CREATE, diff="+c\n", message="as it is in Git"),
        summary(9, 2, left_out=4, message="it is suspended"),
    )
    done = felloe("diff", "--cluster", "dev-1")
    assert done.code == 1
    assert done.out == "--- LIVE/a\n+++ MERGED/a\n-x\n+y\ufffd[31m\n+c\n"
    assert done.err.splitlines() == [
        "skipped: Kustomization/flux-system/apps: ConfigMap/shop/b: it is left alone",
        "note: Kustomization/flux-system/apps: ConfigMap/shop/c: as it is in Git",
        "note: Kustomization/flux-system/apps: it is suspended",
        "note: Kustomization/flux-system/apps: 4 more objects were not compared: use --workload",
        "9 objects: 1 to create, 1 to change",
    ]


def test_what_is_only_skipped_is_no_difference(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, changed("b", pb.CHANGE_SKIPPED, message="it is left alone"), summary(1, 0))
    assert felloe("diff", "--cluster", "dev-1").code == 0


def test_json_is_one_document(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, changed("a", pb.CHANGE_DELETE, diff="-a\n"), summary(1, 0))
    done = felloe("diff", "--cluster", "dev-1", "-o", "json")
    told = json.loads(done.out)
    assert done.code == 1
    assert [(item["name"], item["change"], item["diff"]) for item in told["items"]] == [("a", "delete", "-a\n")]
    assert told["workloads"][0]["objects"] == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (AwayError("cluster dev-1 is not connected"), "error: cluster dev-1 is not connected"),
        (QueryError("the spoke went away"), "error: the spoke went away"),
    ],
)
def test_errors_are_2(hub: Threaded, felloe: Felloe, error: QueryError, says: str) -> None:
    answers(hub, changed("a", pb.CHANGE_UPDATE, diff="-x\n"))
    hub.do(lambda h: setattr(h, "diff_error", error))
    done = felloe("diff", "--cluster", "dev-1")
    assert done.code == 2
    assert says in done.err


def test_an_object_that_can_not_be_compared_is_2(hub: Threaded, felloe: Felloe) -> None:
    answers(
        hub, changed("a", pb.CHANGE_UPDATE, diff="-x\n"), changed("b", pb.CHANGE_FAILED, message="no"), summary(2, 0)
    )
    done = felloe("diff", "--cluster", "dev-1")
    assert done.code == 2
    assert "error: Kustomization/flux-system/apps: ConfigMap/shop/b: no\n" in done.err
    assert done.err.endswith("2 objects: 1 to change, 1 not comparable\n")


def test_the_cluster_has_to_be_named(felloe: Felloe) -> None:
    done = felloe("diff")
    assert done.code == 2
    assert "--cluster" in done.err
