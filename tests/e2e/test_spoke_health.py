"""Waiting for health, and for other workloads."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from felloe.bundle import ApplyOptions, Dependency, HealthCheck, HealthCheckExpr
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, condition, disturbed, eventually, ready, running
from tests.spoke.manifests import (
    Manifest,
    Wanted,
    config_map,
    custom,
    definition,
    deployment,
    namespace,
    secret,
    workload_id,
)

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


async def test_an_unhealthy_deployment_says_what_its_pod_waits_for(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("why"), stuck("why", "web")], ApplyOptions(prune=True, wait=True, timeout=60)))
    status = await spoke.until("apps", lambda status: "Unschedulable: " in ready(status)[2], "says why")
    name = only_pod(admin, "why")
    assert f"0 of 1 replicas available; pod {name}: Unschedulable: 0/" in ready(status)[2]
    assert "Insufficient cpu" in status.problems[0].message
    waits = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    admin.set_status("Pod", name, "why", {"containerStatuses": [{**container_status(), "state": {"waiting": waits}}]})
    status = await spoke.until("apps", lambda status: "ImagePullBackOff" in ready(status)[2], "says what is new")
    assert f'pod {name}: container main: ImagePullBackOff: Back-off pulling image "x"' in ready(status)[2]
    spoke.want(Wanted("apps", [namespace("why"), deployment("why", "web")], WAIT))
    status = await spoke.until_applied("apps")
    assert not status.problems


async def test_a_job_that_fails_says_how_its_pod_ended(spoke: Spoke, admin: Admin) -> None:
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "job"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": {"nowhere": "yes"},
                    "containers": [{"name": "main", "image": "example.com/app:1"}],
                }
            },
        },
    }
    spoke.want(Wanted("apps", [namespace("job"), job], WAIT))
    await spoke.until("apps", lambda status: "Unschedulable: " in ready(status)[2], "says why")
    ended = {"exitCode": 3, "reason": "Error", "message": "the password is hunter2"}
    admin.set_status(
        "Pod",
        only_pod(admin, "job"),
        "job",
        {"phase": "Failed", "containerStatuses": [{**container_status(), "state": {"terminated": ended}}]},
    )
    status = await spoke.until("apps", lambda status: "exit code 3" in ready(status)[2], "says how it ended")
    assert ready(status)[1] == "HealthCheckFailed"
    assert "backoff limit" in ready(status)[2]
    assert "container main: ended with exit code 3 (Error)" in ready(status)[2]
    assert "FailedScheduling" not in ready(status)[2], "what came before tells nothing of how it ended"
    assert "hunter2" not in str(status)


async def test_what_no_pod_can_be_made_for_tells_its_event(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("quota")]))
    await spoke.until_applied("apps")
    limits = {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": "none", "namespace": "quota"}}
    admin.create({**limits, "spec": {"hard": {"pods": "0"}}})
    web = deployment("quota", "web")
    spec: Any = web["spec"]
    stateful = {**web, "kind": "StatefulSet", "spec": {**spec, "serviceName": "web"}}
    spoke.want(Wanted("apps", [namespace("quota"), stateful], WAIT))
    status = await spoke.until("apps", lambda status: "event FailedCreate: " in ready(status)[2], "says why")
    assert "exceeded quota: none" in ready(status)[2]


async def test_health_that_is_well_costs_no_request(spoke: Spoke, admin: Admin, cluster: ControlPlane) -> None:
    spoke.want(Wanted("apps", [namespace("well"), deployment("well", "web")], WAIT))
    await spoke.until_applied("apps")
    mark = cluster.audit_mark()
    await asyncio.sleep(5)  # longer than the moment after which an unhealthy object is asked about
    assert disturbed(cluster, mark) == []


def expiring_job(namespace: str, seconds: int = 0) -> Manifest:
    """Return a Job whose pod no node takes, so that a test says how it ends, and which the cluster removes then."""
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"nowhere": "yes"},
        "containers": [{"name": "main", "image": "example.com/app:1"}],
    }
    template = {"metadata": {"labels": {"app": "once"}}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": namespace},
        "spec": {"ttlSecondsAfterFinished": seconds, "backoffLimit": 0, "template": template},
    }


async def end(spoke: Spoke, admin: Admin, namespace: str, phase: str) -> None:
    """Have the pod of the expiring Job end, and wait until the cluster has removed the Job."""
    await spoke.until("apps", lambda status: ready(status)[1] == "Progressing" and bool(status.problems), "waits")
    await eventually(lambda: admin.names("v1", "Pod", namespace), "the pod of the Job is there")
    admin.set_status("Pod", only_pod(admin, namespace), namespace, {"phase": phase})
    await eventually(lambda: admin.get("batch/v1", "Job", "once", namespace) is None, "the Job is gone")


async def test_a_job_gone_by_its_ttl_stays_healthy(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("ttl"), expiring_job("ttl")], WAIT))
    await end(spoke, admin, "ttl", "Succeeded")
    await spoke.until("apps", lambda status: spoke.applied("apps") and not status.problems, "applied, without problems")
    assert admin.get("batch/v1", "Job", "once", "ttl") is None


async def test_a_job_that_failed_stays_a_failure_when_it_is_gone_by_its_ttl_until_it_is_run_again(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    apps = Wanted("apps", [namespace("failed"), expiring_job("failed")], replace(WAIT, drift="warn"))
    for begun in (True, False):
        async with running(cluster.kubeconfig, tmp_path / str(begun)) as spoke:
            spoke.want(apps)
            if begun:
                await end(spoke, admin, "failed", "Failed")
            status = await spoke.until("apps", lambda status: "it is gone" in ready(status)[2], "tells the failure")
            assert ready(status)[:2] == ("False", "HealthCheckFailed")
            assert [problem.reason for problem in status.problems] == ["Failed"]
            assert not [event for event in spoke.events if event.reason == "DriftDetected"]
            if not begun:
                spoke.want(replace(apps, options=replace(apps.options, requested_at="now")))
                await end(spoke, admin, "failed", "Succeeded")
                await spoke.until_applied("apps")


async def test_a_job_that_is_deleted_before_it_has_ended_comes_back(spoke: Spoke, admin: Admin) -> None:
    spoke.want(Wanted("apps", [namespace("deleted-job"), expiring_job("deleted-job", 3600)]))
    await spoke.until_applied("apps")
    uid = admin.get("batch/v1", "Job", "once", "deleted-job")["metadata"]["uid"]  # type: ignore[index]
    admin.delete("batch/v1", "Job", "once", "deleted-job")
    await spoke.until_event("DriftHealed", "Job.batch deleted-job/once was deleted")
    assert admin.get("batch/v1", "Job", "once", "deleted-job")["metadata"]["uid"] != uid  # type: ignore[index]


def container_status() -> dict[str, object]:
    return {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}


def only_pod(admin: Admin, namespace: str) -> str:
    (name,) = admin.names("v1", "Pod", namespace)
    return name


def by(current: str, failed: str = "", in_progress: str = "") -> ApplyOptions:
    """Return options that wait for Gauges by expressions."""
    expr = HealthCheckExpr("test.example.com/v1", "Gauge", current, failed, in_progress)
    return ApplyOptions(prune=True, wait=True, timeout=60, health_check_exprs=(expr,))


def gauge(admin: Admin, **spec: object) -> None:
    admin.patch("test.example.com/v1", "Gauge", "g", "exprs", {"spec": spec}, manager="gauges")


async def test_expressions_tell_the_health_of_a_kind(spoke: Spoke, admin: Admin) -> None:
    objects = [definition("gauges", "Gauge"), namespace("exprs"), custom("exprs", "g", "Gauge", wanted=2)]
    phases = by("spec.level >= spec.wanted", "spec.level < 0", "has(spec.rising) && spec.rising")
    spoke.want(Wanted("apps", objects, phases))
    status = await spoke.until("apps", lambda status: "no such key: level" in ready(status)[2], "tells what is missing")
    assert "Gauge.test.example.com exprs/g: spec.healthCheckExprs[0].failed" in ready(status)[2]
    gauge(admin, level=-1)
    status = await spoke.until("apps", lambda status: ready(status)[1] == "HealthCheckFailed", "fails")
    assert "spec.healthCheckExprs[0].failed is true" in ready(status)[2]
    gauge(admin, level=5, rising=True)
    await spoke.until("apps", lambda status: "inProgress is true" in ready(status)[2], "is in progress")
    gauge(admin, level=5, rising=False)
    assert (await spoke.until_applied("apps")).healthy_digest == spoke.digest("apps")
    spoke.want(Wanted("apps", objects, by("spec.level > 100")))
    await spoke.until("apps", lambda status: "none of spec.healthCheckExprs[0]" in ready(status)[2], "judges again")
    spoke.want(Wanted("apps", objects, WAIT))
    await spoke.until_applied("apps")


async def test_expressions_also_tell_the_health_of_what_health_checks_names_elsewhere(
    spoke: Spoke, admin: Admin
) -> None:
    spoke.want(Wanted("kinds", [definition("dials", "Dial"), namespace("outside")]))
    await spoke.until_applied("kinds")
    expr = HealthCheckExpr("test.example.com/v1", "Dial", "spec.level > 1")
    check = HealthCheck("test.example.com/v1", "Dial", "outside", "d")
    options = ApplyOptions(health_checks=(check,), health_check_exprs=(expr,), timeout=60)
    kinds = Wanted("kinds", [definition("dials", "Dial"), namespace("outside")])
    spoke.want(kinds, Wanted("apps", [config_map("outside", "a")], options))
    await spoke.until("apps", lambda status: "outside/d: not found" in ready(status)[2], "waits for it")
    admin.create(custom("outside", "d", "Dial", level=1))
    await spoke.until("apps", lambda status: "none of spec.healthCheckExprs[0]" in ready(status)[2], "judges it")
    admin.patch("test.example.com/v1", "Dial", "d", "outside", {"spec": {"level": 2}})
    await spoke.until_applied("apps")


async def test_a_workload_whose_expression_can_not_be_read_is_not_applied_and_the_others_go_on(
    spoke: Spoke, admin: Admin
) -> None:
    spoke.want(Wanted("other", [namespace("unread")]), Wanted("apps", [config_map("unread", "a")], by("spec.level >")))
    status = await spoke.until("apps", lambda status: ready(status)[1] == "InvalidCELExpression", "is refused")
    assert ready(status)[0] == "False"
    assert "spec.healthCheckExprs[0].current can't be read: at 1:13" in ready(status)[2]
    await spoke.until_applied("other")
    assert admin.config_map("unread", "a") is None
    spoke.want(
        Wanted("other", [namespace("unread")]), Wanted("apps", [config_map("unread", "a")], by("spec.level > 1"))
    )
    await spoke.until_applied("apps")


async def test_ready_expr_decides_when_a_dependent_goes_on(spoke: Spoke, admin: Admin) -> None:
    expr = "dep.spec.wait && dep.status.conditions.exists(c, c.type == 'Healthy' && c.message.contains('1 of 2'))"
    after = ApplyOptions(prune=True, depends_on=(Dependency(workload_id("first"), expr),))
    second = Wanted("second", [config_map("readyexpr", "a")], after)
    never = Wanted("first", [namespace("readyexpr"), stuck("readyexpr", "web")], ApplyOptions(prune=True, timeout=3600))
    spoke.want(never, second)
    status = await spoke.until("second", lambda status: "readyExpr is false" in ready(status)[2], "waits")
    assert "dependency Kustomization/flux-system/first is not ready: spec.dependsOn[0].readyExpr" in ready(status)[2]
    assert admin.config_map("readyexpr", "a") is None
    waits = Wanted("first", never.objects, ApplyOptions(prune=True, wait=True, timeout=3600))
    spoke.want(waits, second)
    await spoke.until_applied("second")  # although what it depends on never gets ready
    assert ready(spoke.statuses["first"])[0] != "True"


async def test_a_ready_expr_that_fails_says_why(spoke: Spoke, admin: Admin) -> None:
    expr = "dep.metadata.labels['app/version'] == self.metadata.labels['app/version']"
    after = ApplyOptions(depends_on=(Dependency(workload_id("first"), expr),))
    spoke.want(Wanted("first", [namespace("nolabel")]), Wanted("second", [config_map("nolabel", "a")], after))
    status = await spoke.until("second", lambda status: ready(status)[1] == "DependencyNotReady", "waits")
    assert "spec.dependsOn[0].readyExpr: no such key: app/version" in ready(status)[2]


async def test_an_expression_sees_what_a_config_map_or_a_secret_holds(spoke: Spoke, admin: Admin) -> None:
    map_expr = HealthCheckExpr("v1", "ConfigMap", "data.state == 'done'")
    secret_expr = HealthCheckExpr("v1", "Secret", "int(data.password) > 0")
    objects = [namespace("holds"), config_map("holds", "a", state="begun"), secret("holds", "b", password="canary")]
    spoke.want(Wanted("apps", objects))
    await spoke.until_applied("apps")
    options = ApplyOptions(prune=True, wait=True, timeout=600, health_check_exprs=(map_expr,))
    spoke.want(Wanted("apps", objects, options))
    await spoke.until("apps", lambda status: "none of spec.healthCheckExprs[0]" in ready(status)[2], "is in progress")
    spoke.want(Wanted("apps", [objects[0], config_map("holds", "a", state="done"), objects[2]], options))
    await spoke.until_applied("apps")
    spoke.want(Wanted("apps", objects[::2], replace(options, health_check_exprs=(secret_expr,))))
    said = await spoke.until("apps", lambda status: "current: it can't be" in ready(status)[2], "can't be judged")
    assert "canary" not in str(said)
    assert base64.b64encode(b"canary").decode() not in str(said)
