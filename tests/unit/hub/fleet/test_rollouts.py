"""Strategies as Git writes them: every field, every mistake with its field, and what objects say of each other."""

from __future__ import annotations

import pytest

from hub.fleet import Fleet, FleetError, LabelSelector, load_fleet
from hub.fleet.strategy import (
    ApprovalGate,
    Freeze,
    HttpGate,
    Offline,
    OnFailure,
    OnNewRelease,
    Order,
    OrderBy,
    PrometheusGate,
    Promotion,
    Share,
    Stage,
    Strategy,
    Window,
)
from tests.unit.hub.targeting.world import MemoryTree

WHOLE = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Rollout
metadata: {name: careful}
spec:
  stages:
    - name: canary
      clusterSelector: {matchLabels: {canary: "true"}}
      environments: [staging]
      clusters: [one, two]
      share: 1
      maxConcurrent: 25%
      maxUnavailable: 2
      maxFailures: 1
      order: {by: Label, label: region}
      soak: 10m
      timeout: 5m
      onFailure: RollBackStage
      gates:
        - {name: ok, approval: {}}
        - {name: smoke, http: {url: "https://shop.example/health", statuses: [200, 204], contains: ok, timeout: 5s,
                               interval: 1m, patience: 2h}}
        - {name: errors, prometheus: {url: "http://prometheus:9090", query: "sum(errors)", operator: "<",
                                      threshold: "0.01", emptyPasses: true,
                                      secretRef: {name: reader}}}
    - {name: rest, share: 12.5%, order: {by: Random, seed: x}}
  windows: [{schedule: "0 9 * * 1-5", duration: 8h, timeZone: Europe/Berlin}]
  freezes: [{first: 2026-12-23, last: 2027-01-02, timeZone: Asia/Tokyo}]
  offline: Wait
  onNewRelease: Finish
  onRevert: fast
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Rollout
metadata: {name: fast}
spec: {}
---
"""


def own(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: fleet.felloe.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"


def environment(name: str, more: str = "") -> str:
    return own("Environment", name, f"{{clusterSelector: {{matchLabels: {{env: {name}}}}}, {more}}}")


def stage(fields: str) -> str:
    return own("Rollout", "x", f"{{stages: [{{name: a, {fields}}}]}}")


def gates(*written: str) -> str:
    return stage(f"gates: [{', '.join(written)}]")


def load(text: str) -> Fleet:
    return load_fleet(MemoryTree({"fleet/a.yaml": text}), "fleet")


def test_every_field_of_a_rollout_is_read() -> None:
    fleet = load(WHOLE + environment("staging"))
    assert fleet.strategies["careful"] == Strategy(
        "careful",
        stages=(
            Stage(
                "canary",
                selector=LabelSelector((("canary", "true"),)),
                environments=("staging",),
                clusters=("one", "two"),
                share=Share(1),
                max_concurrent=Share(percent=25),
                max_unavailable=Share(2),
                max_failures=1,
                order=Order(OrderBy.LABEL, "region"),
                soak=600,
                timeout=300,
                on_failure=OnFailure.ROLL_BACK_STAGE,
                gates=(
                    ApprovalGate("ok"),
                    HttpGate("smoke", "https://shop.example/health", (200, 204), "ok", 5, 60, 7200),
                    PrometheusGate("errors", "http://prometheus:9090", "sum(errors)", "<", 0.01, True, secret="reader"),
                ),
            ),
            Stage("rest", share=Share(percent=12.5), order=Order(OrderBy.RANDOM, seed="x")),
        ),
        windows=(Window("0 9 * * 1-5", 8 * 3600, "Europe/Berlin"),),
        freezes=(Freeze("2026-12-23", "2027-01-02", "Asia/Tokyo"),),
        offline=Offline.WAIT,
        on_new_release=OnNewRelease.FINISH,
        on_revert="fast",
    )
    assert fleet.strategies["fast"] == Strategy("fast")


def test_what_environments_and_placements_say_of_rollouts_is_read() -> None:
    fleet = load(
        WHOLE
        + environment("dev")
        + environment("staging", "promotesFrom: dev, rollout: fast")
        + environment("production", "promotesFrom: {environment: staging, soak: 1h, approval: true}, rollout: careful")
        + own("Placement", "shop", "{clusterSelector: {}, workloads: [], rollout: careful}")
    )
    assert fleet.environments["dev"].promotes_from is None
    assert fleet.environments["staging"].promotes_from == Promotion("dev")
    assert fleet.environments["production"].promotes_from == Promotion("staging", 3600, approval=True)
    assert [fleet.environments[name].rollout for name in ("dev", "staging", "production")] == ["", "fast", "careful"]
    assert fleet.placements["shop"].rollout == "careful"


HTTP = "{name: g, http: {url: 'https://x.example'%s}}"
PROMETHEUS = "{name: g, prometheus: {url: 'http://x.example', query: up, operator: '%s', threshold: %s}}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (own("Rollout", "x", "{stages: [{name: a}, {name: a}]}"), "stages[1].name: a is the name of spec.stages[0]"),
        (own("Rollout", "x", "{stages: [{}]}"), "spec.stages[0].name: is required and missing"),
        (stage("share: 0"), "stages[0].share: must be a number from 1 on or a percentage up to 100%, not the number 0"),
        (
            stage("share: 0%"),
            "stages[0].share: must be a number from 1 on or a percentage up to 100%, not the text '0%'",
        ),
        (
            stage("share: 101%"),
            "stages[0].share: must be a number from 1 on or a percentage up to 100%, not the text '101%'",
        ),
        (stage("share: '5'"), "stages[0].share: must be"),
        (stage("share: true"), "stages[0].share: must be"),
        (stage("maxConcurrent: -1"), "stages[0].maxConcurrent: must be"),
        (stage("maxUnavailable: 0"), "stages[0].maxUnavailable: must be"),
        (stage("maxFailures: -1"), "stages[0].maxFailures: must be from 0 to"),
        (stage("maxFailures: 1.5"), "stages[0].maxFailures: must be a whole number, not the number 1.5"),
        (stage("soak: 10"), "stages[0].soak: must be a duration such as 10m, not the number 10"),
        (stage("soak: soon"), "stages[0].soak: 'soon' is no duration"),
        (stage("timeout: 0s"), "stages[0].timeout: must be at least 1s, not 0s"),
        (stage("onFailure: pause"), "stages[0].onFailure: must be one of Pause, Continue, RollBackStage, RollBack"),
        (stage("clusters: []"), "stages[0].clusters: is an empty list"),
        (stage("environments: [prod]"), "stages[0].environments[0]: there is no Environment prod; none is known here"),
        (
            stage("clusterSelector: {matchExpressions: [{key: a, operator: In}]}"),
            "matchExpressions[0].values: operator",
        ),
        (stage("order: {by: Size}"), "stages[0].order.by: must be one of Name, Label, Random"),
        (stage("order: {by: Label}"), "stages[0].order.label: is required and missing"),
        (stage("order: {by: Name, seed: x}"), "stages[0].order.seed: counts only with `by: Random`"),
        (stage("maxConcurent: 1"), "stages[0].maxConcurent: unknown field; did you mean maxConcurrent?"),
        (gates("{name: g}"), "gates[0]: must have exactly one of approval, http, prometheus; it has none"),
        (
            gates("{name: g, approval: {}, http: {url: 'http://x'}}"),
            "gates[0]: must have exactly one of approval, http",
        ),
        (gates("{name: g, approval: {}}", "{name: g, approval: {}}"), "gates[1].name: g is the name of"),
        (gates("{name: g, approval: {by: me}}"), "gates[0].approval.by: unknown field"),
        (gates(HTTP % ", statuses: [99]"), "gates[0].http.statuses[0]: must be from 100 to 599, not 99"),
        (gates(HTTP % ", interval: 1ms"), "gates[0].http.interval: must be at least 1s, not 1ms"),
        (gates("{name: g, http: {url: 'ftp://x'}}"), "http.url: 'ftp://x' is no http or https URL"),
        (gates("{name: g, http: {url: 'https://[x'}}"), "http.url: 'https://[x' is no valid URL"),
        (
            gates("{name: g, http: {url: 'https://me:pw@x.example'}}"),
            "http.url: 'https://x.example': the URL holds cred",
        ),
        (gates(PROMETHEUS % ("=", 1)), "prometheus.operator: must be one of <, <=, >, >=, ==, !=, not '='"),
        (gates(PROMETHEUS % ("<", "many")), "prometheus.threshold: must be a number, not the text 'many'"),
        (gates(PROMETHEUS % ("<", "'NaN'")), "prometheus.threshold: must be a number"),
        (
            own("Rollout", "x", "{windows: [{schedule: '0 9 * *', duration: 1h}]}"),
            "windows[0].schedule: '0 9 * *' is no",
        ),
        (
            own("Rollout", "x", "{windows: [{schedule: '0 25 * * *', duration: 1h}]}"),
            "windows[0].schedule: '0 25 * * *' is no schedule, its hour is wrong; write cron's five fields, minute",
        ),
        (own("Rollout", "x", "{windows: [{schedule: '0 0 31 2 *', duration: 1h}]}"), "its day-of-month is wrong"),
        (own("Rollout", "x", "{windows: [{schedule: '0 0 * * *', duration: 0s}]}"), "windows[0].duration: must be at"),
        (
            own("Rollout", "x", "{windows: [{schedule: '0 0 * * *', duration: 1h, timeZone: Berlin}]}"),
            "windows[0].timeZone: 'Berlin' is no time zone",
        ),
        (
            own("Rollout", "x", "{windows: [{schedule: '0 0 * * *', duration: 1h, timeZone: ../etc/x}]}"),
            "windows[0].timeZone: '../etc/x' is no time zone",
        ),
        (
            own("Rollout", "x", "{freezes: [{first: 2026-02-30, last: 2026-03-01}]}"),
            "freezes[0].first: '2026-02-30' is",
        ),
        (own("Rollout", "x", "{freezes: [{first: 20260228, last: 2026-03-01}]}"), "freezes[0].first: must be a text"),
        (own("Rollout", "x", "{freezes: [{first: 2026-03-02, last: 2026-03-01}]}"), "freezes[0].last: is before its"),
        (
            own("Rollout", "x", "{onRevert: fsat}") + own("Rollout", "fast", "{}"),
            "spec.onRevert: there is no Rollout fsat",
        ),
        (own("Rollout", "x", "{onRevert: x}"), "Rollout x: spec.onRevert: goes in a circle: x → x"),
        (
            own("Rollout", "b", "{onRevert: c}")
            + own("Rollout", "c", "{onRevert: b}")
            + own("Rollout", "a", "{onRevert: b}"),
            "Rollout b: spec.onRevert: goes in a circle: b → c → b",
        ),
        (
            environment("a", "promotesFrom: a"),
            "Environment a: spec.promotesFrom: Environments promote in a circle: a ← a",
        ),
        (
            environment("b", "promotesFrom: a")
            + environment("a", "promotesFrom: c")
            + environment("c", "promotesFrom: b"),
            "Environment a: spec.promotesFrom: Environments promote in a circle: a ← c ← b ← a",
        ),
        (environment("a", "promotesFrom: dve") + environment("dev"), "there is no Environment dve; did you mean dev?"),
        (environment("a", "promotesFrom: {soak: 1h}"), "spec.promotesFrom.environment: is required and missing"),
        (environment("a", "promotesFrom: 3"), "spec.promotesFrom: must be a mapping, not the number 3"),
        (environment("a", "rollout: slow"), "Environment a: spec.rollout: there is no Rollout slow"),
        (
            own("Placement", "p", "{clusterSelector: {}, workloads: [], rollout: carefull}")
            + WHOLE
            + environment("staging"),
            "Placement p: spec.rollout: there is no Rollout carefull; did you mean careful?",
        ),
        (
            own("Placement", "sync", "{clusterSelector: {}, workloads: []}"),
            "metadata.name: 'sync' is what rollouts call",
        ),
    ],
)
def test_a_mistake_names_the_field(text: str, says: str) -> None:
    with pytest.raises(FleetError) as caught:
        load(text)
    (error,) = caught.value.errors
    assert says in str(error)
    assert str(error).startswith("fleet/a.yaml: ")


def test_all_mistakes_of_a_rollout_are_told_at_once() -> None:
    with pytest.raises(FleetError) as caught:
        load(own("Rollout", "x", "{stages: [{name: a, gates: [{name: g}]}, {name: a, clusters: []}]}"))
    assert len(caught.value.errors) == 3
