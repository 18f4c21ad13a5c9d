"""felloe explain: in words, as JSON, and what it says of names that are not there."""

from __future__ import annotations

import json

from tests.unit.hub.api.inmemory import Threaded
from tests.unit.hub.cli.conftest import Felloe
from tests.unit.hub.targeting.test_explaining import subject


def explained(hub: Threaded) -> None:
    hub.do(lambda h: h.subjects.update({"dev-1": subject("p1", tier="web")}))


def test_a_placement_in_words(hub: Threaded, felloe: Felloe) -> None:
    explained(hub)
    done = felloe("explain", "placement", "shop", "--cluster", "dev-1")
    assert done.code == 0, done.err
    first, second, *rest = done.out.splitlines()
    assert first == "cluster p1 gets what Placement shop places"
    assert second == "  Kustomization/flux-system/shop"
    shown = "\n".join(" ".join(line.split()) for line in rest)
    assert "yes clusterSelector tier=web tier is 'web', by its join token" in shown
    assert "spec.overrides[0] applies (variable size, image nginx)" in shown
    assert "spec.overrides[1] does not apply (variable size)" in shown
    assert "no clusterNames p2 it is p1" in shown


def test_a_variable_in_words_and_as_json(hub: Threaded, felloe: Felloe) -> None:
    explained(hub)
    done = felloe("explain", "variable", "size", "--cluster", "dev-1", "--workload", "shop")
    assert done.code == 0, done.err
    assert done.out.startswith("size is 'last' for Kustomization/flux-system/shop on cluster p1\n")
    (winner,) = [line.split() for line in done.out.splitlines() if "wins" in line]
    assert winner == ["wins", "Placement", "shop,", "spec.overrides[2]", "for", "workloads", "of", "shop", "last"]
    answer = json.loads(felloe("explain", "variable", "size", "--cluster", "dev-1", "-o", "json").out)
    assert (answer["kind"], answer["value"], answer["workload"]) == ("VariableExplanation", "cluster", None)
    assert [one["by"] for one in answer["chain"] if one["wins"]] == ["Cluster p1"]


def test_names_that_are_not_there(hub: Threaded, felloe: Felloe) -> None:
    explained(hub)
    done = felloe("explain", "placement", "shopp", "--cluster", "dev-1")
    assert (done.code, done.out) == (1, "")
    assert "there is no Placement 'shopp'; did you mean shop?" in done.err
    assert "there is no cluster 'x'" in felloe("explain", "placement", "shop", "--cluster", "x").err
    done = felloe("explain", "variable", "size", "--cluster", "dev-1", "--workload", "nope")
    assert "has no workload 'nope'" in done.err
    done = felloe("explain", "variable", "siez", "--cluster", "dev-1")
    assert (done.code, done.out.splitlines()[0]) == (0, "siez is not set for cluster p1")
    assert "did you mean size?" in done.out
