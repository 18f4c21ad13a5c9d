"""A source to write, and a renderer with the real kustomize."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hub.render.render import Renderer
from tests.unit.hub.render.helpers import FolderTree, make_renderer, write

Write = Callable[[Mapping[str, str]], FolderTree]


@pytest.fixture
def source(tmp_path: Path) -> Write:
    """Write files (``-> target`` makes a symbolic link) and return the source that holds them."""
    folder = tmp_path / "source"
    folder.mkdir()

    def write_more(files: Mapping[str, str]) -> FolderTree:
        write(folder, files)
        return FolderTree(folder)

    return write_more


@pytest.fixture(params=["kustomize", "kubectl"])
def either_binary(request: pytest.FixtureRequest) -> Path:
    """Every kustomize that Felloe can build with, one after the other."""
    if request.param == "kustomize":
        return Path(request.getfixturevalue("kustomize_binary"))
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on the PATH")
    return Path(kubectl)


@pytest.fixture
async def renderer(tmp_path: Path, kustomize_binary: Path) -> Renderer:
    """A renderer with an empty memory."""
    return await make_renderer(tmp_path / "data", kustomize_binary)
