"""What an install brings: the spoke runs in every cluster, so nothing of the hub's may reach it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HUBS_OWN = {"dulwich", "helm-python-sdk", "httpx", "paramiko", "rich", "starlette", "uvicorn", "kubernetes", "etcd3"}


def installed_by(extra: str) -> set[str]:
    """Return the distributions that ``pip install felloe[extra]`` brings, by the lock file."""
    packages: dict[str, dict[str, Any]] = {
        package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    }
    felloe = packages["felloe"]
    todo = [*felloe["dependencies"], *felloe["optional-dependencies"][extra]]
    found: set[str] = set()
    while todo:
        name = todo.pop()["name"]
        if name not in found:
            found.add(name)
            todo += packages[name].get("dependencies", [])
    return found


def test_the_spoke_brings_no_git_helm_web_or_database_library() -> None:
    brought = installed_by("spoke")
    assert {"uvloop", "grpcio", "common-expression-language"} <= brought
    assert brought & (HUBS_OWN - {"rich"}) == set()  # rich comes with typer, and is not imported by a running spoke


def test_the_hub_brings_what_it_needs() -> None:
    assert {"dulwich", "starlette", "uvicorn", "httpx"} <= installed_by("hub")


@pytest.mark.parametrize("library", ["typer", "rich", "click", "opentelemetry", "dulwich", "httpx", "cel", "aiohttp"])
def test_a_running_spoke_does_not_load(library: str) -> None:
    code = f"import sys, spoke.agent, spoke.__main__; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
