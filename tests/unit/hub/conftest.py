"""What the tests of the hub's composition have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import otlp
from tests.unit.hub.composition import World


@pytest.fixture
def world(tmp_path: Path, kustomize_binary: Path) -> World:
    """A fleet repository without a commit."""
    return World(tmp_path, kustomize_binary)


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a receiver of traces, to which the environment points."""
    folder = tmp_path / "traces"
    folder.mkdir()
    with otlp.running(folder) as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        yield folder
