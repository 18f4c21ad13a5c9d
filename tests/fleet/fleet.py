"""A fleet on loopback: repository, Git server, hub, and spokes in real clusters."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import kubernetes
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import ProcessKeeper
from tests.fleet.processes import Hub, Spoke, eventually
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo


class Fleet:
    """Everything that a fleet needs, in one folder. `clusters` are by the name that they join with."""

    def __init__(
        self,
        folder: Path,
        clusters: Mapping[str, ControlPlane],
        kustomize: Path,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.clusters = dict(clusters)
        self.keeper = ProcessKeeper()
        self.environment = dict(environment or {})
        self.repository = GitRepo(folder / "repositories" / "fleet.git")
        self.server = GitHttpServer(folder / "repositories")
        self.spokes: dict[str, Spoke] = {}
        self.hub = Hub(
            self.keeper,
            folder / "hub",
            f"{self.url}@main",
            options=[f"--kustomize={kustomize}", *options],
            environment=self.environment,
        )

    @property
    def url(self) -> str:
        """The repository as the hub reaches it."""
        return f"{self.server.url}/fleet.git"

    def join(self, name: str, **labels: str) -> Spoke:
        """Let a cluster join with a fresh token, and wait until it is connected."""
        spoke = self._begin_to_join(name, self.hub.token(name, **labels))
        self._wait_until_connected(name)
        return spoke

    def join_all(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Let clusters join at the same time, and wait until all are connected."""
        for name, own in labels.items():
            self._begin_to_join(name, str(self.hub.post("tokens", {"cluster": name, "labels": dict(own)})["token"]))
        for name in labels:
            self._wait_until_connected(name)

    def _begin_to_join(self, name: str, token: str) -> Spoke:
        spoke = Spoke(
            self.keeper,
            self.folder / "spokes" / name,
            self.hub.address,
            self.clusters[name].kubeconfig,
            token,
            self.environment,
        )
        self.spokes[name] = spoke.start()
        return spoke

    def _wait_until_connected(self, name: str) -> None:
        try:
            eventually(lambda: self.is_connected(name), f"{name} is connected")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.spokes[name].process.tail()}") from error

    def is_connected(self, name: str) -> bool:
        """Say whether the hub has a stream of a cluster."""
        (cluster,) = self.hub.ask("clusters", name=name)["items"]
        connected: bool = cluster["status"]["connected"]
        return connected

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "a change") -> str:
        """Commit, and have the hub look at once; return the commit."""
        sha = self.repository.commit(files, message)
        self._look()
        return sha

    def _look(self) -> None:
        self.hub.post("sources/felloe-system/fleet/reconcile", {})

    def announce(self) -> None:
        """Tell the hub of a push as a Git server does, by its webhook."""
        context = ssl.create_default_context(cadata=yaml.safe_load((self.hub.data / "admin.yaml").read_text())["ca"])
        secret = (self.hub.data / "webhook-secret").read_text().strip()
        answer = httpx.post(
            f"{self.hub.url}/hooks/git",
            json={"ref": "refs/heads/main", "repository": {"clone_url": self.url}},
            headers={"Authorization": f"Bearer {secret}"},
            verify=context,
        )
        answer.raise_for_status()

    def deliver(
        self, files: Mapping[str, str | bytes | None], message: str = "a change", *, to: str = "applied"
    ) -> str:
        """Commit, and wait until every cluster has it applied or healthy; return the commit."""
        sha = self.commit(files, message)
        self.wait(sha, to)
        return sha

    def revert(self) -> str:
        """Undo the last commit by another one, and have the hub look at once; return the new commit."""
        sha = self.repository.revert()
        self._look()
        return sha

    def restore(self, commit: str) -> str:
        """Make the repository what it was at a commit, and have the hub look at once; return the new commit."""
        sha = self.repository.restore(commit)
        self._look()
        return sha

    def wait(self, revision: str, to: str = "applied") -> None:
        """Wait until every cluster has a revision."""
        self.hub.felloe("wait", "--for", to, "--revision", revision, "--timeout", "90s", timeout=120)

    def core(self, name: str) -> Any:  # the official client takes plain dicts; its stubs do not
        """The core API of a cluster."""
        return kubernetes.client.CoreV1Api(self.clusters[name].client())

    def config_map(self, name: str, item: str, namespace: str = "shop") -> Any:
        """A ConfigMap of a cluster, None where it is not there."""
        try:
            return self.core(name).read_namespaced_config_map(item, namespace)
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None
            raise

    def data(self, name: str, item: str, namespace: str = "shop") -> dict[str, str] | None:
        """The data of a ConfigMap of a cluster, None where it is not there."""
        found = self.config_map(name, item, namespace)
        data: dict[str, str] | None = found.data if found else None
        return data

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keeper.close()
        self.server.close()
