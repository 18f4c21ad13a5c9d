"""Which programs there are, and from which package of which Go module each is built."""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries.build import Target
from tests.cluster.errors import HarnessError

MODULES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Program:
    """One program: its Go module here, its package, and which module's version it is to call its own.

    One that is `for_bench` alone is built only when somebody asks for it by its name.
    """

    name: str
    module: str
    package: str
    versioned_by: str
    version_variables: tuple[str, ...] = ()
    kubebuilder: bool = False
    files: tuple[str, ...] = ()
    for_bench: bool = False

    def target(self, folder: Path) -> Target:
        """Return what to build, and where below `folder` it goes: the same sources have the same place."""
        module = MODULES / self.module
        go_mod = (module / "go.mod").read_text()
        version = _required(go_mod, self.versioned_by, module)
        return Target(
            name=self.name,
            module=module,
            package=self.package,
            go_version=_go_directive(go_mod, module),
            linker_values=tuple(f"{variable}={value}" for variable in self.version_variables for value in (version,)),
            path=folder / _key(module) / self.name,
            kubebuilder=self.kubebuilder,
            source=self.versioned_by,
            files=self.files,
        )


def _required(go_mod: str, path: str, module: Path) -> str:
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(path)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise HarnessError(f"{module / 'go.mod'} does not require {path}: add it with 'go get -tool'")
    return found[1]


def _go_directive(go_mod: str, module: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if found is None:
        raise HarnessError(f"{module / 'go.mod'} has no 'go' line")
    return tuple(map(int, found[1].split(".")))


@functools.cache
def _key(module: Path) -> str:
    digest = hashlib.sha256(platform.machine().encode())
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    return f"{module.name}-{digest.hexdigest()[:16]}"


def _kubernetes(name: str, module: str = "controlplane", *, for_bench: bool = False) -> Program:
    return Program(
        name,
        module,
        f"k8s.io/kubernetes/cmd/{name}",
        versioned_by="k8s.io/kubernetes",
        # Without these a server calls itself v0.0.0-master, and clients that look at /version would misjudge it.
        version_variables=("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
        kubebuilder=True,
        for_bench=for_bench,
    )


CATALOGUE = {
    program.name: program
    for program in (
        Program(
            "etcd",
            "controlplane",
            "go.etcd.io/etcd/server/v3",
            versioned_by="go.etcd.io/etcd/server/v3",
            kubebuilder=True,
        ),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubectl", "kubectl", for_bench=True),
        Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", versioned_by="sigs.k8s.io/kwok"),
        Program(
            "kustomize",
            "kustomize",
            "sigs.k8s.io/kustomize/kustomize/v5",
            versioned_by="sigs.k8s.io/kustomize/kustomize/v5",
        ),
        Program(
            "prometheus",
            "prometheus",
            "github.com/prometheus/prometheus/cmd/prometheus",
            versioned_by="github.com/prometheus/prometheus",
            version_variables=("github.com/prometheus/common/version.Version",),
        ),
        Program(
            "kustomize-controller",
            "flux",
            "github.com/fluxcd/kustomize-controller",
            versioned_by="github.com/fluxcd/kustomize-controller",
            files=("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
        ),
    )
}
