from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from felloe.identity import WorkloadId
from felloe.v1 import bundle_pb2
from felloe.v1 import status_pb2 as pb
from hub.status.clusters import ClusterView, applied_root, build_cluster
from hub.status.facts import ClusterFacts, Condition, Connection, EnvironmentFacts, SourceFacts, WorkloadFacts
from hub.status.members import build_environment, build_source
from hub.status.resource import Key, Resource
from hub.status.revisions import Revisions

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
APPS = WorkloadId("Kustomization", "flux-system", "apps")
INFRA = WorkloadId("Kustomization", "flux-system", "infra")
OLD, NEW, ROOT, OLD_ROOT = b"o" * 32, b"n" * 32, b"r" * 32, b"q" * 32


def stamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def said(
    identity: WorkloadId = APPS,
    digest: bytes = NEW,
    *,
    applied: bytes = NEW,
    healthy: bytes = NEW,
    ready: bool = True,
    message: str = "Applied revision",
) -> pb.WorkloadStatus:
    status = pb.CONDITION_STATUS_TRUE if ready else pb.CONDITION_STATUS_FALSE
    return pb.WorkloadStatus(
        id=bundle_pb2.WorkloadId(kind=identity.kind, namespace=identity.namespace, name=identity.name),
        digest=digest,
        applied_digest=applied,
        healthy_digest=healthy,
        conditions=[
            pb.Condition(type=kind, status=status, reason="Said", message=message, last_transition_time=stamp(NOW))
            for kind in ("Ready", "Healthy")
        ],
        objects=3,
    )


def wanted(identity: WorkloadId = APPS, digest: bytes | None = NEW, **more: object) -> WorkloadFacts:
    return WorkloadFacts(identity, digest, "main@sha1:new", **more)  # type: ignore[arg-type]


def cluster(*workloads: WorkloadFacts, reported: pb.ClusterStatus | None = None, **more: object) -> ClusterFacts:
    given: dict[str, object] = {
        "labels": {"env": "dev"},
        "joined": True,
        "root": ROOT,
        "revision": "main@sha1:new",
        "connection": Connection(connected=True, since=NOW),
    }
    return ClusterFacts("shop-1", workloads=workloads, reported=reported, **(given | more))  # type: ignore[arg-type]


def report(*workloads: pb.WorkloadStatus, root: bytes = ROOT) -> pb.ClusterStatus:
    return pb.ClusterStatus(root=root, full=True, workloads=workloads)


def view(facts: ClusterFacts, previous: Mapping[Key, Resource] | None = None, now: datetime = NOW) -> ClusterView:
    return build_cluster(facts, previous or {}, now)


def ready(resource: Resource) -> tuple[str, str]:
    condition = resource.condition("Ready")
    assert condition is not None
    return condition.status, condition.reason


def test_what_a_spoke_says_counts_for_the_digest_it_says_it_about() -> None:
    (workload,) = view(cluster(wanted(), reported=report(said()))).workloads
    assert ready(workload) == ("True", "Said")
    assert workload.status["lastAppliedRevision"] == "main@sha1:new"
    assert workload.status["applied"] is True
    assert workload.status["healthy"] is True


@pytest.mark.parametrize("was_ready", [True, False])
def test_health_from_before_the_commit_is_no_health_of_the_commit(was_ready: bool) -> None:
    old = said(digest=OLD, applied=OLD, healthy=OLD, ready=was_ready)
    shown = view(cluster(wanted(known_revisions={OLD: "main@sha1:old"}), reported=report(old, root=OLD_ROOT)))
    (workload,) = shown.workloads
    assert ready(workload) == ("Unknown", "Progressing")
    healthy = workload.condition("Healthy")
    assert healthy is not None
    assert healthy.status == "Unknown"
    assert workload.status["lastAppliedRevision"] == "main@sha1:old"
    assert workload.status["applied"] is False
    assert ready(shown.cluster) == ("Unknown", "Progressing")


def test_a_failed_build_overrides_what_the_spoke_says_of_the_kept_state() -> None:
    refused = Condition("Ready", "False", "BuildFailed", "apps/kustomization.yaml: no such file")
    workload_facts = wanted(attempted_revision="main@sha1:broken", kept_previous=True, conditions=(refused,))
    shown = view(cluster(workload_facts, reported=report(said())))
    (workload,) = shown.workloads
    assert ready(workload) == ("False", "BuildFailed")
    assert workload.status["lastAppliedRevision"] == "main@sha1:new"
    assert workload.status["lastAttemptedRevision"] == "main@sha1:broken"
    assert workload.status["applied"] is False
    condition = shown.cluster.condition("Ready")
    assert condition is not None
    assert (condition.status, condition.message) == (
        "False",
        "flux-system/apps: apps/kustomization.yaml: no such file",
    )


