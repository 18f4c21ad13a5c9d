"""One answer for a workload."""

from __future__ import annotations

from itertools import permutations

from spoke.health import Health, HealthStatus, combine

FINE = Health(HealthStatus.CURRENT, "Current", "3 of 3 replicas available")
ROLLING = Health(HealthStatus.IN_PROGRESS, "LessAvailable", "2 of 3 replicas available")
BROKEN = Health(HealthStatus.FAILED, "BackoffLimitExceeded", "the Job failed")
GONE = Health(HealthStatus.NOT_FOUND, "NotFound", "not found in the cluster")


def test_statuses_are_ordered_from_best_to_worst() -> None:
    assert min(HealthStatus) is HealthStatus.CURRENT
    assert max(HealthStatus) is HealthStatus.FAILED
    assert HealthStatus.CURRENT < HealthStatus.IN_PROGRESS < HealthStatus.NOT_FOUND < HealthStatus.FAILED


def test_all_healthy() -> None:
    assert combine({"a": FINE, "b": FINE}.items()) == Health(HealthStatus.CURRENT, "Healthy", "2 of 2 objects healthy")


def test_no_objects_are_healthy() -> None:
    assert combine([]).status is HealthStatus.CURRENT


def test_the_worst_comes_first_in_any_order() -> None:
    objects = [("Deployment.apps shop/web", ROLLING), ("Job.batch shop/migrate", BROKEN), ("Service shop/web", FINE)]
    expected = Health(
        HealthStatus.FAILED,
        "BackoffLimitExceeded",
        "Job.batch shop/migrate: the Job failed; Deployment.apps shop/web: 2 of 3 replicas available",
    )
    assert {combine(order) for order in permutations(objects)} == {expected}


def test_three_are_named_and_the_rest_counted() -> None:
    health = combine([(name, ROLLING) for name in "edcba"] + [("z", GONE)])
    assert health.status is HealthStatus.NOT_FOUND
    assert [part.partition(":")[0] for part in health.message.split("; ")] == ["z", "a", "b", "and 3 more"]
