"""What Prometheus reads from a hub at work is true."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

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

pytestmark = pytest.mark.cluster

Sample = tuple[str, frozenset[tuple[str, str]]]


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._samples.get((name, frozenset(labels.items())), 0.0)


Scrape = Callable[[], Metrics]


def settings(name: str, value: str) -> dict[str, str]:
    return {f"{name}/all.yaml": documents(namespace("shop"), config_map("settings", "shop", value=value))}


@pytest.fixture(scope="module")
def fleet(clusters: ClusterPool, kustomize_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The settings of its environment in each of two clusters."""
    members = dict(zip(("dev", "staging"), clusters.get(2), strict=True))
    with Fleet(tmp_path_factory.mktemp("measured"), members, kustomize_binary) as fleet:
        fleet.repository.commit(
            {
                "fleet/fleet.yaml": documents(
                    *(environment(name) for name in members),
                    git_repository("config", fleet.url),
                    kustomization("settings", "./${env}"),
                    placement("settings", "settings"),
                ),
                **settings("dev", "1"),
                **settings("staging", "1"),
            },
            "the settings",
        )
        fleet.hub.start()
        for name in members:
            fleet.join(name, env=name)
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2m", timeout=150)
        yield fleet


@pytest.fixture
def scrape(fleet: Fleet) -> Scrape:
    """Scrapes as Prometheus does: over https, with the CA, without a credential."""
    context = ssl.create_default_context(cadata=yaml.safe_load((fleet.hub.data / "admin.yaml").read_text())["ca"])

    def get() -> Metrics:
        answer = httpx.get(f"{fleet.hub.url}/metrics", verify=context, trust_env=False)
        answer.raise_for_status()
        assert answer.headers["content-type"].startswith("text/plain")
        return Metrics(answer.text)

    return get


def test_a_delivery_is_counted_and_timed_stage_by_stage(fleet: Fleet, scrape: Scrape) -> None:
    before = scrape()
    fleet.deliver({**settings("dev", "2"), **settings("staging", "2")}, to="healthy")

    def delivered(stage: str) -> float:
        return scrape()("felloe_delivery_seconds_count", stage=stage) - before(
            "felloe_delivery_seconds_count", stage=stage
        )

    eventually(lambda: delivered("healthy") == 2, "both clusters are counted as healthy")
    assert [delivered(stage) for stage in ("acked", "applied", "healthy")] == [2, 2, 2]
    after = scrape()
    took = {
        stage: after("felloe_delivery_seconds_sum", stage=stage) - before("felloe_delivery_seconds_sum", stage=stage)
        for stage in ("acked", "applied", "healthy")
    }
    assert 0 < took["acked"] <= took["applied"] <= took["healthy"]


def test_what_is_built_and_what_is_used_again_is_told_apart(fleet: Fleet, scrape: Scrape) -> None:
    before = scrape()
    fleet.deliver(settings("dev", "3"))
    after = scrape()
    change = {
        result: after("felloe_renders_total", result=result) - before("felloe_renders_total", result=result)
        for result in ("built", "cached", "failed")
    }
    assert change == {"built": 1, "cached": 1, "failed": 0}
    assert after("felloe_render_seconds_count") - before("felloe_render_seconds_count") == 1
    assert after("felloe_render_seconds_sum") > before("felloe_render_seconds_sum")


def test_looks_at_a_source_are_counted_by_what_they_found(fleet: Fleet, scrape: Scrape) -> None:
    def looks(metrics: Metrics) -> dict[str, float]:
        results = ("fetched", "unchanged", "failed")
        return {result: metrics("felloe_source_fetch_seconds_count", result=result) for result in results}

    before = looks(scrape())
    assert before["fetched"] >= 1
    fleet.commit({"README.md": "words\n"})
    fetched = looks(scrape())
    assert fetched == {**before, "fetched": before["fetched"] + 1}
    fleet.hub.felloe("reconcile", "source", "fleet")
    assert looks(scrape()) == {**fetched, "unchanged": fetched["unchanged"] + 1}


def test_workloads_are_counted_by_condition(fleet: Fleet, scrape: Scrape) -> None:
    def ready() -> dict[str, float]:
        metrics = scrape()
        return {
            status: metrics("felloe_workloads", condition="Ready", status=status)
            for status in ("True", "False", "Unknown")
        }

    eventually(lambda: ready() == {"True": 2, "False": 0, "Unknown": 0}, f"both workloads are ready, not {ready()}")
    assert scrape()("felloe_workloads", condition="Healthy", status="True") == 2
    refused = config_map("settings", "shop") | {"data": {"no good key": "1"}}
    fleet.commit({"dev/all.yaml": documents(namespace("shop"), refused)})
    eventually(lambda: ready() == {"True": 1, "False": 1, "Unknown": 0}, "the refused one is not ready")
    fleet.wait(fleet.revert(), "healthy")
    eventually(lambda: ready() == {"True": 2, "False": 0, "Unknown": 0}, "both are ready again")


def test_a_spoke_that_dies_is_no_longer_counted_as_connected(fleet: Fleet, scrape: Scrape) -> None:
    eventually(lambda: scrape()("felloe_spokes_connected") == 2, "both are connected")
    fleet.spokes["dev"].kill()
    eventually(lambda: scrape()("felloe_spokes_connected") == 1, "one is connected")
    fleet.spokes["dev"].start()
    eventually(lambda: scrape()("felloe_spokes_connected") == 2, "both are connected again")
