"""Conditions as Flux' users know them."""

from __future__ import annotations

from felloe.digest import Digest
from felloe.identity import ObjectId, WorkloadId
from spoke.apply.standing import (
    FALSE,
    PROBLEMS_AT_MOST,
    TRUE,
    UNKNOWN,
    Failure,
    Standing,
    Verdict,
    healthy,
    problems,
    ready_while_failing,
    status,
)
from spoke.health import Health, HealthStatus


def config(name: str) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", name)


SLOW = Health(HealthStatus.IN_PROGRESS, "LessReplicas", "1 of 2 replicas ready")
BROKEN = Health(HealthStatus.FAILED, "ProgressDeadlineExceeded", "it does not start")


def test_healthy_is_unknown_while_it_may_become_so_and_false_when_the_time_is_up() -> None:
    assert healthy([], 3, overdue=False, timeout=5).status == TRUE
    waiting = healthy([(config("a"), SLOW)], 3, overdue=False, timeout=5)
    assert (waiting.status, waiting.reason) == (UNKNOWN, "Progressing")
    assert waiting.message.startswith("2 of 3 objects healthy")
    late = healthy([(config("a"), SLOW)], 3, overdue=True, timeout=5)
    assert (late.status, late.reason) == (FALSE, "HealthCheckFailed")
    assert "not healthy after 5s: ConfigMap shop/a: 1 of 2 replicas ready" in late.message


def test_one_that_failed_is_not_waited_for() -> None:
    verdict = healthy([(config("a"), SLOW), (config("b"), BROKEN)], 3, overdue=False, timeout=5)
    assert (verdict.status, verdict.reason) == (FALSE, "HealthCheckFailed")


def test_ready_names_what_failed_and_says_where_it_did() -> None:
    build, apply = Failure("BuildFailed", "no value for region"), Failure("ApplyFailed", "denied")
    assert ready_while_failing({config("a"): build}, 2).reason == "BuildFailed"
    assert ready_while_failing({config("a"): Failure("PruneFailed", "denied")}, 2).reason == "PruneFailed"
    verdict = ready_while_failing({config(name): apply for name in "dcba"} | {config("e"): build}, 9)
    assert verdict.reason == "ReconciliationFailed"
    assert verdict.message.startswith("5 of 9 objects failed: ConfigMap shop/a: denied; ConfigMap shop/b: denied;")
    assert verdict.message.endswith("; and 2 more")


def test_the_transition_time_is_of_the_status() -> None:
    standing = Standing(WorkloadId("Kustomization", "flux-system", "apps"))
    standing.set("Ready", Verdict(UNKNOWN, "Progressing", ""), 10)
    standing.set("Ready", Verdict(TRUE, "ReconciliationSucceeded", ""), 20)
    standing.set("Ready", Verdict(TRUE, "ReconciliationSucceeded", "again"), 30)
    assert standing.conditions["Ready"].last_transition_time.seconds == 20
    assert standing.conditions["Ready"].message == "again"


def test_problems_are_the_first_fifty_by_id_and_are_counted() -> None:
    unhealthy = {config(f"{number:03}"): SLOW for number in range(60)}
    found = problems({config("000"): Failure("ApplyFailed", "denied")}, unhealthy)
    message = status(
        Standing(WorkloadId("Kustomization", "flux-system", "apps")),
        digest=Digest(b"d" * 32),
        applied_digest=None,
        applied_at=0,
        objects=60,
        troubles=found,
    )
    assert (len(message.problems), message.problem_count) == (PROBLEMS_AT_MOST, 60)
    assert [(problem.id.name, problem.reason) for problem in message.problems[:2]] == [
        ("000", "ApplyFailed"),
        ("001", "InProgress"),
    ]
    assert not message.HasField("applied_at")
