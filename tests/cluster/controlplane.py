"""One real control plane on loopback: start, stop, and what tests do to it in between.

The API is blocking and small; talk to the cluster with the official client (`client`, `dynamic`) or through
`kubeconfig`.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from types import TracebackType
from typing import Self

import kubernetes.client
import kubernetes.config
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.client import ApiClient, V1Node, V1ObjectMeta
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.cluster import cleaning, components, pki
from tests.cluster.api import Api
from tests.cluster.binaries import ensure
from tests.cluster.components import Layout, Ports
from tests.cluster.errors import HarnessError
from tests.cluster.folders import ClusterFolder
from tests.cluster.ports import free_ports
from tests.cluster.processes import Process, ProcessKeeper
from tests.cluster.requests import AuditEvent, RequestCounts, parse_audit, parse_request_counts

START_SECONDS = 90.0
APISERVER_GRACE_SECONDS = 1.0
STAGES = Path(__file__).with_name("kwok.yaml")
BASE_BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE_BINARIES = ("kube-scheduler", "kwok")
NODE_NAME = "node-1"


class ControlPlane:
    """An etcd, a kube-apiserver and a kube-controller-manager; with `nodes` also a scheduler and a node played by kwok.

    `audit` has the API server write down every request (`audit_since`). `apiserver_args` are further flags for it.
    Nothing runs before `start`. Use as a context manager to have it started and stopped.
    """

    def __init__(
        self, name: str = "test", *, nodes: bool = False, audit: bool = False, apiserver_args: Sequence[str] = ()
    ) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
            raise HarnessError(f"a cluster's name is lower-case letters, digits and dashes, not {name!r}")
        self.name = name
        self.nodes = nodes
        self.audit = audit
        self._apiserver_args = tuple(apiserver_args)
        self._binaries: dict[str, Path] = {}
        self._processes: dict[str, Process] = {}
        self._authority = pki.Authority(f"{name}-ca")
        self._clients: list[ApiClient] = []
        self._keeper: ProcessKeeper | None = None
        self._folder: ClusterFolder | None = None
        self._api: Api | None = None
        self._new: frozenset[str] = frozenset()
        self._ports = Ports(0, 0, 0)

    # Life

    def start(self) -> Self:
        """Start it and wait until it serves and its controllers work. Raises `HarnessError` with a log's tail."""
        self._binaries = ensure([*BASE_BINARIES, *(NODE_BINARIES if self.nodes else ())])
        self._folder = ClusterFolder(self.name)
        self._keeper = ProcessKeeper()
        self._ports = Ports(*free_ports(3))
        try:
            self._write_files()
            self._run("etcd", components.etcd(self._binaries["etcd"], self._layout, self._ports))
            self.start_apiserver()
            self._start_controllers()
            self._new = cleaning.snapshot(self.api)
        except BaseException as error:
            log_tail = str(error)
            self.stop()
            if isinstance(error, HarnessError):
                raise HarnessError(f"cluster {self.name} did not start: {log_tail}") from error
            raise
        return self

    def stop(self) -> None:
        """End all its processes and remove its folder; nothing happens where it does not run."""
        for client in self._clients:
            client.close()  # type: ignore[no-untyped-call]
        self._clients.clear()
        if self._api is not None:
            self._api.close()
        if self._keeper is not None:
            self._keeper.close()
        if self._folder is not None:
            self._folder.close()
        self._keeper = self._folder = self._api = None
        self._processes.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Ways to talk to it

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a user in the group ``system:masters``."""
        return self._layout.kubeconfig

    @property
    def server(self) -> str:
        """The API server's URL; the same for the cluster's whole life."""
        return f"https://127.0.0.1:{self._ports.apiserver}"

    @property
    def certificate_authority(self) -> bytes:
        """The certificate, PEM, that the API server's certificate is signed with."""
        return self._authority.certificate

    def client(self) -> ApiClient:
        """Return a new client of the official package with all rights; closed when the cluster stops."""
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.proxy = None  # one from the environment cannot reach this machine's loopback
        client = ApiClient(configuration)
        self._clients.append(client)
        return client

    def dynamic(self) -> DynamicClient:
        """Return a client for any kind, also of custom resources."""
        return DynamicClient(self.client())  # type: ignore[no-untyped-call]

    @property
    def api(self) -> Api:
        """Plain requests with all rights, for paths like ``/metrics`` that the official client has no words for."""
        if self._api is None:
            raise HarnessError(f"cluster {self.name} does not run: call start() first")
        return self._api

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a new kubeconfig for a user who may do what RBAC grants to that user and those groups."""
        path = self._layout.folder / f"user-{re.sub(r'[^A-Za-z0-9.-]', '-', user)}.kubeconfig"
        self._write_kubeconfig(path, user, tuple(groups))
        return path

    def pids(self) -> dict[str, int]:
        """Return the process ids of what runs, by name (``etcd``, ``kube-apiserver`` …)."""
        return {name: process.pid for name, process in self._processes.items() if process.running}

    # Trouble

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """End the API server (`kill`: with SIGKILL) and leave the rest running: connections to it are refused."""
        # It stops serving at once, but waits a minute for clients to leave.
        self._processes["kube-apiserver"].stop(kill=kill, grace=APISERVER_GRACE_SECONDS)

    def start_apiserver(self) -> None:
        """Start the API server, again on the same port with the same data, and wait until it is ready."""
        binary = self._binaries["kube-apiserver"]
        argv = components.apiserver(binary, self._layout, self._ports, audit=self.audit, extra=self._apiserver_args)
        process = self._run("kube-apiserver", argv)
        process.wait_until(self._is_ready, "not ready", START_SECONDS)

    def restart_apiserver(self, *, kill: bool = False) -> None:
        """End the API server and start it again."""
        self.stop_apiserver(kill=kill)
        self.start_apiserver()

    def pause_apiserver(self) -> None:
        """Freeze the API server: connections stay open and nothing is answered."""
        self._processes["kube-apiserver"].signal(SIGSTOP)

    def resume_apiserver(self) -> None:
        """Let a frozen API server go on."""
        self._processes["kube-apiserver"].signal(SIGCONT)

    def renew_serving_certificate(self) -> None:
        """Give the API server another certificate of the same authority, and wait until it serves that one."""
        pair = self._authority.server("kube-apiserver")
        certificate, key = self._layout.key_pair("apiserver")
        pki.write_private(key, pair.key)
        certificate.write_bytes(pair.certificate)
        wanted = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())

        def serves() -> bool:
            served = ssl.get_server_certificate(("127.0.0.1", self._ports.apiserver))
            return ssl.PEM_cert_to_DER_cert(served) == wanted

        self._processes["kube-apiserver"].wait_until(serves, "serves its old certificate", START_SECONDS)

    # Another test

    def add_node(self) -> None:
        """Give a running cluster a scheduler and a node, as `nodes` does; nothing happens where it has them."""
        if not self.nodes:
            self._binaries |= ensure(NODE_BINARIES)
            self._start_node()
            self.nodes = True

    def clean(self) -> None:
        """Delete what was not there after the start, of any kind, and wait until it is gone (a minute at most)."""
        cleaning.clean(self.api, self._new)

    # What it was asked

    def request_counts(self) -> RequestCounts:
        """Return how many requests the API server has answered since its start, its own and its controllers' included.

        Subtract an earlier result for what happened in between. A watch counts when it ends.
        """
        return parse_request_counts(self.api.get("/metrics").decode())

    def audit_mark(self) -> int:
        """Return the present end of the audit log, for `audit_since`."""
        return self._layout.audit_log.stat().st_size if self._layout.audit_log.exists() else 0

    def audit_since(self, mark: int = 0, *, user_agent: str = "") -> Iterator[AuditEvent]:
        """Return the requests since `mark` by clients whose user agent contains `user_agent`; needs `audit`."""
        if not self.audit:
            raise HarnessError(f"cluster {self.name} keeps no audit log: start it with audit=True")
        if not self._layout.audit_log.exists():
            return
        with self._layout.audit_log.open("rb") as file:
            file.seek(mark)
            for line in file:
                if not line.endswith(b"\n"):  # being written
                    return
                event = parse_audit(line)
                if user_agent in event.user_agent:
                    yield event

    # Inside

    @property
    def _layout(self) -> Layout:
        if self._folder is None:
            raise HarnessError(f"cluster {self.name} does not run: call start() first")
        return Layout(self._folder.path)

    def _write_files(self) -> None:
        layout = self._layout
        layout.authority.write_bytes(self._authority.certificate)
        layout.audit_policy.write_bytes(components.audit_policy())
        server = self._authority.server("kube-apiserver")
        certificate, key = layout.key_pair("apiserver")
        certificate.write_bytes(server.certificate)
        pki.write_private(key, server.key)
        accounts = ec.generate_private_key(ec.SECP256R1())
        public, private = layout.key_pair("service-accounts")
        public.write_bytes(pki.public_pem(accounts))
        pki.write_private(private, pki.private_pem(accounts))
        self._write_kubeconfig(layout.kubeconfig, "admin", ("system:masters",))
        harness = self._authority.client("harness", ("system:masters",))
        certificate, key = layout.key_pair("harness")
        certificate.write_bytes(harness.certificate)
        pki.write_private(key, harness.key)
        self._api = Api(self.server, certificate, key, layout.authority)
        for name in ("controller-manager", "scheduler", "kwok"):
            # All rights: by its own role, the controller manager would need a service account for each controller.
            self._write_kubeconfig(layout.component_kubeconfig(name), f"system:{name}", ("system:masters",))

    def _write_kubeconfig(self, path: Path, user: str, groups: tuple[str, ...]) -> None:
        pair = self._authority.client(user, groups)
        pki.write_private(path, pki.kubeconfig(self.name, self.server, self._authority.certificate, user, pair))

    def _run(self, name: str, argv: Sequence[str]) -> Process:
        if self._keeper is None:
            raise HarnessError(f"cluster {self.name} does not run: call start() first")
        environment = {**os.environ, **components.GO_ENVIRONMENT}
        process = self._keeper.start(name, argv, self._layout.log(name), environment)
        self._processes[name] = process
        return process

    def _start_controllers(self) -> None:
        binary = self._binaries["kube-controller-manager"]
        manager = self._run("kube-controller-manager", components.controller_manager(binary, self._layout))
        if self.nodes:
            self._start_node()
        # Whoever creates a pod needs it, and it shows that the controllers are at work.
        manager.wait_until(self._has_service_account, "no default ServiceAccount", START_SECONDS)

    def _start_node(self) -> None:
        self._create_node()
        self._run("kube-scheduler", components.scheduler(self._binaries["kube-scheduler"], self._layout))
        kwok = self._run("kwok", components.kwok(self._binaries["kwok"], self._layout, STAGES))
        kwok.wait_until(self._node_is_ready, "its node is not Ready", START_SECONDS)

    def _create_node(self) -> None:
        labels = {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux"}
        annotations = {"kwok.x-k8s.io/node": "fake"}
        node = V1Node(metadata=V1ObjectMeta(name=NODE_NAME, labels=labels, annotations=annotations))
        kubernetes.client.CoreV1Api(self.client()).create_node(node)

    def _node_is_ready(self) -> bool:
        node = kubernetes.client.CoreV1Api(self._clients[0]).read_node(NODE_NAME)
        return any(
            each.type == "Ready" and each.status == "True" for each in (node.status and node.status.conditions) or ()
        )

    def _has_service_account(self) -> bool:
        if not self._clients:
            self.client()
        try:
            kubernetes.client.CoreV1Api(self._clients[0]).read_namespaced_service_account("default", "default")
        except ApiException as error:
            if error.status == 404:
                return False
            raise
        return True

    def _is_ready(self) -> bool:
        try:
            return self.api.get("/readyz") == b"ok"
        except HarnessError:
            return False


def start_all(clusters: Iterable[ControlPlane], say: Callable[[str], None] = lambda line: None) -> None:
    """Start clusters at the same time. If one fails, all are stopped and its error is raised."""
    waiting = list(clusters)
    if not waiting:
        return
    nodes = any(cluster.nodes for cluster in waiting)
    ensure([*BASE_BINARIES, *(NODE_BINARIES if nodes else ())], say=say)
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(waiting)) as pool:
        results = [pool.submit(cluster.start) for cluster in waiting]
    errors = [error for result in results if (error := result.exception()) is not None]
    if errors:
        for cluster in waiting:
            cluster.stop()
        raise errors[0]
    say(f"{len(waiting)} control plane(s) ready in {time.monotonic() - started:.1f} s")
