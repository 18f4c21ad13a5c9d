"""One commit is one trace, from the look at Git to the last healthy pod; without OTEL variables there is nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.fixtures import ClusterPool
from tests.cluster.processes import Process, ProcessKeeper
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    config_map,
    deployment,
    documents,
    git_repository,
    kustomization,
    namespace,
    overlay,
    placement,
)
from tests.fleet.processes import eventually
from tests.servers import otlp
from tests.servers.otlp import Span

pytestmark = pytest.mark.cluster

SECRET = "s3cret-of-the-shop"


def files(url: str) -> dict[str, str]:
    """Two overlays over one base, for every cluster; one of them brings a Secret."""
    password = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop"},
        "stringData": {"password": SECRET},
    }
    return {
        "fleet/fleet.yaml": documents(
            git_repository("config", url),
            kustomization("first", "./first", wait=True, timeout="2m"),
            kustomization("second", "./second", wait=True, timeout="2m"),
            placement("all", "first", "second"),
        ),
        "base/kustomization.yaml": overlay("web.yaml"),
        "base/web.yaml": documents(deployment("web")),
        "first/kustomization.yaml": overlay("../base", "all.yaml", namespace="first"),
        "first/all.yaml": documents(namespace("first"), config_map("settings", a="1")),
        "second/kustomization.yaml": overlay("../base", "all.yaml", namespace="second"),
        "second/all.yaml": documents(namespace("second"), password),
    }


def called(pid: int) -> set[int]:
    """The ports that a process has connections to, those apart that others have to it."""
    connections = psutil.Process(pid).net_connections("inet")
    own = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    return {each.raddr.port for each in connections if each.raddr and each.laddr.port not in own}


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_without_otel_variables_opentelemetry_is_never_imported_and_nobody_is_called(
    clusters: ClusterPool, kustomize_binary: Path, tmp_path: Path
) -> None:
    (cluster,) = clusters.get(1, nodes=True)
    trap = tmp_path / "trap"
    (trap / "opentelemetry").mkdir(parents=True)
    sprung = tmp_path / "imported"
    # Found before the installed one: to import it is to be noticed.
    (trap / "opentelemetry" / "__init__.py").write_text(
        f"import sys\nopen({str(sprung)!r}, 'a').write(repr(sys.argv))\nraise ImportError('caught')\n"
    )
    with Fleet(tmp_path, {"dev": cluster}, kustomize_binary, environment={"PYTHONPATH": str(trap)}) as fleet:
        fleet.repository.commit(files(fleet.url), "the shop")
        fleet.hub.start()
        spoke = fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        assert not sprung.exists()

        assert called(spoke.process.pid) <= {port(cluster.server), port(fleet.hub.address)}
        assert called(fleet.hub.process.pid) <= {port(fleet.server.url)}

        # The trap works: with an endpoint, the hub walks into it.
        fleet.hub.stop()
        environment = {**fleet.hub.client_environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
        done = subprocess.run(
            [sys.executable, "-c", "import os; from felloe.tracing import tracer; tracer('x', os.environ)"],
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0
        assert sprung.exists()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("otlp")
    keeper = ProcessKeeper()
    argv = [sys.executable, "-m", "tests.servers.otlp", str(folder)]
    process = keeper.start("otlp", argv, folder / "log", os.environ)
    process.wait_until((folder / "port").exists, "it does not listen", 30)
    yield process
    keeper.close()


@pytest.fixture(scope="module")
def received(receiver: Process) -> Path:
    """The folder of the running receiver."""
    return receiver.log.parent


@pytest.fixture(scope="module")
def fleet(
    clusters: ClusterPool, received: Path, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Two overlays in one cluster, healthy; hub and spoke export to the receiver. It keeps the cluster to the end."""
    (cluster,) = clusters.get(1, nodes=True)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{(received / 'port').read_text()}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    folder = tmp_path_factory.mktemp("traced")
    with Fleet(folder, {"dev": cluster}, kustomize_binary, environment=environment) as fleet:
        fleet.repository.commit(files(fleet.url), "the shop")
        fleet.hub.start()
        fleet.join("dev", env="dev")
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


def trace_of(received: Path, commit: str) -> list[Span]:
    """The spans of the trace that a commit started."""
    spans = otlp.received(received)
    (root,) = (
        span for span in spans if span["name"] == "commit" and span["attributes"]["vcs.ref.head.revision"] == commit
    )
    return [span for span in spans if span["trace"] == root["trace"]]


def one(spans: list[Span], name: str) -> Span:
    (found,) = (span for span in spans if span["name"] == name)
    return found


def completed(received: Path, commit: str, name: str = "deliver") -> list[Span]:
    """Wait until a commit's trace has a span (a parent is exported after its children), and return the trace."""
    eventually(
        lambda: any(span["name"] == name for span in trace_of(received, commit)), f"the trace of {commit} has {name}"
    )
    return trace_of(received, commit)


