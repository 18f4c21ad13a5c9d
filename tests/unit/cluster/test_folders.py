"""Folders of clusters go with them, also after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster.folders import ClusterFolder

ROOT = Path(__file__).resolve().parents[3]
KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from tests.cluster.folders import ClusterFolder
folder = ClusterFolder("one", Path(sys.argv[1]))
(folder.path / "data").mkdir()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_RUN, str(tmp_path)], cwd=ROOT, check=False, timeout=30)
    (left,) = tmp_path.iterdir()
    folder = ClusterFolder("two", tmp_path)
    assert not left.exists()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_running_cluster_keeps_its_folder(tmp_path: Path) -> None:
    first, second = ClusterFolder("one", tmp_path), ClusterFolder("two", tmp_path)
    assert first.path.is_dir()
    first.close()
    second.close()
