"""Promotion in Git, as people and other tools see it: the hub commits, and every cluster is what its folder says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.fixtures import ClusterPool
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    config_map,
    documents,
    environment,
    git_repository,
    kustomization,
    namespace,
    placement,
)
from tests.fleet.processes import eventually
from tests.fleet.rollouts import ENVIRONMENTS, NAMES, audit, status, versions
from tests.servers.git_repo import git

pytestmark = pytest.mark.cluster

LOGIN = {"username": "hub", "password": "s3cret"}


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four clusters in three environments, and a Git server that asks who pushes."""
    folder = tmp_path_factory.mktemp("git")
    for name in ("felloe-system/fleet", "flux-system/fleet", "felloe-promotion/writer"):
        for key, value in LOGIN.items():
            (folder / "secrets" / name).mkdir(parents=True, exist_ok=True)
            (folder / "secrets" / name / key).write_text(value)
    members = dict(zip(NAMES, clusters.get(len(NAMES)), strict=True))
    options = [f"--secrets={folder / 'secrets'}"]
    with Fleet(folder, members, kustomize_binary, options=options) as fleet:
        fleet.server.behaviour.username, fleet.server.behaviour.password = LOGIN.values()
        fleet.server.behaviour.push = True
        fleet.repository.config("receive.denyCurrentBranch", "ignore")
        fleet.repository.commit(objects(fleet) | release("0", *ENVIRONMENTS.values()), "the fleet")
        fleet.hub.start()
        fleet.join_all({name: {"env": own} for name, own in ENVIRONMENTS.items()})
        yield fleet


def objects(fleet: Fleet, **production: object) -> dict[str, str]:
    """The fleet: every environment is what its folder says; `production` is more of what it promotes from."""
    source = git_repository("config", fleet.url)
    source["spec"] = {**_mapping(source["spec"]), "secretRef": {"name": "fleet"}}
    kinds = [source, kustomization("shop", "./envs/${cluster_env}"), placement("shop", "shop"), environment("dev")]
    for name, before, more in (("staging", "dev", {}), ("production", "staging", production)):
        promoted = environment(name)
        how = {"branch": "main", "from": f"envs/{before}", "to": f"envs/{name}", "secretRef": {"name": "writer"}}
        promoted["spec"] = {
            **_mapping(promoted["spec"]),
            "promotesFrom": {"environment": before, "git": how, **more},
        }
        kinds.append(promoted)
    return {"fleet/fleet.yaml": documents(*kinds)}


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def release(version: str, *environments: str) -> dict[str, str]:
    text = documents(namespace("shop"), config_map("settings", "shop", v=version))
    return {f"envs/{name}/all.yaml": text for name in environments}


def pull(fleet: Fleet) -> None:
    """Take into the working copy what the hub pushed to its branch."""
    git("reset", "--quiet", "--hard", "main", cwd=fleet.repository.work)


def folder(fleet: Fleet, name: str) -> str:
    return git("show", f"main:envs/{name}/all.yaml", cwd=fleet.repository.path)


def promoted(fleet: Fleet, name: str) -> str:
    return str(status(fleet, f"shop@{name}")["inGit"]["state"])


def test_a_change_of_dev_is_committed_for_one_environment_after_the_other(fleet: Fleet) -> None:
    fleet.commit(release("1", "dev"))
    eventually(lambda: versions(fleet) == ["1"] * 4, "all have it", timeout=120)
    assert folder(fleet, "dev") == folder(fleet, "staging") == folder(fleet, "production")
    messages = git("log", "-2", "--format=%s%n%b", "main", cwd=fleet.repository.path)
    assert "Felloe-Promoted-From: staging" in messages
    assert "Felloe-Promoted-From: dev" in messages
    pull(fleet)


def test_a_person_agrees_and_what_somebody_reverts_in_git_stays_reverted(fleet: Fleet) -> None:
    fleet.commit(objects(fleet, approval=True) | release("2", "dev"))
    eventually(lambda: versions(fleet) == ["2", "2", "1", "1"], "production waits")
    eventually(lambda: "waits for approval" in str(status(fleet, "shop@production")["inGit"]), "it says for whom")
    fleet.hub.felloe("promote", "shop", "--to", "production", "--reason", "the tests pass", "--yes")
    eventually(lambda: versions(fleet) == ["2"] * 4, "production has it")
    pull(fleet)
    message = git("log", "-1", "--format=%B", "main", cwd=fleet.repository.path)
    assert "Felloe-Promoted-By: admin (the tests pass)" in message
    assert any("staging to production" in entry["reason"] for entry in audit(fleet, "PromotionProposed"))
    before = fleet.revert()
    eventually(lambda: versions(fleet) == ["2", "2", "1", "1"], "production is back")
    fleet.commit({"README.md": "nothing that anybody runs"})
    eventually(lambda: promoted(fleet, "production") == "Done", "there is nothing to promote")
    assert versions(fleet) == ["2", "2", "1", "1"]
    assert git("log", "--format=%s", f"{before}..main", cwd=fleet.repository.path) == "a change"
