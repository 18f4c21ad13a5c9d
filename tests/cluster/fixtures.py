"""Fixtures for tests on real clusters; tests/conftest.py registers this module as a plugin.

Clusters are started when a test first asks, all at the same time, and reused for the rest of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.binaries import Say, ensure, say_on_stderr
from tests.cluster.controlplane import ControlPlane, start_all


class ClusterPool:
    """The clusters of a test session."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._clusters: list[ControlPlane] = []
        self._used: set[str] = set()

    def get(self, count: int = 1, *, nodes: bool = False) -> list[ControlPlane]:
        """Return `count` clean clusters with audit logs, with `nodes` such that pods become Ready.

        It is always the same clusters: what an earlier caller got is emptied for the next, so ask once for a module
        (or a test) and not while another user of the pool still needs them. Without `nodes` there may be nodes.
        """
        missing = range(len(self._clusters) + 1, count + 1)
        new = [ControlPlane(f"pool-{number}", nodes=nodes, audit=True) for number in missing]
        start_all(new, self._say)
        self._clusters += new
        chosen = self._clusters[:count]
        for cluster in chosen:
            if nodes:
                cluster.add_node()
            if cluster.name in self._used:
                cluster.clean()
        self._used |= {cluster.name for cluster in chosen}
        return chosen

    @contextmanager
    def fresh(
        self, name: str = "fresh", *, nodes: bool = False, audit: bool = False, apiserver_args: Sequence[str] = ()
    ) -> Iterator[ControlPlane]:
        """A cluster of one's own, for as long as the context: for tests that break it or that need special flags."""
        cluster = ControlPlane(name, nodes=nodes, audit=audit, apiserver_args=apiserver_args)
        start_all([cluster], self._say)
        try:
            yield cluster
        finally:
            cluster.stop()

    def close(self) -> None:
        """Stop all clusters."""
        for cluster in self._clusters:
            cluster.stop()
        self._clusters.clear()


@pytest.fixture(scope="session")
def clusters(say: Say) -> Iterator[ClusterPool]:
    """The pool of real control planes; nothing starts before `get`."""
    pool = ClusterPool(say)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def kustomize_binary(say: Say) -> Path:
    """The real kustomize, built if missing."""
    return ensure(["kustomize"], say=say)["kustomize"]


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Show a line at once, past pytest's capture: a first build takes minutes, and silence looks like a hang."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        if capture is None:
            say_on_stderr(line)
            return
        with capture.global_and_fixture_disabled():
            say_on_stderr(line)

    return show
