"""CPU shares as in Kubernetes, where a pod's weight is what it requests: the spoke's chart asks for little.

On a node that is busy a spoke gets its share only, and a control plane's static pods theirs (as kubeadm writes them).
Here that is done by control groups, version 1, where these can be made; elsewhere there is nothing to be had.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import yaml

_ROOT: Final = Path("/sys/fs/cgroup/cpu")
_SHARES_OF_A_CORE: Final = 1024
_KUBEADM: Final[Mapping[str, int]] = {"kube-apiserver": 250, "etcd": 100, "kube-controller-manager": 200}
"""Thousandths of a core, as in kubeadm's manifests (etcd's and the controller manager's included)."""
_VALUES: Final = Path(__file__).parent.parent / "charts/spoke/values.yaml"
SPOKE: Final = "spoke"
OTHERS: Final = "others"
"""Who asks from elsewhere: with the weight of a process on a machine without Kubernetes."""


class Weights:
    """The groups of one run; `put` moves processes into them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        requests = {**_KUBEADM, SPOKE: spoke_cpu()}
        self.shares = {name: cpu * _SHARES_OF_A_CORE // 1000 for name, cpu in requests.items()}
        self.shares[OTHERS] = _SHARES_OF_A_CORE

    def __str__(self) -> str:
        """Return the weights as they are."""
        return ", ".join(f"{name} {shares}" for name, shares in self.shares.items())

    def put(self, name: str, pid: int) -> None:
        """Move a process with all its threads."""
        (self._folder / name / "cgroup.procs").write_text(str(pid))

    def make(self) -> None:
        """Make the groups. Raise OSError where that can't be."""
        self._folder.mkdir()
        # Beside what else runs on the machine they weigh as much as their processes would by themselves.
        (self._folder / "cpu.shares").write_text(str(_SHARES_OF_A_CORE * len(self.shares)))
        for name, shares in self.shares.items():
            (self._folder / name).mkdir()
            (self._folder / name / "cpu.shares").write_text(str(shares))

    def remove(self) -> None:
        """Remove the groups; what still runs in them goes back to where it was."""
        for group in [*(self._folder / name for name in self.shares), self._folder]:
            with suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    with suppress(OSError):
                        (_ROOT / "cgroup.procs").write_text(pid)
                group.rmdir()


@contextmanager
def weights() -> Iterator[Weights | None]:
    """Yield groups with shares, None where this machine or this user can't make any."""
    made = Weights(_ROOT / f"felloe-bench-{os.getpid()}")
    try:
        made.make()
    except OSError:
        made.remove()
        yield None
        return
    try:
        yield made
    finally:
        made.remove()


def spoke_cpu() -> int:
    """Return how many thousandths of a core the spoke's chart requests."""
    cpu = str(yaml.safe_load(_VALUES.read_text())["resources"]["requests"]["cpu"])
    return int(cpu.removesuffix("m")) if cpu.endswith("m") else int(float(cpu) * 1000)
