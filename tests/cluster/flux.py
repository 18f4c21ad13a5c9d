"""Flux's kustomize-controller at work on a test cluster: the real one, with its source served from here.

Of Flux it is the part that applies, prunes and owns. What source-controller would do (fetch Git, say in a
GitRepository's status where the archive is) the test does: `publish` is a push that Flux has fetched.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from tests.cluster.binaries import ensure
from tests.cluster.components import GO_ENVIRONMENT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.errors import HarnessError
from tests.cluster.ports import free_ports
from tests.cluster.processes import Process, ProcessKeeper

Object = dict[str, Any]

KUSTOMIZE_API = "kustomize.toolkit.fluxcd.io/v1"
SOURCE_API = "source.toolkit.fluxcd.io/v1"
_DEFINITIONS = "kustomize.toolkit.fluxcd.io_kustomizations.yaml"
_SOURCES = {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets"}
_START_SECONDS = 60.0
NAMESPACE = "flux-system"


class Flux:
    """The controller on one cluster; `with` installs its kinds, starts it, and stops it at the end."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._keeper = ProcessKeeper()
        self._archives: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._controller: Process | None = None
        self._dynamic: DynamicClient = cluster.dynamic()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="flux-source", daemon=True).start()
        binary = ensure(["kustomize-controller"])["kustomize-controller"]
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        definitions = [*_source_definitions(), *_documents(binary.with_name(_DEFINITIONS).read_text())]
        for definition in definitions:
            self.apply(definition)
        self._await_kinds(definitions)
        self._dynamic = self._cluster.dynamic()  # knows the new kinds
        try:
            self.start(binary)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await_kinds(self, definitions: Iterable[Object]) -> None:
        """Wait until every version is served: a discovery in between finds a group without its kinds, and fails."""
        kinds = [
            (f"/apis/{one['spec']['group']}/{version['name']}", one["spec"]["names"]["plural"])
            for one in definitions
            for version in one["spec"]["versions"]
            if version["served"]
        ]
        deadline = time.monotonic() + _START_SECONDS
        for path, plural in kinds:
            while not self._serves(path, plural):
                if time.monotonic() > deadline:
                    raise HarnessError(f"the API server does not serve {plural} below {path}")
                time.sleep(0.05)

    def _serves(self, path: str, plural: str) -> bool:
        found = self._cluster.api.get_json(path, missing=(404,))
        return found is not None and any(each["name"] == plural for each in found["resources"])

    def close(self) -> None:
        """Stop the controller and the server."""
        self._keeper.close()
        self._server.shutdown()
        self._server.server_close()

    def start(self, binary: Path | None = None) -> None:
        """Start the controller and wait until it is ready."""
        binary = binary or ensure(["kustomize-controller"])["kustomize-controller"]
        (health,) = free_ports(1)
        argv = [
            str(binary),
            "--metrics-addr=0",
            f"--health-addr=127.0.0.1:{health}",
            "--events-addr=",
            "--enable-leader-election=false",
            "--watch-all-namespaces=true",
            "--requeue-dependency=1s",
            "--interval-jitter-percentage=0",
        ]
        environment = {**os.environ, **GO_ENVIRONMENT, "RUNTIME_NAMESPACE": NAMESPACE, "TMPDIR": str(self._folder)}
        environment["KUBECONFIG"] = str(self._cluster.kubeconfig)
        process = self._keeper.start(
            "kustomize-controller", argv, self._folder / "kustomize-controller.log", environment
        )
        process.wait_until(lambda: "Starting workers" in process.log.read_text(), "it is not ready", _START_SECONDS)
        self._controller = process

    def stop(self) -> None:
        """End the controller; its objects stay."""
        if self._controller is not None:
            self._controller.stop()

    def log(self) -> str:
        """Return the end of its log."""
        return self._controller.tail() if self._controller else ""

    # -- the source

    def publish(self, files: Mapping[str, str], revision: str, name: str = NAMESPACE) -> None:
        """Make these files what the GitRepository `name` is at, as a fetch by source-controller does."""
        archive = _archive(files)
        digest = hashlib.sha256(archive).hexdigest()
        self._archives[f"/{digest}.tar.gz"] = archive
        artifact: Object = {
            "path": f"gitrepository/{NAMESPACE}/{name}/{digest}.tar.gz",
            "url": f"http://127.0.0.1:{self._server.server_port}/{digest}.tar.gz",
            "revision": revision,
            "digest": f"sha256:{digest}",
            "lastUpdateTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "size": len(archive),
        }
        if self.get(SOURCE_API, "GitRepository", name) is None:
            spec = {"url": "https://git.example.com/team/fleet.git", "interval": "1h", "ref": {"branch": "main"}}
            self.apply(
                {
                    "apiVersion": SOURCE_API,
                    "kind": "GitRepository",
                    "metadata": {"name": name, "namespace": NAMESPACE},
                    "spec": spec,
                }
            )
        ready: Object = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact"}
        ready["lastTransitionTime"] = artifact["lastUpdateTime"]
        body = {"status": {"artifact": artifact, "observedGeneration": 1, "conditions": [ready]}}
        resource = self._resource(SOURCE_API, "GitRepository")
        path = f"/apis/{SOURCE_API}/namespaces/{NAMESPACE}/gitrepositories/{name}/status"
        resource.client.request("patch", path, body=body, content_type="application/merge-patch+json")

    # -- objects

    def kustomization(self, name: str, namespace: str = NAMESPACE) -> Object | None:
        """Return one of its Kustomizations."""
        return self.get(KUSTOMIZE_API, "Kustomization", name, namespace)

    def ready(self, name: str, revision: str) -> bool:
        """Say whether a Kustomization has applied a revision and is done with it."""
        found = self.kustomization(name)
        status = found.get("status", {}) if found else {}
        conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
        return (
            status.get("lastAppliedRevision") == revision
            and conditions.get("Ready") == "True"
            and "Reconciling" not in conditions
        )

    def reconcile(self, name: str) -> None:
        """Ask it to look at a Kustomization now, as `flux reconcile` does."""
        stamp = datetime.now(UTC).isoformat()
        self.patch_kustomization(name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": stamp}}})

    def patch_kustomization(self, name: str, body: Object) -> None:
        """Change a Kustomization, as `kubectl patch` or the `flux` command do."""
        self._resource(KUSTOMIZE_API, "Kustomization").patch(
            name=name,
            namespace=NAMESPACE,
            body=body,
            content_type="application/merge-patch+json",
            field_manager="flux",
        )

    def forget(self) -> None:
        """Delete all its Kustomizations, not what they applied (a suspended one prunes nothing), and wait."""
        resource = self._resource(KUSTOMIZE_API, "Kustomization")
        deadline = time.monotonic() + _START_SECONDS
        # All are to have stopped before the first one goes: their parent would make them again.
        while found := [item.to_dict() for item in resource.get(namespace=NAMESPACE).items]:
            names = [each["metadata"]["name"] for each in found]
            with suppress(NotFoundError):
                for name in names:
                    self.patch_kustomization(name, {"spec": {"suspend": True}})
                if all(_stopped(each) for each in found):
                    for name in names:
                        resource.delete(name=name, namespace=NAMESPACE)
            if time.monotonic() > deadline:
                raise HarnessError(f"Kustomizations {names} don't go away; its log ends with\n{self.log()}")
            time.sleep(0.1)

    def get(self, api: str, kind: str, name: str, namespace: str = NAMESPACE) -> Object | None:
        """Return an object, None where it is not there."""
        try:
            found: Object = self._resource(api, kind).get(name=name, namespace=namespace or None).to_dict()
        except NotFoundError:
            return None
        return found

    def apply(self, manifest: Object) -> None:
        """Create an object where it is not there, as `kubectl create`."""
        metadata = manifest["metadata"]
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        try:
            resource.create(body=manifest, namespace=metadata.get("namespace"), field_manager="kubectl-create")
        except ConflictError:
            return

    def _resource(self, api: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api, kind=kind)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        archives = self._archives

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive = archives.get(self.path)
                self.send_response(200 if archive else 404)
                self.send_header("Content-Length", str(len(archive or b"")))
                self.end_headers()
                self.wfile.write(archive or b"")

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                return

        return Handler


def _stopped(kustomization: Object) -> bool:
    """Say whether the controller has seen that a Kustomization is suspended."""
    seen = kustomization.get("status", {}).get("observedGeneration") == kustomization["metadata"]["generation"]
    return bool(kustomization["spec"].get("suspend")) and seen


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in sorted(files.items()):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _documents(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if document]


def _source_definitions() -> list[Object]:
    """Return definitions of the kinds of sources, without a schema: nobody but the test writes them."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.source.toolkit.fluxcd.io"},
            "spec": {
                "group": "source.toolkit.fluxcd.io",
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
                "versions": [{**version, "subresources": {"status": {}}}],
            },
        }
        for kind, plural in _SOURCES.items()
    ]