def test_notes_and_conditions_of_the_hub_stand_beside_those_of_the_spoke() -> None:
    own = Condition("NotSupported", "True", "FieldNotSupported", "spec.patches: not supported yet")
    (workload,) = view(cluster(wanted(conditions=(own,), notes=("a note",)), reported=report(said()))).workloads
    assert [one.type for one in workload.conditions] == ["Ready", "Healthy", "NotSupported"]
    assert workload.status["notes"] == ["a note"]


def test_failing_objects_are_told_with_the_api_servers_words() -> None:
    status = said(ready=False, message="1 object failed")
    status.problems.append(
        pb.ObjectProblem(
            id=bundle_pb2.ObjectId(group="apps", kind="Deployment", namespace="shop", name="web"),
            reason="ApplyFailed",
            message="spec.replicas: Invalid value",
        )
    )
    shown = view(cluster(wanted(), reported=report(status)))
    problems = shown.workloads[0].status["problems"]
    assert isinstance(problems, list)
    assert problems[0]["object"] == "Deployment.apps shop/web"
    assert problems[0]["message"] == "spec.replicas: Invalid value"
    assert ready(shown.cluster) == ("False", "WorkloadsFailing")


def test_a_workload_that_is_no_longer_wanted_is_shown_until_the_spoke_removed_it() -> None:
    both = report(said(), said(INFRA))
    shown = view(cluster(wanted(), reported=both))
    assert [(one.name, ready(one)) for one in shown.workloads] == [
        ("apps", ("True", "Said")),
        ("infra", ("Unknown", "Removing")),
    ]
    assert applied_root(cluster(wanted(), reported=both)) is None


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"joined": False}, "NotJoined"),
        ({"connection": Connection()}, "Disconnected"),
        ({"root": None}, "Pending"),
        ({"conditions": (Condition("Ready", "False", "FleetInvalid", "fleet/a.yaml: broken"),)}, "FleetInvalid"),
    ],
)
def test_why_a_cluster_is_not_ready(more: dict[str, object], reason: str) -> None:
    assert ready(view(cluster(reported=report(), **more)).cluster)[1] == reason


def test_a_cluster_has_a_revision_only_once_all_of_its_root_is_applied() -> None:
    facts = (wanted(), wanted(INFRA, OLD))
    half = report(said(), said(INFRA, OLD, applied=NEW, healthy=NEW))
    whole = report(said(), said(INFRA, OLD, applied=OLD, healthy=OLD))
    assert view(cluster(*facts, reported=half)).cluster.status["revision"] == ""
    shown = view(cluster(*facts, reported=whole)).cluster
    assert shown.status["revision"] == "main@sha1:new"
    assert shown.status["root"] == ROOT.hex()
    assert ready(shown) == ("True", "Applied")


def test_while_between_two_revisions_the_last_known_one_is_shown() -> None:
    before = view(cluster(wanted(), reported=report(said())))
    previous = {one.key: one for one in before.resources}
    moved = cluster(wanted(digest=OLD), reported=report(said(), root=OLD_ROOT), root=b"x" * 32, revision="main@sha1:3")
    shown = view(moved, previous)
    assert shown.cluster.status["revision"] == "main@sha1:new"
    assert shown.workloads[0].status["lastAppliedRevision"] == "main@sha1:new"
    known = cluster(
        wanted(digest=OLD),
        reported=report(said(), root=OLD_ROOT),
        root=b"x" * 32,
        known_revisions={OLD_ROOT: "main@sha1:2"},
    )
    assert view(known, previous).cluster.status["revision"] == "main@sha1:2"


def test_the_moments_of_a_delivery_are_told_exactly() -> None:
    status = said()
    status.received_at.CopyFrom(stamp(NOW))
    status.applied_at.CopyFrom(stamp(NOW + timedelta(microseconds=1500)))
    (workload,) = view(cluster(wanted(), reported=report(status))).workloads
    assert workload.status["receivedAt"] == "2026-01-02T03:04:05.000000Z"
    assert workload.status["appliedAt"] == "2026-01-02T03:04:05.001500Z"
    assert "healthyAt" not in workload.status


