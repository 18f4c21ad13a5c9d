"""Every cluster is in one stage, the one that people would expect, and what is odd about that is said."""

from __future__ import annotations

from collections import Counter

import pytest

from hub.fleet.labels import LabelSelector, Requirement
from hub.fleet.strategy import Order, OrderBy, Share, Stage, Strategy
from hub.rollout import state_json, state_of
from hub.rollout.model import Member, RolloutState
from hub.rollout.stages import in_order, place, stages_of

CANARY = LabelSelector((("canary", "true"),))
MEMBERS = [
    Member("a", {"canary": "true", "region": "eu"}, "dev"),
    Member("b", {"region": "us"}, "dev"),
    Member("c", {"region": "ap"}, "production"),
    Member("d", {}, "production"),
]


def placed(*stages: Stage, members: list[Member] | None = None) -> dict[str, str]:
    everyone = MEMBERS if members is None else members
    return dict(place(stages_of(Strategy("careful", stages)), by_name(everyone), {}).stage_of)


def warned(*stages: Stage) -> list[str]:
    return list(place(stages_of(Strategy("careful", stages)), by_name(MEMBERS), {}).warnings)


def by_name(members: list[Member]) -> dict[str, Member]:
    return {each.name: each for each in members}


def test_who_is_meant_by_no_stage_comes_last() -> None:
    assert placed(Stage("canary", CANARY)) == {"a": "canary", "b": "the rest", "c": "the rest", "d": "the rest"}
    assert placed() == dict.fromkeys("abcd", "the rest")


@pytest.mark.parametrize(
    ("stage", "taken"),
    [
        (Stage("one", environments=("dev",)), "ab"),
        (Stage("one", clusters=("b", "d", "not there")), "bd"),
        (Stage("one", CANARY, environments=("production",)), ""),
        (Stage("one", LabelSelector((), (Requirement("region", "In", ("us", "ap")),))), "bc"),
        (Stage("one", LabelSelector((), (Requirement("region", "DoesNotExist"),)), environments=("production",)), "d"),
        (Stage("one", share=Share(3)), "abc"),
        (Stage("one", share=Share(99)), "abcd"),
        (Stage("one", share=Share(percent=25.0)), "a"),
        (Stage("one", share=Share(percent=26.0)), "ab"),
        (Stage("one", share=Share(1), order=Order(OrderBy.LABEL, "region")), "c"),
        (Stage("one", environments=("production",), share=Share(percent=50.0)), "c"),
    ],
)
def test_all_that_a_stage_says_has_to_match(stage: Stage, taken: str) -> None:
    assert "".join(sorted(name for name, each in placed(stage).items() if each == "one")) == taken


def test_a_share_is_of_all_that_its_stage_means_whatever_earlier_stages_have() -> None:
    quarter, half = Share(percent=25.0), Share(percent=50.0)
    assert placed(*(Stage(name, share=quarter) for name in ("one", "two", "three"))) == {
        "a": "one",
        "b": "two",
        "c": "three",
        "d": "the rest",
    }
    dev = Stage("two", environments=("dev",), share=half)
    assert placed(Stage("one", share=quarter), dev) == {"a": "one", "b": "two", "c": "the rest", "d": "the rest"}
    assert placed(Stage("one", share=Share(3)), Stage("two", share=half))["d"] == "two"


def test_overlapping_stages_are_warned_of_and_the_first_one_has_the_cluster() -> None:
    stages = (Stage("canary", CANARY), Stage("dev", environments=("dev",)))
    assert placed(*stages)["a"] == "canary"
    assert warned(*stages) == ["stages 'canary' and 'dev' overlap: a match both and go with 'canary'"]


def test_a_share_of_some_and_then_all_of_them_is_no_overlap() -> None:
    assert warned(Stage("some", environments=("dev",), share=Share(1)), Stage("all", environments=("dev",))) == []
    assert warned(Stage("canary", CANARY), Stage("everybody")) == []


