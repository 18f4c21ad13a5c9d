"""In which order a commit would go through the fleet: by its own Rollouts, promotions and shares."""

from __future__ import annotations

from dataclasses import replace

from hub.fleet import Fleet
from hub.fleet.labels import LabelSelector
from hub.fleet.model import Environment, Placement
from hub.fleet.strategy import ApprovalGate, Promotion, Share, Stage, Strategy
from hub.planning.order import StageOrder, TrackOrder, Traveller, order
from hub.rollout.model import Track

SHOP = "placement/shop"
CAREFUL = Strategy(
    "careful",
    (
        Stage("canary", selector=LabelSelector((("canary", "true"),)), gates=(ApprovalGate("ok"),), soak=600.0),
        Stage("half", share=Share(percent=50.0)),
    ),
)
FLEET = Fleet(
    environments={
        "dev": Environment("dev", LabelSelector()),
        "production": Environment("production", LabelSelector(), promotes_from=Promotion("dev", 3600.0, approval=True)),
    },
    placements={"shop": Placement("shop", (), rollout="careful"), "logs": Placement("logs", ())},
    strategies={"careful": CAREFUL},
)
PLAIN = Fleet(placements=FLEET.placements, strategies={"careful": CAREFUL})


def clusters(**environments: int) -> dict[str, Traveller]:
    """Clusters of environments, the first of each a canary; all have the shop."""
    found = {}
    for environment, count in environments.items():
        for number in range(count):
            name = f"{environment}-{number}"
            labels = {"canary": str(number == 0).lower()}
            found[name] = Traveller(name, labels, environment, units=frozenset({SHOP}))
    return found


def test_without_a_rollout_all_at_once() -> None:
    there = {name: replace(each, units=frozenset({"placement/logs"})) for name, each in clusters(dev=3).items()}
    moving = [("placement/logs", "dev-2"), ("placement/logs", "dev-0")]
    assert order(PLAIN, PLAIN, there, moving) == (
        TrackOrder(Track("placement/logs"), (StageOrder("", ("dev-0", "dev-2"), 3),)),
    )


def test_stages_are_filled_by_all_clusters_and_told_where_something_changes() -> None:
    there = clusters(a=5)
    (found,) = order(PLAIN, PLAIN, there, [(SHOP, "a-0"), (SHOP, "a-4")])
    assert found == TrackOrder(
        Track(SHOP),
        (StageOrder("canary", ("a-0",), 1, ("ok (approval)",), 600.0), StageOrder("the rest", ("a-4",), 1)),
        "careful",
    )


def test_a_promotion_comes_after_what_it_waits_for() -> None:
    there = clusters(production=2, dev=1, other=1)
    moving = [(SHOP, name) for name in there]
    first, second, third = order(FLEET, FLEET, there, moving)
    assert {str(first.track), str(second.track)} == {"shop", "shop@dev"}
    assert str(third.track) == "shop@production"
    assert (third.after, third.soak, third.approval) == ("dev", 3600.0, True)
    assert [stage.clusters for stage in third.stages] == [("production-0",), ("production-1",)]


def test_what_leaves_goes_by_the_rollout_that_brought_it() -> None:
    gone = replace(PLAIN, placements={"logs": PLAIN.placements["logs"]})
    (found,) = order(gone, PLAIN, clusters(a=2), [(SHOP, "a-0"), (SHOP, "a-1")])
    assert found.rollout == "careful"


def test_a_cluster_that_is_in_no_environment_of_a_promotion_is_in_the_common_track() -> None:
    there = clusters(dev=1) | {"x": Traveller("x", units=frozenset({SHOP}))}
    assert {str(each.track) for each in order(FLEET, FLEET, there, [(SHOP, "x"), (SHOP, "dev-0")])} == {
        "shop", "shop@dev",
    }  # fmt: skip
