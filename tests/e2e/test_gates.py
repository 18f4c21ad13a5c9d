"""Gates ask a real Prometheus: what passes, what does not, and what it says of a query that is none."""

from __future__ import annotations

import asyncio
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.fleet.strategy import PrometheusGate
from hub.gates.asking import Asked, Gates, Question
from hub.rollout.model import GateResult, Track, Verdict
from hub.sources.secrets import SecretFolder
from tests.cluster.binaries import ensure
from tests.cluster.ports import free_ports

SECONDS = 60
TRACK = Track("placement/shop")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes itself."""
    binary = ensure(["prometheus"])["prometheus"]
    folder = tmp_path_factory.mktemp("prometheus")
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    scrape = f'scrape_configs: [{{job_name: own, scrape_interval: 1s, static_configs: [{{targets: ["{address}"]}}]}}]\n'
    (folder / "prometheus.yml").write_text(scrape)
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data"}
    argv = [str(binary), f"--web.listen-address={address}", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(f"http://{address}/-/ready", process, folder / "log")
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])


async def answer(gate: PrometheusGate, verdict: Verdict) -> GateResult:
    """Ask until the gate says what is expected."""
    gates = Gates(SecretFolder(), lambda _track: None)
    task = asyncio.create_task(gates.run())
    gates.ask({Question(TRACK, 1, "canary", gate.name): Asked(gate)})
    end = time.monotonic() + SECONDS
    try:
        while (found := gates.answers(TRACK, 1).get(("canary", gate.name))) is None or found.verdict is not verdict:
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)
        return found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("query", "operator", "threshold", "verdict", "says"),
    [
        ('up{job="own"}', "==", 1.0, Verdict.PASSED, 'job="own"} 1 is == 1'),
        ('up{job="own"}', "<", 1.0, Verdict.WAITING, "the value is not < 1: up{"),
        ("vector(0.005) or on() vector(1)", "<", 0.01, Verdict.PASSED, "0.005 is < 0.01"),
        ("scalar(vector(2))", ">=", 2.0, Verdict.PASSED, "2 is >= 2"),
        ("vector(NaN)", "!=", 1.0, Verdict.WAITING, "nan"),
        ("vector(1) / 0", ">", 1e300, Verdict.PASSED, "inf is > 1e+300"),
        ("absent_series", "<", 1.0, Verdict.WAITING, "the result of the query is empty"),
        ("sum(", "<", 1.0, Verdict.WAITING, "says bad_data: invalid parameter"),
        ('up{job="own"}[5m]', "<", 1.0, Verdict.WAITING, "the query gives matrix"),
        ('"text"', "<", 1.0, Verdict.WAITING, "the query gives string"),
    ],
)
async def test_what_a_prometheus_says_lets_a_rollout_go_on_or_not(
    prometheus: str, query: str, operator: str, threshold: float, verdict: Verdict, says: str
) -> None:
    gate = PrometheusGate("errors", prometheus, query, operator, threshold, interval=0.2)
    assert says in (await answer(gate, verdict)).message


async def test_a_series_that_is_there_only_with_errors_may_be_empty(prometheus: str) -> None:
    gate = PrometheusGate("errors", prometheus, "absent_series", "<", 1.0, empty_passes=True, interval=0.2)
    assert (await answer(gate, Verdict.PASSED)).message == "the result of the query is empty"
