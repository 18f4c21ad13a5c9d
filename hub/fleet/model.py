"""What the fleet repository says, as facts that every later step can trust: checked, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from felloe.bundle import PRUNE_LIMIT, Dependency, HealthCheck, HealthCheckExpr
from felloe.errors import Place
from felloe.identity import WorkloadId
from hub.fleet.labels import LabelSelector
from hub.fleet.schema import UnsupportedField
from hub.fleet.strategy import Promotion, Strategy
from hub.sources.spec import GitSpec


@dataclass(frozen=True, slots=True)
class SourceRef:
    """The source of a Kustomization: a GitRepository, or a kind that is known and not supported yet."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as Flux shows it: ``GitRepository/flux-system/apps``."""
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class GitRepository:
    """A GitRepository: what to follow, and which of its fields are not supported yet."""

    spec: GitSpec
    unsupported: tuple[UnsupportedField, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Selects objects as the target of a kustomize patch does; what is empty matches everything.

    The first five are regular expressions (RE2) that must match all of it.
    """

    group: str = ""
    version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    label_selector: str = ""
    annotation_selector: str = ""


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Fields that are left to others once an object is there: JSON pointers (RFC 6901), as in Flux' ``spec.ignore``."""

    paths: tuple[str, ...]
    target: Target = field(default_factory=Target)


@dataclass(frozen=True, slots=True)
class Kustomization:
    """Flux' Kustomization. Times are seconds, with Flux' defaults; `path` and `target_namespace` as written."""

    id: WorkloadId
    source: SourceRef
    path: str
    prune: bool
    interval: float
    retry_interval: float
    timeout: float
    target_namespace: str = ""
    depends_on: tuple[Dependency, ...] = ()
    health_checks: tuple[HealthCheck, ...] = ()
    suspend: bool = False
    wait: bool = False
    force: bool = False
    deletion_policy: str = "MirrorPrune"
    service_account: str = ""
    health_check_exprs: tuple[HealthCheckExpr, ...] = ()
    ignore: tuple[IgnoreRule, ...] = ()
    drift: str = "enabled"
    prune_limit: float = PRUNE_LIMIT
    force_prune: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    unsupported: tuple[UnsupportedField, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A declared member of the fleet. `sync_path` None: the hub's own template says where it is configured."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    sync_path: str | None = None
    paused: bool = False
    unsupported: tuple[UnsupportedField, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Environment:
    """A named set of clusters with variables of their own.

    `rollout` names the Rollout by which its sync paths move, and Placements that name none.
    """

    name: str
    selector: LabelSelector
    variables: Mapping[str, str] = field(default_factory=dict)
    promotes_from: Promotion | None = None
    rollout: str = ""
    unsupported: tuple[UnsupportedField, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """A kustomize patch, strategic merge or JSON (RFC 6902); without a target its text names the object."""

    patch: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """What becomes of an image wherever it is named; what is empty stays as it is."""

    name: str
    new_name: str = ""
    new_tag: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """What is different on some of a Placement's clusters: those that every given condition matches."""

    selector: LabelSelector | None = None
    environments: tuple[str, ...] = ()
    cluster_names: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    patches: tuple[Patch, ...] = ()
    images: tuple[Image, ...] = ()
    unsupported: tuple[UnsupportedField, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Which workloads go to which clusters: those that every given condition matches."""

    name: str
    workloads: tuple[WorkloadId, ...]
    selector: LabelSelector | None = None
    environments: tuple[str, ...] = ()
    cluster_names: tuple[str, ...] = ()
    rollout: str = ""
    overrides: tuple[Override, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class UnsupportedObject:
    """An object of a kind that is known and not supported yet: reported, and sent nowhere."""

    kind: str
    namespace: str
    name: str
    place: Place = field(default_factory=Place, compare=False)

    def __str__(self) -> str:
        """Return it as people name it: ``HelmRelease apps/podinfo``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that the fleet folder declares, by name."""

    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    placements: Mapping[str, Placement] = field(default_factory=dict)
    kustomizations: Mapping[WorkloadId, Kustomization] = field(default_factory=dict)
    repositories: Mapping[tuple[str, str], GitRepository] = field(default_factory=dict)
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    unsupported: tuple[UnsupportedObject, ...] = ()

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all is declared: no folder, or none of its files holds an object."""
        return not (
            self.clusters
            or self.environments
            or self.placements
            or self.kustomizations
            or self.repositories
            or self.strategies
            or self.unsupported
        )
