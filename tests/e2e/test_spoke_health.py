"""Waiting for health, and for other workloads."""

from __future__ import annotations

import pytest

from felloe.bundle import ApplyOptions, Dependency, HealthCheck
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, condition, ready
from tests.spoke.manifests import Manifest, Wanted, config_map, deployment, namespace, workload_id

pytestmark = pytest.mark.cluster

WAIT = ApplyOptions(prune=True, wait=True, timeout=60)


def stuck(namespace: str, name: str) -> Manifest:
    """Return a Deployment whose pod no node has room for."""
    return deployment(namespace, name, cpu="4000")


async def test_wait_is_over_when_the_deployment_is_ready(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("ready"), deployment("ready", "web")], WAIT))
    waiting = await spoke.until("apps", lambda status: ready(status)[1] == "Progressing", "waits")
    assert not waiting.healthy_digest
    status = await spoke.until_applied("apps")
    assert status.healthy_digest == spoke.digest("apps")
    assert condition(status, "Healthy")[:2] == ("True", "Healthy")
    found = admin.get("apps/v1", "Deployment", "web", "ready")
    assert found
    assert found["status"]["availableReplicas"] == 1


async def test_a_wait_that_takes_too_long_names_the_object_and_ends_when_it_is_healthy(
    spoke: Spoke, admin: Admin
) -> None:
    short = ApplyOptions(prune=True, wait=True, timeout=1.0)
    spoke.want(Wanted("apps", [namespace("stuck"), stuck("stuck", "web")], short))
    status = await spoke.until("apps", lambda status: ready(status)[1] == "HealthCheckFailed", "fails")
    assert "not healthy after 1s: Deployment.apps stuck/web" in ready(status)[2]
    assert status.applied_digest == spoke.digest("apps")
    assert not status.healthy_digest
    assert [(problem.id.name, problem.reason) for problem in status.problems] == [("web", "InProgress")]
    spoke.want(Wanted("apps", [namespace("stuck"), deployment("stuck", "web")], short))
    assert (await spoke.until_applied("apps")).healthy_digest == spoke.digest("apps")


async def test_a_newer_bundle_ends_a_wait(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("preempt"), stuck("preempt", "web")], ApplyOptions(wait=True, timeout=3600)))
    await spoke.until("apps", lambda status: bool(status.applied_digest), "applied")
    spoke.want(Wanted("apps", [namespace("preempt"), deployment("preempt", "web")], WAIT))
    await spoke.until_applied("apps")


async def test_without_wait_health_is_told_and_ready_does_not_depend_on_it(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("told"), stuck("told", "web")], ApplyOptions(prune=True)))
    status = await spoke.until_applied("apps")
    assert condition(status, "Healthy")[:2] == ("Unknown", "Progressing")
    assert not status.healthy_digest


async def test_health_checks_look_at_the_named_objects_also_at_those_of_others(spoke: Spoke, admin: Admin) -> None:
    checks = (
        HealthCheck("v1", "ConfigMap", "checks", "signal"),
        HealthCheck("apps/v1", "Deployment", "checks", "web"),
    )
    options = ApplyOptions(prune=True, health_checks=checks, timeout=60)
    spoke.want(Wanted("apps", [namespace("checks"), deployment("checks", "web"), stuck("checks", "other")], options))
    status = await spoke.until(
        "apps", lambda status: [problem.id.name for problem in status.problems] == ["signal", "other"], "waits"
    )
    assert ready(status)[:2] == ("Unknown", "Progressing")
    assert "ConfigMap checks/signal" in ready(status)[2]
    admin.create(config_map("checks", "signal"))
    status = await spoke.until_applied("apps")
    assert status.healthy_digest == spoke.digest("apps")
    assert [problem.id.name for problem in status.problems] == ["other"]


async def test_a_dependent_workload_waits_for_the_newest_state_of_the_other(spoke: Spoke, admin: Admin) -> None:
    after = ApplyOptions(prune=True, depends_on=(Dependency(workload_id("first")),))
    first = Wanted("first", [namespace("deps"), stuck("deps", "web")], ApplyOptions(wait=True, timeout=3600))
    spoke.want(first, Wanted("second", [config_map("deps", "a", k="1")], after))
    status = await spoke.until("second", lambda status: ready(status)[1] == "DependencyNotReady", "waits")
    assert "Kustomization/flux-system/first is not ready" in ready(status)[2]
    assert admin.config_map("deps", "a") is None
    healthy = Wanted("first", [namespace("deps"), deployment("deps", "web")], WAIT)
    spoke.want(healthy, Wanted("second", [config_map("deps", "a", k="1")], after))
    await spoke.until_applied("second")
    spoke.want(first, Wanted("second", [config_map("deps", "a", k="2")], after))
    await spoke.until("second", lambda status: ready(status)[1] == "DependencyNotReady", "waits again")
    assert admin.config_map("deps", "a")["data"] == {"k": "1"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("depends_on", "message"),
    [("nobody", "Kustomization/flux-system/nobody not found"), ("apps", "Kustomization/flux-system/apps is not ready")],
)
async def test_an_impossible_dependency_is_told(spoke: Spoke, admin: Admin, depends_on: str, message: str) -> None:
    spoke.want(Wanted("apps", [namespace("never")], ApplyOptions(depends_on=(Dependency(workload_id(depends_on)),))))
    status = await spoke.until("apps", lambda status: ready(status)[1] == "DependencyNotReady", "waits")
    assert message in ready(status)[2]
