"""What the tests of the hub's composition have."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    process = subprocess.Popen([sys.executable, "-m", "tests.servers.otlp", str(folder)])
    try:
        deadline = time.monotonic() + 30
        while not (folder / "port").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{(folder / 'port').read_text()}")
        yield folder
    finally:
        process.kill()
        process.wait()
