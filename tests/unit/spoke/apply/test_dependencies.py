"""What a workload waits for, and what an expression sees of a workload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from felloe.bundle import ApplyOptions, Dependency, Workload
from felloe.identity import WorkloadId
from spoke.apply import standing
from spoke.apply.dependencies import Json, as_flux_object, waits_for
from spoke.apply.inventory import Inventory
from spoke.apply.standing import Standing, Verdict
from spoke.health.cel import Cel

FIRST, SECOND = (WorkloadId("Kustomization", "flux-system", name) for name in ("first", "second"))
FLUX_READY = (
    "dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True') "
    "&& dep.metadata.generation == dep.status.observedGeneration"
)


@dataclass
class Known:
    """A workload as the engine knows it."""

    workload: Workload
    applied: bool = True
    ready: bool = True

    def view(self) -> Json:
        known = Standing(self.workload.id)
        verdict = Verdict(standing.TRUE if self.ready else standing.FALSE, "Reason", "said")
        known.set("Ready", verdict, 1_770_000_000.0)
        inventory = Inventory(self.workload.id, applied_digest=self.workload.digest if self.applied else None)
        return as_flux_object(self.workload, known, inventory, 7)


@pytest_asyncio.fixture
async def cel() -> AsyncIterator[Cel]:
    evaluator = Cel()
    yield evaluator
    await evaluator.close()


def after(ready_expr: str = "", **options: object) -> Known:
    return Known(Workload(SECOND, ApplyOptions(depends_on=(Dependency(FIRST, ready_expr),), **options)))  # type: ignore[arg-type]


async def reason(cel: Cel, waiting: Known, first: Known | None) -> str:
    return await waits_for(cel, waiting, {FIRST: first}.get)


def first(*, applied: bool = True, ready: bool = True, **options: object) -> Known:
    return Known(Workload(FIRST, ApplyOptions(**options)), applied, ready)  # type: ignore[arg-type]


async def test_without_an_expression_readiness_decides(cel: Cel) -> None:
    assert await reason(cel, after(), first()) == ""
    assert await reason(cel, after(), first(ready=False)) == "dependency Kustomization/flux-system/first is not ready"
    assert "(it is suspended)" in await reason(cel, after(), first(ready=False, suspend=True))
    assert "not found" in await reason(cel, after(), None)
    assert cel.pid is None


async def test_an_expression_takes_the_place_of_readiness(cel: Cel) -> None:
    assert await reason(cel, after("true"), first(ready=False)) == ""
    said = await reason(cel, after("false"), first())
    assert said == "dependency Kustomization/flux-system/first is not ready: spec.dependsOn[0].readyExpr is false"
    assert "not found" in await reason(cel, after("true"), None)


@pytest.mark.parametrize(
    ("applied", "ready", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
async def test_the_expression_that_flux_documents(cel: Cel, applied: bool, ready: bool, expected: bool) -> None:
    assert (await reason(cel, after(FLUX_READY), first(applied=applied, ready=ready)) == "") is expected


@pytest.mark.parametrize(
    "expression",
    [
        "self.metadata.name == 'second' && dep.metadata.name == 'first' && dep.metadata.namespace == 'flux-system'",
        "self.spec.dependsOn[0].name == dep.metadata.name && self.spec.prune && !dep.spec.suspend",
        "dep.status.lastAppliedRevision == dep.status.lastAttemptedRevision",
        "dep.spec.timeout == '90s' && duration(dep.spec.timeout) > duration('1m')",
        "dep.kind == 'Kustomization' && dep.apiVersion == 'kustomize.toolkit.fluxcd.io/v1'",
        "dep.status.conditions[0].message == 'said'",
        "timestamp(dep.status.conditions[0].lastTransitionTime) < timestamp('2030-01-01T00:00:00Z')",
    ],
)
async def test_what_an_expression_sees(cel: Cel, expression: str) -> None:
    assert await reason(cel, after(expression, prune=True), first(timeout=90.0)) == ""


async def test_an_expression_compares_labels_as_in_flux_documentation(cel: Cel) -> None:
    same = "dep.metadata.labels['app/version'] == self.metadata.labels['app/version']"
    for version, ready in (("1", True), ("2", False)):
        waiting = after(same, labels=(("app/version", "1"),))
        said = await reason(cel, waiting, first(labels=(("app/version", version),)))
        assert (said == "") is ready


async def test_an_expression_that_fails_names_its_field(cel: Cel) -> None:
    said = await reason(cel, after("dep.status.inventory.entries.size() > 0"), first())
    assert said == ("dependency Kustomization/flux-system/first: spec.dependsOn[0].readyExpr: no such key: inventory")
