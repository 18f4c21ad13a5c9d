"""What a test does to a cluster by hand, as an administrator with kubectl would."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from tests.cluster.controlplane import ControlPlane
from tests.spoke.manifests import Manifest


class Admin:
    """Blocking requests of somebody who is not the spoke; field manager `kubectl-edit`."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self._dynamic: DynamicClient = cluster.dynamic()

    def get(self, api: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        try:
            found = self._resource(api, kind).get(name=name, namespace=namespace or None)
        except NotFoundError:
            return None
        result: dict[str, Any] = found.to_dict()
        return result

    def config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.get("v1", "ConfigMap", name, namespace)

    def names(self, api: str, kind: str, namespace: str) -> set[str]:
        return {item.metadata.name for item in self._resource(api, kind).get(namespace=namespace).items}

    def patch(
        self, api: str, kind: str, name: str, namespace: str, body: Manifest, manager: str = "kubectl-edit"
    ) -> None:
        self._resource(api, kind).patch(
            name=name,
            namespace=namespace or None,
            body=body,
            content_type="application/merge-patch+json",
            field_manager=manager,
        )

    def set_status(self, kind: str, name: str, namespace: str, status: Manifest) -> None:
        """Say how an object of the core group is, as the kubelet would."""
        self._resource("v1", kind).status.patch(
            name=name,
            namespace=namespace,
            body={"status": status},
            content_type="application/merge-patch+json",
            field_manager="kubelet",
        )

    def create(self, manifest: Manifest, manager: str = "kubectl-create") -> None:
        metadata: Any = manifest["metadata"]
        self._resource(str(manifest["apiVersion"]), str(manifest["kind"])).create(
            body=manifest, namespace=metadata.get("namespace"), field_manager=manager
        )

    def apply(self, manifest: Manifest, manager: str) -> None:
        """Server-side apply, taking over what others own."""
        metadata: Any = manifest["metadata"]
        self._resource(str(manifest["apiVersion"]), str(manifest["kind"])).server_side_apply(
            body=manifest, namespace=metadata.get("namespace"), field_manager=manager, force_conflicts=True
        )

    def delete(self, api: str, kind: str, name: str, namespace: str = "") -> None:
        self._resource(api, kind).delete(name=name, namespace=namespace or None)

    def allow(self, user: str, *rules: Manifest, namespace: str = "felloe-system") -> None:
        """Let a user do this in the spoke's own namespace, and nothing else there; everywhere with no namespace."""
        prefix, group = "" if namespace else "Cluster", "rbac.authorization.k8s.io"
        metadata = {"name": f"test-{user}"} | ({"namespace": namespace} if namespace else {})
        for kind in (f"{prefix}RoleBinding", f"{prefix}Role"):
            with suppress(NotFoundError):
                self.delete(f"{group}/v1", kind, metadata["name"], namespace)
        role = {"apiGroup": group, "kind": f"{prefix}Role", "name": metadata["name"]}
        subjects = [{"apiGroup": group, "kind": "User", "name": user}]
        kinds: dict[str, Manifest] = {
            "Role": {"rules": [*rules]},
            "RoleBinding": {"roleRef": role, "subjects": subjects},
        }
        for kind, content in kinds.items():
            self.create({"apiVersion": f"{group}/v1", "kind": f"{prefix}{kind}", "metadata": metadata, **content})

    def may(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        """Return whether a user has a right now."""
        about = {"verb": verb, "resource": resource, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": about},
        }
        answer = self._resource("authorization.k8s.io/v1", "SubjectAccessReview").create(body=review)
        return bool(answer.status.allowed)

    def forget_spokes(self) -> None:
        """Begin anew: a spoke would prune what an earlier test left in its inventories, and restore its record."""
        inventories = "fleet.felloe.io/inventory=true"
        for api, kind, selector in (
            ("v1", "ConfigMap", inventories),
            ("v1", "Secret", "!other"),
            ("coordination.k8s.io/v1", "Lease", "!other"),
        ):
            try:
                self._resource(api, kind).delete(namespace="felloe-system", label_selector=selector)
            except NotFoundError:
                continue

    def _resource(self, api: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api, kind=kind)