def test_a_suspended_workload_keeps_no_cluster_from_being_ready() -> None:
    facts = cluster(wanted(), wanted(INFRA, OLD, suspended=True), reported=report(said()))
    shown = view(facts)
    assert ready(shown.workloads[1]) == ("Unknown", "Suspended")
    assert ready(shown.cluster) == ("True", "Applied")
    condition = shown.cluster.condition("Ready")
    assert condition is not None
    assert condition.message.endswith(f"; suspended: {INFRA.namespace}/{INFRA.name}"), "it is at another revision"


def test_the_time_of_a_transition_moves_with_the_status_only() -> None:
    def at(facts: ClusterFacts, previous: ClusterView | None, now: datetime) -> ClusterView:
        return view(facts, {one.key: one for one in previous.resources} if previous else {}, now)

    away = cluster(wanted(), reported=report(said()), connection=Connection())
    first = at(away, None, NOW)
    later = NOW + timedelta(hours=1)
    still = at(away, first, later)
    back = at(cluster(wanted(), reported=report(said())), still, later)
    times = [one.cluster.condition("Ready") for one in (first, still, back)]
    assert [one.since for one in times if one] == [NOW, NOW, later]


def test_the_newest_revision_of_a_digest_wins_and_the_oldest_digest_is_forgotten() -> None:
    revisions: Revisions[str] = Revisions(depth=2)
    revisions.note("shop-1", OLD, "1")
    revisions.note("shop-1", NEW, "2")
    revisions.note("shop-1", OLD, "3")
    revisions.note("shop-1", ROOT, "4")
    assert dict(revisions.known("shop-1")) == {OLD: "3", ROOT: "4"}
    revisions.forget("shop-1")
    assert not revisions.known("shop-1")


def test_json_is_shaped_as_kubernetes_has_it() -> None:
    shown = view(cluster(wanted(), reported=report(said()))).cluster.as_json(7)
    assert shown["apiVersion"] == "fleet.felloe.io/v1alpha1"
    assert shown["metadata"] == {"name": "shop-1", "labels": {"env": "dev"}, "resourceVersion": "7"}
    status = shown["status"]
    assert isinstance(status, dict)
    assert status["conditions"] == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Applied",
            "message": "1 workload at main@sha1:new",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ]


def test_a_source_that_was_never_fetched_and_an_environment_that_sums_up_its_clusters() -> None:
    source = build_source(SourceFacts("GitRepository", "flux-system", "fleet", "https://git.example.com/f"), {}, NOW)
    assert ready(source) == ("Unknown", "Pending")
    failing = view(cluster(wanted(), reported=report(said(ready=False)))).cluster
    facts = EnvironmentFacts("dev", clusters=("shop-1",))
    environment = build_environment(facts, {"shop-1": failing}, {}, NOW)
    assert ready(environment) == ("False", "ClustersFailing")
    assert environment.status["readyClusters"] == 0


def test_a_spoke_can_not_make_up_conditions() -> None:
    told = said()
    told.conditions.add(type="MadeUp", status=pb.CONDITION_STATUS_TRUE)
    (workload,) = view(cluster(wanted(), reported=report(told))).workloads
    assert [one.type for one in workload.conditions] == ["Ready", "Healthy"]


def test_a_deletion_that_waits_says_how_to_approve_it() -> None:
    waiting = said(applied=OLD, ready=False, message="12 of 15 objects would be deleted")
    waiting.conditions[0].reason = "PruneNeedsApproval"
    waiting.pending_prune.MergeFrom(pb.PendingPrune(name="abc", count=12, total=15))
    command = "felloe approve prune --cluster shop-1 --workload flux-system/apps"
    (kept,) = view(cluster(wanted(), reported=report(waiting))).workloads
    ready = kept.condition("Ready")
    assert ready
    assert (ready.reason, ready.message) == (
        "PruneNeedsApproval",
        f"12 of 15 objects would be deleted; if that is meant: {command}",
    )
    assert kept.status["pendingPrune"] == {"name": "abc", "count": 12, "total": 15, "objects": []}
    (leaving,) = view(cluster(reported=report(waiting))).workloads
    gone = leaving.condition("Ready")
    assert gone
    assert (gone.status, gone.message) == ("False", f"no longer wanted; {ready.message}")
    (newer,) = view(cluster(wanted(digest=b"x" * 32), reported=report(waiting))).workloads
    assert "pendingPrune" not in newer.status
