"""What handing over would do: what changes hands, what is left, what must stop, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felloe.identity import ObjectId
from spoke.adopt.flux import RELEASING, TAKEN, FluxKustomization
from spoke.adopt.plan import Fate, Found, Plan, plan, rivals, undo_plan, unwanted
from spoke.apply.plan import claims
from tests.unit.spoke.adopt.samples import bundle, child, flux, of, thing, workload_id

WEB, SETTINGS, OLD = thing("web"), thing("settings"), thing("old")


def made(
    found: list[FluxKustomization],
    live: Mapping[ObjectId, Found | None] | None = None,
    *,
    frozen_too: bool = False,
    suspended: bool = False,
    wanted: Mapping[str, list[ObjectId]],
) -> Plan:
    desired = bundle(**wanted)
    workloads = dict.fromkeys(desired.by_id, suspended)
    return plan(found, workloads, claims(desired.workloads), live or {}, frozen_too=frozen_too)


def fates(result: Plan) -> dict[str, Fate]:
    return {row.flux.name.name: row.fate for row in result.rows}


def test_what_both_want_changes_hands_and_the_rest_is_left() -> None:
    found = [flux("apps", WEB, OLD)]
    assert unwanted(found, claims(bundle(apps=[WEB]).workloads)) == {OLD}
    result = made(found, {OLD: of("apps")}, wanted={"apps": [WEB, SETTINGS]})
    (row,) = result.rows
    assert (row.fate, dict(row.moving or {}), row.left) == (Fate.ADOPT, {WEB: workload_id("apps")}, (OLD,))
    assert result.left == (OLD,)


@pytest.mark.parametrize(
    "live",
    [
        None,
        Found({}, {}),
        of("another"),
        of("apps", **{"kustomize.toolkit.fluxcd.io/prune": "disabled"}),
        Found(
            {**of("apps").labels, "app.kubernetes.io/part-of": "flux", "app.kubernetes.io/instance": "flux-system"}, {}
        ),
    ],
    ids=["gone", "without labels", "of another", "prune disabled", "Flux itself"],
)
def test_what_flux_would_not_prune_is_not_left(live: Found | None) -> None:
    assert made([flux("apps", WEB, OLD)], {OLD: live}, wanted={"apps": [WEB]}).left == ()


def test_flux_s_own_configuration_stays_and_is_counted() -> None:
    source = ObjectId("source.toolkit.fluxcd.io", "GitRepository", "flux-system", "flux-system")
    (row,) = made([flux("flux-system", source, child("gone"))], wanted={"flux-system": []}).rows
    assert (row.fate, row.own, row.left, row.moving) == (Fate.ADOPT, 2, (), {})


def test_parents_come_first_also_those_that_apply_themselves_and_each_other() -> None:
    found = [
        flux("a-child", WEB),
        flux("parent", child("a-child")),
        flux("root", child("root"), child("parent")),
        flux("x-circle", child("y-circle")),
        flux("y-circle", child("x-circle")),
    ]
    names = [row.flux.name.name for row in made(found, wanted={"root": [], "parent": [], "a-child": [WEB]}).rows]
    assert names.index("root") < names.index("parent") < names.index("a-child")


def test_one_that_felloe_does_not_know_stays_with_flux() -> None:
    result = made([flux("others", WEB, OLD)], {OLD: of("others")}, wanted={"apps": [WEB]})
    (row,) = result.rows
    assert row.fate is Fate.STAYS
    assert "1 of its objects" in row.why
    assert result.unmatched == (workload_id("apps"),)
    assert result.left == ()


def test_one_that_felloe_does_not_know_stops_where_it_applies_one_that_is_taken_over() -> None:
    result = made([flux("others", child("apps"), OLD), flux("apps", WEB)], {OLD: of("others")}, wanted={"apps": [WEB]})
    assert fates(result) == {"others": Fate.ADOPT, "apps": Fate.ADOPT}
    assert result.left == (OLD,)


def test_a_renamed_one_goes_to_whoever_wants_all_of_it() -> None:
    result = made([flux("old-name", WEB)], wanted={"apps": [WEB]})
    (row,) = result.rows
    assert (row.fate, row.workloads, result.unmatched) == (Fate.ADOPT, (workload_id("apps"),), ())


@pytest.mark.parametrize(
    ("facts", "fate"),
    [
        ({}, Fate.ADOPT),
        ({"mark": TAKEN, "suspend": True, "before": "unset"}, Fate.ADOPTED),
        ({"suspend": True, "before": "unset"}, Fate.ADOPT),
        ({"suspend": True, "before": "true"}, Fate.ADOPT),
        ({"mark": RELEASING, "suspend": True, "before": "false"}, Fate.ADOPT),
        ({"suspend": True}, Fate.FROZEN),
        ({"suspend": False}, Fate.ADOPT),
        ({"elsewhere": True}, Fate.ELSEWHERE),
        ({"deleting": True}, Fate.DELETING),
    ],
)
def test_how_far_it_is_decides(facts: dict[str, object], fate: Fate) -> None:
    assert fates(made([flux("apps", WEB, **facts)], wanted={"apps": [WEB]})) == {"apps": fate}


def test_what_is_frozen_is_taken_over_on_request_or_where_felloe_freezes_it_too() -> None:
    found = [flux("apps", WEB, suspend=True)]
    assert fates(made(found, frozen_too=True, wanted={"apps": [WEB]})) == {"apps": Fate.ADOPT}
    assert fates(made(found, suspended=True, wanted={"apps": [WEB]})) == {"apps": Fate.ADOPT}


def test_who_inherits_what_nobody_wants() -> None:
    same, renamed = made([flux("apps", WEB), flux("renamed", SETTINGS)], wanted={"apps": [WEB], "zoo": [SETTINGS]}).rows
    assert (same.heir, renamed.heir) == (workload_id("apps"), workload_id("zoo"))


def test_flux_is_a_rival_until_it_was_taken_over() -> None:
    def of_flux(*found: FluxKustomization) -> set[str]:
        desired = bundle(apps=[WEB], zoo=[SETTINGS])
        return {identity.name for identity in rivals(found, desired.by_id, claims(desired.workloads))}

    assert of_flux(flux("apps", OLD)) == {"apps"}
    assert of_flux(flux("renamed", SETTINGS)) == {"zoo"}
    assert of_flux(flux("sharing", SETTINGS, OLD)) == set()
    assert of_flux(flux("sharing", SETTINGS, OLD, mark=RELEASING)) == {"zoo"}
    assert of_flux(flux("apps", WEB, mark=TAKEN), flux("zoo", elsewhere=True)) == set()


def test_undo_returns_what_was_taken_children_first() -> None:
    facts = {"mark": TAKEN, "suspend": True, "before": "unset"}
    found = [
        flux("root", child("apps"), **facts),
        flux("apps", WEB, **facts),
        flux("half", suspend=True, before="false"),
        flux("new", SETTINGS),
        flux("others", OLD),
    ]
    desired = bundle(root=[], apps=[WEB], new=[SETTINGS])
    result = undo_plan(found, desired.by_id, claims(desired.workloads), {workload_id("new"): 1})
    names = [row.flux.name.name for row in result.of(Fate.RETURN)]
    assert sorted(names) == ["apps", "half", "new", "root"]
    assert names.index("apps") < names.index("root")
    assert fates(result)["others"] is Fate.STAYS
