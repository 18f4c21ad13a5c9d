"""The test clusters themselves: real control planes that leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import psutil
import pytest
from kubernetes.client.exceptions import ApiException

from tests.cluster import cleaning
from tests.cluster.binaries import cache_folder
from tests.cluster.controlplane import ControlPlane
from tests.cluster.errors import HarnessError
from tests.cluster.fixtures import ClusterPool

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
KILLED_RUN = """
import time
from tests.cluster.controlplane import ControlPlane
with ControlPlane("killed") as cluster:
    print(cluster.kubeconfig.parent, *cluster.pids().values(), flush=True)
    time.sleep(600)
"""


LEFTOVERS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "used"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "used", "finalizers": ["example.org/never"]},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": "default"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "left"}},
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    },
    {  # nobody answers it, so it forbids every deletion but its own
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody"},
        "webhooks": [
            {
                "name": "nobody.example.org",
                "clientConfig": {"url": "https://127.0.0.1:9/"},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}],
            }
        ],
    },
]


@pytest.fixture(scope="module")
def cluster(clusters: ClusterPool) -> ControlPlane:
    return clusters.get(1, nodes=True)[0]


@pytest.fixture
def core(cluster: ControlPlane) -> kubernetes.client.CoreV1Api:
    return kubernetes.client.CoreV1Api(cluster.client())


def eventually(check: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.1)


def create(cluster: ControlPlane, body: dict[str, Any]) -> None:
    """Create one object of any kind."""
    kind = cluster.dynamic().resources.get(api_version=body["apiVersion"], kind=body["kind"])
    kind.create(body=body)


def client_from(kubeconfig: str | Path) -> kubernetes.client.ApiClient:
    client: kubernetes.client.ApiClient = kubernetes.config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    return client


def deployment(name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    }


def test_a_deployment_becomes_available(cluster: ControlPlane) -> None:
    create(cluster, deployment("good", "registry.example/app:1"))
    create(cluster, deployment("bad", "registry.example/app:broken"))
    deployments = cluster.dynamic().resources.get(api_version="apps/v1", kind="Deployment")
    eventually(
        lambda: deployments.get(name="good", namespace="default").status.availableReplicas == 2, "good is available"
    )
    pods = cluster.dynamic().resources.get(api_version="v1", kind="Pod")
    waiting = pods.get(namespace="default", label_selector="app=bad").items
    assert {pod.status.phase for pod in waiting} == {"Pending"}
    assert not deployments.get(name="bad", namespace="default").status.availableReplicas


def test_a_job_completes(cluster: ControlPlane) -> None:
    jobs = cluster.dynamic().resources.get(api_version="batch/v1", kind="Job")
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/app:1"}]}}
    job = {"metadata": {"name": "once", "namespace": "default"}, "spec": {"template": template}}
    jobs.create(body=job)
    eventually(lambda: jobs.get(name="once", namespace="default").status.succeeded == 1, "the job has succeeded")


def test_it_calls_itself_what_it_is(cluster: ControlPlane) -> None:
    version = kubernetes.client.VersionApi(cluster.client()).get_code()
    assert version.git_version.startswith(f"v{version.major}.{version.minor}.")


def test_a_user_may_do_what_rbac_grants_and_no_more(cluster: ControlPlane) -> None:
    client = client_from(cluster.kubeconfig_for("nobody", ["strangers"]))
    with pytest.raises(ApiException, match="nobody") as caught:
        kubernetes.client.CoreV1Api(client).list_namespace()
    assert caught.value.status == 403


def test_requests_are_told_apart_by_who_asked(cluster: ControlPlane) -> None:
    client = cluster.client()
    client.user_agent = "curious/1.0"
    mark, before = cluster.audit_mark(), cluster.request_counts()
    for _ in range(3):
        kubernetes.client.CoreV1Api(client).list_namespaced_secret("default")
    events = [event for event in cluster.audit_since(mark, user_agent="curious/") if event.resource == "secrets"]
    assert [(event.verb, event.namespace, event.code) for event in events] == [("list", "default", 200)] * 3
    assert (cluster.request_counts() - before).by_verb()["LIST"] >= 3


def test_its_data_and_address_outlive_a_restart(cluster: ControlPlane, core: kubernetes.client.CoreV1Api) -> None:
    server = cluster.server
    create(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lasting"}})
    for kill in False, True:
        cluster.restart_apiserver(kill=kill)
        assert core.read_namespace("lasting")
    assert cluster.server == server


def test_a_paused_api_server_does_not_answer(cluster: ControlPlane, core: kubernetes.client.CoreV1Api) -> None:
    cluster.pause_apiserver()
    try:
        with pytest.raises(HarnessError, match="/readyz"):
            cluster.api.get("/readyz", timeout=1.0)
    finally:
        cluster.resume_apiserver()
    assert core.list_namespace().items


def test_a_used_cluster_becomes_like_new(clusters: ClusterPool) -> None:
    (cluster,) = clusters.get(1)
    new = cleaning.snapshot(cluster.api)
    for body in LEFTOVERS:
        create(cluster, body)
    assert len(cleaning.snapshot(cluster.api) - new) >= len(LEFTOVERS)
    cluster.clean()
    assert cleaning.snapshot(cluster.api) == new


@pytest.fixture
def killed_run() -> tuple[Path, list[int]]:
    run = subprocess.Popen([sys.executable, "-c", KILLED_RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        folder, *pids = run.stdout.readline().split()
        assert all(psutil.pid_exists(int(pid)) for pid in pids)
    finally:
        run.kill()
        run.wait(30)
    return Path(folder), [int(pid) for pid in pids]


def test_a_killed_run_leaves_nothing(killed_run: tuple[Path, list[int]], clusters: ClusterPool) -> None:
    folder, pids = killed_run
    assert len(pids) == 3
    eventually(lambda: not any(_lives(pid) for pid in pids), "its processes are gone")
    with clusters.fresh("next"):
        assert not folder.exists()


def test_a_start_that_fails_says_why_and_leaves_nothing() -> None:
    cluster = ControlPlane("failing", apiserver_args=["--no-such-flag"])
    before = {process.pid for process in psutil.Process().children()}
    with pytest.raises(HarnessError, match=r"(?s)cluster failing did not start: kube-apiserver.*no-such-flag"):
        cluster.start()
    assert {process.pid for process in psutil.Process().children()} <= before


def test_clusters_by_hand(tmp_path: Path) -> None:
    def command(*arguments: str) -> str:
        # Its own cache folder, so that a developer's own clusters stay alone; the programs are found in the real one.
        done = subprocess.run(
            [sys.executable, "-m", "tests.cluster", *arguments],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "felloe").mkdir()
    (tmp_path / "felloe" / "binaries").symlink_to(cache_folder() / "binaries")
    try:
        printed = command("up", "--count", "2", "--name-prefix", "hand")
        rows = [line.split("\t") for line in printed.splitlines() if "\t" in line]
        assert [row[0] for row in rows] == ["hand-1", "hand-2"]
        for _, server, kubeconfig in rows:
            client = client_from(kubeconfig)
            assert client.configuration.host == server
            assert kubernetes.client.CoreV1Api(client).list_namespace().items
        assert "export KUBECONFIG=" in printed
        assert command("status").splitlines() == ["\t".join(row) for row in rows]
    finally:
        command("down")
    assert command("status") == ""
    assert not any(Path(row[2]).exists() for row in rows)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
