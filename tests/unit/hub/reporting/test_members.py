"""Sources, environments and placements are shown as people wrote them."""

from __future__ import annotations

from datetime import UTC, datetime

from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.model import Environment, Fleet, Override, Placement
from hub.fleet.strategy import Promotion
from hub.reporting.members import environment_facts, placement_facts, source_facts
from hub.sources.follow import SourceState
from hub.sources.spec import GitRef, GitSpec
from hub.status.members import build_environment
from hub.targeting import ClusterPlan, DeclaredSource
from hub.targeting.plan import Condition

FLEET = GitSpec("felloe-system", "fleet", "https://git.example.com/fleet.git", GitRef(branch="main"))


def declared(url: str, *conditions: Condition) -> DeclaredSource:
    spec = GitSpec("flux-system", "apps", url, GitRef(branch="main"))
    return DeclaredSource(spec, spec, conditions)


def states(*sources: DeclaredSource, error: str | None = None) -> list[SourceState]:
    return [SourceState(FLEET), *(SourceState(each.followed, error=error) for each in sources)]


def test_a_source_that_no_name_is_declared_for_is_shown_by_its_own() -> None:
    (only,) = source_facts(states(), ())
    assert (only.namespace, only.name, only.conditions) == ("felloe-system", "fleet", ())


def test_the_fleets_own_repository_is_shown_by_every_name_that_it_has() -> None:
    flux = DeclaredSource(GitSpec("flux-system", "flux-system", FLEET.url, GitRef(branch="main")), FLEET)
    assert [(one.namespace, one.name) for one in source_facts(states(), [flux])] == [
        ("felloe-system", "fleet"),
        ("flux-system", "flux-system"),
    ]


def test_one_name_for_two_repositories_says_so() -> None:
    one, other = declared("https://git.example.com/one.git"), declared("https://git.example.com/other.git")
    _, apps = source_facts(states(one, other), [one, other])
    assert apps.url == "https://git.example.com/one.git"
    assert apps.notes == ("other clusters mean something else by this name (1 more)",)


def test_one_repository_that_two_files_declare_is_one() -> None:
    url = "https://git.example.com/one.git"
    said = [declared(url, Condition("Unsupported", "True", "NotSupportedYet", f"{file}: spec.x")) for file in "ab"]
    _, apps = source_facts(states(said[0]), said)
    assert apps.notes == ()


def test_why_a_fetch_failed_is_its_condition() -> None:
    source = declared("https://git.example.com/one.git")
    _, apps = source_facts(states(source, error="no answer"), [source])
    assert [(one.type, one.status, one.message) for one in apps.conditions] == [("Ready", "False", "no answer")]


def test_environments_and_placements_name_their_clusters_and_their_selectors() -> None:
    selector = LabelSelector((("env", "dev"),), (Requirement("tier", "In", ("a", "b")),))
    fleet = Fleet(
        environments={"dev": Environment("dev", selector, promotes_from=Promotion("test"))},
        placements={"shop": Placement("shop", (), None, ("dev",))},
    )
    plans = {
        "b": ClusterPlan("b", labels={"env": "dev", "tier": "a"}, placements=("shop",)),
        "a": ClusterPlan("a", labels={"env": "dev", "tier": "b"}, placements=("shop",)),
        "c": ClusterPlan("c", labels={"env": "dev", "tier": "c"}),
    }
    (environment,) = environment_facts(fleet, plans)
    assert (environment.clusters, environment.promoted_from) == (("a", "b"), "test")
    assert environment.selector == {
        "matchLabels": {"env": "dev"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
    }
    (placement,) = placement_facts(fleet, plans)
    assert (placement.clusters, placement.environments, placement.selector) == (("a", "b"), ("dev",), {})


def test_a_selector_that_matches_nothing_is_a_warning_and_no_failure() -> None:
    placements = {
        "nobody": Placement("nobody", (), LabelSelector((("env", "prd"),))),
        "some": Placement("some", (), cluster_names=("a",), overrides=(Override(cluster_names=("b",)),)),
        "all": Placement("all", (), LabelSelector(), overrides=(Override(cluster_names=("b",)),)),
    }
    fleet = Fleet(environments={"prd": Environment("prd", LabelSelector((("env", "prd"),)))}, placements=placements)
    plans = {
        "a": ClusterPlan("a", labels={"env": "prod"}, placements=("some", "all")),
        "b": ClusterPlan("b", labels={"env": "prod"}, placements=("all",)),
    }
    (environment,) = environment_facts(fleet, plans)
    said = {
        one.name: [(each.type, each.status, each.message) for each in one.conditions]
        for one in placement_facts(fleet, plans)
    }
    nothing = ("Selected", "False", "it selects none of 2 clusters; env=prd means 0")
    assert [(each.type, each.status, each.message) for each in environment.conditions] == [nothing]
    idle = ("Selected", "False", "spec.overrides[0] (clusters b) of it mean none of its 1 clusters")
    assert said == {"nobody": [nothing], "some": [idle], "all": []}
    resource = build_environment(environment, {}, {}, datetime(2026, 1, 1, tzinfo=UTC))
    assert [(each.type, each.status) for each in resource.conditions] == [("Ready", "True"), ("Selected", "False")]