def test_a_commit_is_one_trace_from_the_fetch_to_the_healthy_pod(fleet: Fleet, received: Path) -> None:
    web = documents(deployment("web", replicas=2))
    sha = fleet.deliver({"base/web.yaml": web}, "two of each", to="healthy")
    spans = completed(received, sha)
    commit = one(spans, "commit")
    assert commit["parent"] == ""
    assert commit["service"] == "felloe-hub"
    assert commit["attributes"]["felloe.revision"] == f"main@sha1:{sha}"
    assert commit["attributes"]["felloe.commit.subject"] == "two of each"
    assert commit["attributes"]["vcs.repository.url.full"] == fleet.url
    assert one(spans, "fetch")["parent"] == commit["span"]
    renders = [span for span in spans if span["name"] == "render"]
    assert {(span["attributes"]["felloe.path"], span["parent"]) for span in renders} == {
        ("first", commit["span"]),
        ("second", commit["span"]),
    }
    assert len(renders) == 2

    deliver = one(spans, "deliver")
    assert deliver["parent"] == commit["span"]
    assert deliver["links"] == [commit["span"]]
    assert deliver["attributes"]["felloe.cluster"] == "dev"
    (cluster,) = fleet.hub.get("clusters")
    assert deliver["attributes"]["felloe.root"] == cluster["status"]["root"]
    assert one(spans, "send")["parent"] == deliver["span"]

    in_the_cluster = {
        (span["name"], span["attributes"]["felloe.workload"], span["service"], span["parent"])
        for span in spans
        if span["name"] in {"apply", "healthy"}
    }
    assert in_the_cluster == {
        (step, f"Kustomization/flux-system/{name}", "felloe-spoke", deliver["span"])
        for step in ("apply", "healthy")
        for name in ("first", "second")
    }
    assert not [span for span in spans if span["failed"]]


def test_what_a_commit_did_not_change_is_neither_rendered_nor_applied_in_its_trace(
    fleet: Fleet, received: Path
) -> None:
    changed = documents(namespace("first"), config_map("settings", a="2"))
    sha = fleet.deliver({"first/all.yaml": changed}, to="healthy")
    spans = completed(received, sha)
    assert one(spans, "render")["attributes"]["felloe.path"] == "first"
    for step in ("apply", "healthy"):
        assert one(spans, step)["attributes"]["felloe.workload"] == "Kustomization/flux-system/first"


def test_a_commit_that_changes_nothing_for_a_cluster_delivers_nothing(fleet: Fleet, received: Path) -> None:
    sha = fleet.deliver({"README.md": "words\n"})
    assert {span["name"] for span in completed(received, sha, "commit")} == {"commit", "fetch"}


def test_an_overlay_that_does_not_build_is_a_failed_span(fleet: Fleet, received: Path) -> None:
    sha = fleet.commit({"first/kustomization.yaml": overlay("nowhere.yaml")})
    assert one(completed(received, sha, "render"), "render")["failed"]
    fleet.wait(fleet.revert(), "healthy")


def test_a_delivery_that_no_commit_caused_links_to_the_commit_in_force(fleet: Fleet, received: Path) -> None:
    sha = fleet.deliver({"first/all.yaml": documents(namespace("first"), config_map("settings", a="3"))}, to="healthy")
    commit = one(completed(received, sha), "commit")
    fleet.hub.felloe("suspend", "workload", "second")

    def linked() -> bool:
        return any(
            span["name"] == "deliver" and span["parent"] == "" and commit["span"] in span["links"]
            for span in otlp.received(received)
        )

    try:
        eventually(linked, "a delivery links to the commit")
    finally:
        fleet.hub.felloe("resume", "workload", "second")


def test_no_secret_and_no_credential_is_in_what_is_exported(fleet: Fleet, received: Path) -> None:
    token = (fleet.spokes["dev"].folder / "token").read_text().strip()
    admin = (fleet.hub.data / "admin.yaml").read_text()
    webhook = (fleet.hub.data / "webhook-secret").read_text().strip()
    exported = (received / "exports.bin").read_bytes()
    assert b"Kustomization/flux-system/second" in exported
    words = {SECRET, token, webhook, *(word for word in admin.split() if len(word) > 30)}
    assert [word for word in words if word.encode() in exported] == []


def test_with_the_receiver_away_deliveries_go_on(fleet: Fleet, receiver: Process) -> None:
    receiver.stop(kill=True)
    for value in ("4", "5"):
        fleet.deliver({"first/all.yaml": documents(namespace("first"), config_map("settings", a=value))}, to="healthy")
    assert fleet.data("dev", "settings", "first") == {"a": "5"}
