"""What a Secret holds gets into nothing that a spoke tells, logs or writes down about it."""

from __future__ import annotations

import base64
import logging

import pytest

from felloe.bundle import ApplyOptions
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, ready
from tests.spoke.manifests import Manifest, Wanted, namespace, secret

pytestmark = pytest.mark.cluster

CANARY = 'canary-ed8f\nline7c1e "two"'
WARN = ApplyOptions(prune=True, retry_interval=2.0, drift="warn")
FORCE = ApplyOptions(prune=True, retry_interval=2.0, force=True)
PLACE = "canary"


def forms() -> set[str]:
    """Return by what the value could be told."""
    return {
        "canary-ed8f",
        "line7c1e",
        base64.b64encode(CANARY.encode()).decode(),
        base64.b64encode(b"canary").decode()[:8],
    }


def with_data(name: str, **more: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": PLACE}, **more}


async def test_a_secrets_values_are_told_by_nobody(
    spoke: Spoke, admin: Admin, cluster: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    async def step(*objects: Manifest, options: ApplyOptions = WARN, fails: str = "", ignore: str = "") -> None:
        spoke.want(
            Wanted("apps", [namespace(PLACE), *objects], options, ignore={"Secret": (ignore,)} if ignore else {})
        )
        if fails:
            status = await spoke.until("apps", lambda status: ready(status)[0] == "False", fails)
        else:
            status = await spoke.until_applied("apps")
        told.append(str(status))

    kept = secret(PLACE, "kept", password=CANARY)
    frozen = {**secret(PLACE, "frozen", password=CANARY), "immutable": True}
    await step(kept, frozen)
    by_hand: Manifest = {"data": {"password": base64.b64encode(b"canary-ed8f by hand").decode()}}
    admin.patch("v1", "Secret", "kept", PLACE, by_hand)
    await spoke.until_event("DriftDetected", "Secret canary/kept")
    heal = ApplyOptions(prune=True, retry_interval=2.0)
    await step(kept, frozen, options=heal)
    admin.patch("v1", "Secret", "kept", PLACE, by_hand)
    await spoke.until_event("DriftHealed", "Secret canary/kept")
    await step(kept, frozen, secret(PLACE, "beside", password=CANARY), options=heal, ignore="/data/rotated")
    admin.patch("v1", "Secret", "beside", PLACE, by_hand)
    await spoke.until_event("DriftHealed", "Secret canary/beside")
    changed = {**secret(PLACE, "frozen", password=CANARY + "2"), "immutable": True}
    await step(kept, changed, fails="can't be changed")
    for broken in (
        with_data("broken", data={"password": CANARY}),
        with_data("broken", data={"password": {"nested": CANARY}}),
        with_data("broken", data=[CANARY]),
        with_data("broken", stringData={"password": {"nested": CANARY}}),
        with_data("broken", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": CANARY}),
    ):
        await step(kept, frozen, broken, fails="is refused")
    await step(kept, {**changed, "type": "kubernetes.io/tls"}, options=FORCE, fails="may not be made")
    await step(kept, changed, options=FORCE)
    await step()
    core = cluster.api.get_json("/api/v1/namespaces/felloe-system/configmaps")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("spoke", "felloe"))]
    assert ours
    text = "\n".join([*ours, *told, *map(str, spoke.events), str(core)])
    assert not {form for form in forms() if form in text}
