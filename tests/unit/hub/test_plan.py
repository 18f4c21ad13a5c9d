"""`felloe plan` against a hub process: real Git, kustomize and API; clusters are declared, and none is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import ProcessKeeper
from tests.fleet.manifests import (
    cluster,
    config_map,
    deployment,
    documents,
    environment,
    git_repository,
    kustomization,
    overlay,
    placement,
)
from tests.fleet.processes import FELLOE, Hub, eventually
from tests.servers.git_repo import GitRepo

CLUSTERS = {"dev": ["d1"], "production": ["p1", "p2", "p3"]}
ROLLOUT = {
    "apiVersion": "fleet.felloe.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "careful"},
    "spec": {"stages": [{"name": "canary", "clusters": ["p2"], "soak": "10m"}]},
}


def files(url: str) -> dict[str, str]:
    """A shop in two environments; production is promoted from dev, by a rollout."""
    production = environment("production", tier="large")
    production["spec"] |= {"promotesFrom": {"environment": "dev"}, "rollout": "careful"}  # type: ignore[operator]
    found = {
        "fleet/fleet.yaml": documents(
            environment("dev", tier="small"),
            production,
            ROLLOUT,
            *(cluster(name, env) for env, names in CLUSTERS.items() for name in names),
            git_repository("config", url),
            kustomization("shop", "./environments/${env}"),
            placement("shop", "shop"),
        ),
        "base/kustomization.yaml": overlay("web.yaml", "settings.yaml", namespace="shop"),
        "base/web.yaml": documents(deployment("web")),
        "base/settings.yaml": documents(config_map("settings", tier="${tier}", where="${cluster_name}")),
    }
    return found | {f"environments/{env}/kustomization.yaml": overlay("../../base") for env in CLUSTERS}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    repository = GitRepo(tmp_path_factory.mktemp("fleet") / "fleet.git")
    repository.commit(files(repository.url), "the shop")
    return repository


@pytest.fixture(scope="module")
def hub(repository: GitRepo, tmp_path_factory: pytest.TempPathFactory, kustomize_binary: Path) -> Iterator[Hub]:
    """A hub that has planned the shop."""
    keeper = ProcessKeeper()
    hub = Hub(
        keeper,
        tmp_path_factory.mktemp("hub"),
        f"{repository.url}@main",
        options=[f"--kustomize={kustomize_binary}"],
    )
    hub.start()
    eventually(lambda: len([one for one in hub.get("clusters") if one["status"]["workloads"]]) == 4, "it is planned")
    yield hub
    keeper.close()


@pytest.fixture(autouse=True)
def as_committed(repository: GitRepo) -> Iterator[None]:
    """Each test begins with the working copy as main has it."""
    repository.switch("feature")
    yield
    repository.restore("main")


def told(hub: Hub, *arguments: str, expect: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.felloe("plan", "-o", "json", *arguments, expect=expect))
    return found


def test_a_branch_as_text(hub: Hub, repository: GitRepo) -> None:
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    commit = repository.commit(
        {
            "environments/production/kustomization.yaml": overlay("../../base", patches=[{"path": "web.yaml"}]),
            "environments/production/web.yaml": documents(web),
        },
        "three replicas",
    )
    base = hub.get("sources")[0]["status"]["artifact"]["revision"]
    stages = "canary 1 cluster (soak 10m) → the rest 2 clusters"
    shown = hub.felloe("plan", "--branch", "feature")
    assert shown.splitlines() == [
        f"main@sha1:{commit} against {base}: three replicas",
        "",
        "3 clusters: environment production",
        "  ~ Kustomization/flux-system/shop (placement/shop)",
        "      stages: canary 1, the rest 2",
        "    ~ Deployment shop/web",
        "      ~ spec.replicas: 1 → 3",
        "",
        "order",
        f"  shop@production: after dev is healthy; by rollout careful: {stages}",
        "",
        "1 to change on 3 of 4 clusters",
    ]
    assert hub.get("sources")[0]["status"]["artifact"]["revision"] == base


def test_a_checkout_with_what_is_not_committed(hub: Hub, repository: GitRepo) -> None:
    settings = documents(config_map("settings", tier="${tier}", where="${cluster_name}", more="1"))
    (repository.work / "base/settings.yaml").write_text(settings)
    plan = told(hub, "--path", str(repository.work), "-l", "env=production")
    (group,) = plan["groups"]
    assert group["title"] == "all 3 clusters"
    (changed,) = group["workloads"][0]["objects"]
    assert changed["fields"] == [{"path": "data.more", "operation": "add", "after": "1"}]
    assert re.fullmatch(r"main@local:[0-9a-f]{40}", plan["revision"])


def test_a_variable(hub: Hub, repository: GitRepo) -> None:
    fleet = repository.work / "fleet/fleet.yaml"
    fleet.write_text(fleet.read_text().replace('"tier": "large"', '"tier": "huge"'))
    plan = told(hub, "--path", str(repository.work))
    (group,) = plan["groups"]
    (workload,) = group["workloads"]
    assert workload["variables"] == [
        {"name": "tier", "values": [{"before": "large", "after": "huge", "clusters": 3}], "valuesLeftOut": 0}
    ]
    assert [(each["name"], each["fields"][0]["path"]) for each in workload["objects"]] == [("settings", "data.tier")]


def test_exit_codes(hub: Hub, repository: GitRepo) -> None:
    path = ("--path", str(repository.work))
    assert "nothing changes on 4 clusters" in hub.felloe("plan", *path, "--detailed-exitcode")
    (repository.work / "base/settings.yaml").write_text(documents(config_map("settings", tier="fixed")))
    hub.felloe("plan", *path)
    hub.felloe("plan", *path, "--detailed-exitcode", expect=2)
    (repository.work / "base/web.yaml").write_text("kind: [")
    shown = hub.felloe("plan", *path, "--detailed-exitcode", expect=1)
    assert "NotBuilt" in shown
    (repository.work / "fleet/fleet.yaml").write_text("kind: [")
    assert "error: fleet/fleet.yaml" in hub.felloe("plan", *path, expect=1)
    assert "error: " in hub.felloe("plan", "--branch", "nowhere", expect=1)
    assert "no cluster 'p9'" in hub.felloe("plan", "--branch", "main", "--cluster", "p9", expect=1)
    assert [one["metadata"]["name"] for one in hub.get("clusters")] == ["d1", "p1", "p2", "p3"]


def test_a_credential_of_its_own_is_enough(hub: Hub, tmp_path: Path) -> None:
    credential = tmp_path / "ci.yaml"
    credential.write_text(hub.felloe("credential", "create", "ci"))
    done = subprocess.run(
        [*FELLOE, "plan", "--revision", "main"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FELLOE_CREDENTIAL": str(credential)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "nothing changes on 4 clusters"), done.stderr
