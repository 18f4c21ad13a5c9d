"""A fleet of four real clusters with one shop that goes by a Rollout, and what its tests ask and do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import config_map, documents, git_repository, kustomization, namespace, placement
from tests.fleet.processes import eventually

NAMES = ("a", "b", "c", "d")
ENVIRONMENTS = {"a": "dev", "b": "staging", "c": "production", "d": "production"}


def rollout(name: str, *stages: Mapping[str, object], **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "fleet.felloe.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {"stages": list(stages), **spec},
    }


CANARY = {"name": "canary", "clusters": ["a"]}
REST = {"name": "rest", "maxConcurrent": 1}
APPROVED = {"name": "rest", "gates": [{"name": "go", "approval": {}}]}


def files(fleet: Fleet, *objects: Mapping[str, object]) -> dict[str, str]:
    """The fleet's objects; its one placement goes by the Rollout among them, or by its environments."""
    named = {"rollout": "careful"} if any(each["kind"] == "Rollout" for each in objects) else {}
    placed = placement("shop", "shop", clusterSelector={}, **named)
    own = (git_repository("config", fleet.url), kustomization("shop", "./shop"), placed)
    return {"fleet/fleet.yaml": documents(*own, *objects)}


def shop(version: str, **data: str) -> dict[str, str]:
    settings = config_map(
        "settings", "shop", v=version, **{key.replace("_", " "): value for key, value in data.items()}
    )
    return {"shop/all.yaml": documents(namespace("shop"), settings)}


def versions(fleet: Fleet, *names: str) -> list[str]:
    return [(fleet.data(name, "settings") or {}).get("v", "") for name in names or NAMES]


def status(fleet: Fleet, name: str = "shop") -> Any:
    (found,) = fleet.hub.ask("rollouts", name=name)["items"]
    return found["status"]


def phase(fleet: Fleet, name: str = "shop") -> str:
    return str(status(fleet, name)["phase"])


def asked(fleet: Fleet, name: str = "shop") -> list[str]:
    """The gates that are waited for now."""
    stages = status(fleet, name)["stages"]
    return [gate["name"] for stage in stages for gate in stage["gates"] if gate["verdict"] == "Waiting"]


def approve(fleet: Fleet) -> None:
    """Let the release through the gate of `APPROVED`, once that is asked."""
    eventually(lambda: asked(fleet) == ["go"], "it waits for the gate")
    steer(fleet, "approve")


def steer(fleet: Fleet, act: str, name: str = "shop", *more: str) -> str:
    return fleet.hub.felloe("rollout", act, name, "--reason", "a test", *more, "--yes")


def audit(fleet: Fleet, action: str = "") -> list[dict[str, Any]]:
    """Return the entries of the audit log, those of one action where it is named."""
    only = ("--action", action) if action else ()
    return [json.loads(each) for each in fleet.hub.felloe("audit", *only, "-o", "json").splitlines()]


def deliver(fleet: Fleet, changed: Mapping[str, str], version: str) -> None:
    """Commit, and wait until every cluster has it."""
    fleet.deliver(changed, to="healthy")
    assert versions(fleet) == [version] * 4
    eventually(lambda: phase(fleet) == "Complete", "the rollout is complete")
