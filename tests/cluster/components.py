"""The command lines of a control plane's processes: pure functions of where things are.

Four of them share two cores and some gigabytes on a test machine, so whatever only costs is off: leader election,
profiling, periodic etcd polling, controllers that nothing here depends on. What a spoke can see is left as it is by
default: all APIs, admission, RBAC, priority and fairness, watch timeouts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE_RANGE = "10.96.0.0/16"
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
    "validatingadmissionpolicy-status-controller",
)
# The garbage collector of Go, in one place: a soft limit well above the working set, collected a little more often.
GO_ENVIRONMENT: Mapping[str, str] = {"GOGC": "60", "GOMEMLIMIT": "768MiB"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one cluster are."""

    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line; there only where auditing was asked for."""
        return self.folder / "audit.log"

    @property
    def audit_policy(self) -> Path:
        """What the API server is to write to its audit log."""
        return self.folder / "audit-policy.json"

    @property
    def authority(self) -> Path:
        """The cluster's certificate authority, PEM."""
        return self.folder / "ca.crt"

    def log(self, name: str) -> Path:
        """The output of the process `name`."""
        return self.folder / f"{name}.log"

    def key_pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key files of `name`."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def component_kubeconfig(self, name: str) -> Path:
        """The kubeconfig of a component."""
        return self.folder / f"{name}.kubeconfig"


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports of one cluster, all on 127.0.0.1."""

    etcd: int
    etcd_peer: int
    apiserver: int


def etcd(binary: Path, layout: Layout, ports: Ports) -> Sequence[str]:
    """Return the command line of etcd: without fsync, for nothing here survives a power cut."""
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    return [
        str(binary),
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        # Nobody to elect against: a slow heartbeat spares wake-ups and bears a machine that is busy for a while.
        "--heartbeat-interval=1000",
        "--election-timeout=10000",
        "--quota-backend-bytes=4294967296",
    ]


def apiserver(binary: Path, layout: Layout, ports: Ports, *, audit: bool, extra: Sequence[str] = ()) -> Sequence[str]:
    """Return the command line of kube-apiserver; a flag in `extra` overrides one given here."""
    certificate, key = layout.key_pair("apiserver")
    public, private = layout.key_pair("service-accounts")
    argv = [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={layout.authority}",
        f"--cert-dir={layout.folder}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={private}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged",
        "--endpoint-reconciler-type=none",
        # Its taint would stay: the controller that takes it away also judges nodes by heartbeats, and is off.
        "--disable-admission-plugins=TaintNodesByCondition",
        "--profiling=false",
        "--etcd-compaction-interval=0",
        "--etcd-count-metric-poll-period=0",
        "--etcd-db-metric-poll-interval=0",
    ]
    if audit:
        argv += [
            f"--audit-policy-file={layout.audit_policy}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-maxsize=0",
        ]
    return [*argv, *extra]


def audit_policy() -> bytes:
    """Return the policy of the audit log: every request and watch, when it ends or begins to stream, without bodies."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    return json.dumps(policy).encode()


def controller_manager(binary: Path, layout: Layout) -> Sequence[str]:
    """Return the command line of kube-controller-manager with the controllers that objects in tests depend on."""
    _, private = layout.key_pair("service-accounts")
    return [
        str(binary),
        f"--kubeconfig={layout.component_kubeconfig('controller-manager')}",
        f"--controllers={','.join(CONTROLLERS)}",
        f"--service-account-private-key-file={private}",
        f"--root-ca-file={layout.authority}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def scheduler(binary: Path, layout: Layout) -> Sequence[str]:
    """Return the command line of kube-scheduler."""
    return [
        str(binary),
        f"--kubeconfig={layout.component_kubeconfig('scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def kwok(binary: Path, layout: Layout, stages: Path) -> Sequence[str]:
    """Return the command line of kwok, which plays the kubelet of the nodes annotated for it."""
    return [
        str(binary),
        f"--kubeconfig={layout.component_kubeconfig('kwok')}",
        f"--config={stages}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-ip=127.0.0.1",
    ]
