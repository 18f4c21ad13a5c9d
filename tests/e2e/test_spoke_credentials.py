"""A spoke goes on when its token ends, or its API server gets another certificate, on a real API server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from felloe.errors import KubernetesError
from spoke.kube.client import connect
from spoke.kube.config import load_kubeconfig
from tests.cluster.controlplane import ControlPlane
from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, eventually, ready, running
from tests.spoke.manifests import Manifest, Wanted, config_map, namespace

pytestmark = pytest.mark.cluster

WITHIN = "spoke-account"


def put(file: Path, content: str) -> None:
    """Replace a file at once, as a kubelet does."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(content)
    new.rename(file)


class Account:
    """A service account with all rights, and tokens of it, each of which ends with a Secret."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._core = kubernetes.client.CoreV1Api(admin.cluster.client())
        rbac = "rbac.authorization.k8s.io"
        metadata: Manifest = {"name": "spoke", "namespace": WITHIN}
        binding: Manifest = {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"spoke-{time.monotonic_ns()}"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "spoke", "namespace": WITHIN}],
        }
        account: Manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        for manifest in (namespace(WITHIN), account, binding):
            admin.create(manifest)

    def token(self, secret: str) -> str:
        """Return a token that is good for as long as the Secret, which is made, is there."""
        self._admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": WITHIN}})
        bound = {"apiVersion": "v1", "kind": "Secret", "name": secret}
        request: Any = {"spec": {"audiences": [], "expirationSeconds": 3600, "boundObjectRef": bound}}
        answer = self._core.create_namespaced_service_account_token("spoke", WITHIN, request)
        assert answer.status
        return str(answer.status.token)

    def end(self, secret: str) -> None:
        """End a token."""
        self._admin.delete("v1", "Secret", secret, WITHIN)


def kubeconfig(folder: Path, cluster: ControlPlane) -> Path:
    (folder / "ca.crt").write_bytes(cluster.certificate_authority)
    named = {"server": cluster.server, "certificate-authority": "ca.crt"}
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": named}],
        "users": [{"name": "a", "user": {"tokenFile": "token"}}],
    }
    put(folder / "kubeconfig", json.dumps(document))
    return folder / "kubeconfig"


def is_refused(path: Path) -> bool:
    """Return whether the API server, which remembers a good token for a while, does not know this one any more."""
    access = load_kubeconfig(path)
    api = kubernetes.client.Configuration()
    api.host, api.ssl_ca_cert, api.proxy = access.server, str(path.with_name("ca.crt")), None
    api.api_key = {"authorization": f"Bearer {access.credentials().token}"}
    with kubernetes.client.ApiClient(api) as client:
        try:
            kubernetes.client.CoreV1Api(client).list_namespace(limit=1)
        except kubernetes.client.ApiException as error:
            return bool(error.status == 401)
    return False


async def test_a_token_that_ends_is_replaced_by_the_one_in_its_file(
    cluster: ControlPlane, admin: Admin, tmp_path: Path
) -> None:
    account = Account(admin)
    path = kubeconfig(tmp_path, cluster)
    put(tmp_path / "token", account.token("first"))
    async with running(path, tmp_path / "state") as spoke:
        spoke.want(Wanted("apps", [namespace("tokens"), config_map("tokens", "a", k="1")]))
        await spoke.until_applied("apps")
        second = account.token("second")
        account.end("first")
        await eventually(lambda: is_refused(path), "the first token has ended")
        put(tmp_path / "token", second)
        spoke.want(Wanted("apps", [namespace("tokens"), config_map("tokens", "a", k="2")]))
        await spoke.until_applied("apps")
        assert not [event for event in spoke.events if "Unauthorized" in event.message]
        account.end("second")
        await eventually(lambda: is_refused(path), "the second token has ended")
        spoke.want(Wanted("apps", [namespace("tokens"), config_map("tokens", "a", k="3")]))
        await spoke.until("apps", lambda status: ready(status)[2] == "Unauthorized", "tells")
        put(tmp_path / "token", account.token("third"))
        await spoke.until_applied("apps")
    assert admin.config_map("tokens", "a")["data"] == {"k": "3"}  # type: ignore[index]


async def test_a_serving_certificate_that_is_renewed_is_no_trouble(
    spoke: Spoke, cluster: ControlPlane, admin: Admin
) -> None:
    spoke.want(Wanted("apps", [namespace("renewed"), config_map("renewed", "a", k="1")]))
    await spoke.until_applied("apps")
    await asyncio.to_thread(cluster.renew_serving_certificate)
    await asyncio.to_thread(cluster.restart_apiserver)  # so that every connection is a new one
    admin.patch("v1", "ConfigMap", "a", "renewed", {"data": {"k": "by hand"}})
    await eventually(lambda: admin.config_map("renewed", "a")["data"] == {"k": "1"}, "healed")  # type: ignore[index]
    spoke.want(Wanted("apps", [namespace("renewed"), config_map("renewed", "a", k="2")]))
    await spoke.until_applied("apps")


async def test_the_api_servers_certificate_may_be_for_another_name_than_its_address(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())

    async def version(name: str) -> Mapping[str, object]:
        document["clusters"][0]["cluster"]["tls-server-name"] = name
        put(tmp_path / name, yaml.safe_dump(document))
        async with connect(load_kubeconfig(tmp_path / name)) as client:
            return await client.get("/version")

    assert "major" in await version("localhost")
    with pytest.raises(KubernetesError, match="elsewhere"):
        await version("elsewhere")