def test_a_selector_that_matches_nothing_is_a_warning() -> None:
    [warning] = warned(Stage("one", LabelSelector((("no", "where"),))))
    assert warning == "stage 'one' has no clusters: none of the 4 of this rollout is meant by it"
    assert (
        "those that it means are all in earlier stages" in warned(Stage("all"), Stage("dev", environments=("dev",)))[0]
    )


def test_a_share_that_rounds_to_zero_takes_one_and_says_so() -> None:
    assert list(placed(Stage("one", share=Share(percent=1.0))).values()).count("one") == 1
    [warning] = warned(Stage("one", share=Share(percent=1.0)))
    assert warning == "stage 'one': 1% of 4 clusters is less than one cluster: it takes one"


def test_placed_clusters_stay_when_their_labels_change() -> None:
    stages = stages_of(Strategy("careful", (Stage("canary", CANARY),)))
    before = place(stages, by_name(MEMBERS), {}).stage_of
    swapped = [Member("a", {}), Member("b", {"canary": "true"}), *MEMBERS[2:]]
    assert place(stages, by_name(swapped), before).stage_of == before


def test_a_newcomer_goes_where_it_matches_but_into_no_share() -> None:
    stages = stages_of(Strategy("careful", (Stage("some", share=Share(1)), Stage("canary", CANARY))))
    before = place(stages, by_name(MEMBERS[1:]), {}).stage_of
    joined = place(stages, by_name([*MEMBERS, Member("e")]), before)
    assert joined.stage_of == {**before, "a": "canary", "e": "the rest"}


def test_a_cluster_whose_stage_is_gone_is_placed_anew() -> None:
    before = placed(Stage("canary", CANARY))
    stages = stages_of(Strategy("careful", (Stage("first", CANARY),)))
    assert place(stages, by_name(MEMBERS), before).stage_of == {**before, "a": "first"}


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order(), "abcd"),
        (Order(OrderBy.LABEL, "region"), "cabd"),
        (Order(OrderBy.LABEL, "nowhere"), "abcd"),
    ],
)
def test_clusters_are_lined_up_by_name_or_label(order: Order, names: str) -> None:
    assert "".join(each.name for each in in_order(order, reversed(MEMBERS))) == names


def test_random_order_is_the_same_for_the_same_seed_only() -> None:
    members = [Member(f"cluster-{n}") for n in range(50)]

    def lined_up(seed: str) -> list[str]:
        return [each.name for each in in_order(Order(OrderBy.RANDOM, seed=seed), members)]

    assert lined_up("1") == lined_up("1") != lined_up("2")
    assert sorted(lined_up("1")) == sorted(each.name for each in members)


def test_a_stage_keeps_its_order_over_a_restart_and_newcomers_come_last() -> None:
    stages = stages_of(Strategy("careful", (Stage("by region", order=Order(OrderBy.LABEL, "region")),)))
    placing = place(stages, by_name(MEMBERS), {})
    assert "".join(placing.stage_of) == "cabd"
    restarted = state_of(state_json(RolloutState(1, stage_of=placing.stage_of))).stage_of
    moved = [Member("e", {"region": "aa"}), *MEMBERS[:3], Member("d", {"region": "aa"})]
    assert "".join(place(stages, by_name(moved), restarted).stage_of) == "cabde"


def test_random_order_takes_no_side() -> None:
    members = [Member(f"cluster-{n:05}") for n in range(10_000)]
    for seed in "123":
        first = [each.name for each in in_order(Order(OrderBy.RANDOM, seed=seed), members)[:1000]]
        for digit in range(-4, 0):
            counts = Counter(name[digit] for name in first)
            assert all(50 < counts[each] < 150 for each in "0123456789"), "a tenth of each, by five standard deviations"


def test_two_stages_of_one_name_are_told_apart() -> None:
    stages = stages_of(Strategy("careful", (Stage("one"), Stage("one"), Stage("the rest"))))
    assert [stage.name for stage in stages] == ["one", "one 2", "the rest", "the rest 2"]
