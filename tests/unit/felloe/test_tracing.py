"""Tracing is off and imports nothing until an endpoint is named; then parents and links are kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe.tracing import OFF, traced, tracer
from tests.servers import otlp


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[str]:
    with otlp.running(tmp_path) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_is_off_without_an_endpoint(environ: dict[str, str]) -> None:
    assert tracer("felloe-hub", environ) is OFF
    with traced(OFF, "step") as span:
        assert span.traceparent == ""


def test_importing_it_does_not_load_opentelemetry() -> None:
    code = "import sys, felloe.tracing as t; t.tracer('x', {}); sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_receiver_gets_parents_links_and_failures(
    receiver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver)
    tracing = tracer("felloe-test", {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver})

    def fail() -> None:
        with traced(tracing, "broken", parent="not a traceparent"):
            raise ValueError("no")

    with traced(tracing, "commit", attributes={"revision": "main@sha1:abc"}) as commit:
        child = tracing.start("deliver", parent=commit.traceparent, links=[commit.traceparent, "00-bad"])
        child.end()
    with pytest.raises(ValueError, match="no"):
        fail()
    tracing.shutdown()

    spans = {span["name"]: span for span in otlp.received(tmp_path)}
    assert spans["deliver"]["trace"] == spans["commit"]["trace"]
    assert spans["deliver"]["parent"] == spans["commit"]["span"]
    assert spans["deliver"]["links"] == [spans["commit"]["span"]]
    assert spans["commit"]["attributes"] == {"revision": "main@sha1:abc"}
    assert spans["commit"]["service"] == "felloe-test"
    assert spans["broken"]["failed"]
    assert spans["broken"]["parent"] == ""
