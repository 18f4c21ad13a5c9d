"""Flux's Kustomizations as they lie in a cluster, as facts: what each applied, and whether it was taken over.

Two annotations of ours say how far a Kustomization is:

- ``fleet.felloe.io/flux-suspend`` holds what ``spec.suspend`` was before we set it (``unset``, ``false``, ``true``); it
  is there from the moment on in which Flux stops because of us.
- ``fleet.felloe.io/adopted`` is ``true`` once the spoke applies the workload, and ``releasing`` while it gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from felloe.errors import ConfigError
from felloe.identity import ObjectId
from felloe.labels import GROUP
from spoke.kube.shapes import mapping

FLUX_GROUP: Final = "kustomize.toolkit.fluxcd.io"
FLUX_KIND: Final = "Kustomization"
FLUX_MANAGER: Final = "kustomize-controller"
OWNER_NAME: Final = f"{FLUX_GROUP}/name"
OWNER_NAMESPACE: Final = f"{FLUX_GROUP}/namespace"
PRUNE: Final = f"{FLUX_GROUP}/prune"

SUSPEND_BEFORE: Final = f"{GROUP}/flux-suspend"
ADOPTED: Final = f"{GROUP}/adopted"
TAKEN: Final = "true"
RELEASING: Final = "releasing"

_CHECKING_HEALTH: Final = "Running health checks"
_OWN_GROUPS: Final = (".toolkit.fluxcd.io", "fluxcd.controlplane.io")

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """Namespace and name of a Kustomization."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as the CLI takes it: ``flux-system/apps``."""
        return f"{self.namespace}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels with which Flux marks what this Kustomization applied."""
        return {OWNER_NAME: self.name, OWNER_NAMESPACE: self.namespace}


@dataclass(frozen=True, slots=True)
class FluxKustomization:
    """One Kustomization of Flux in this cluster.

    `suspend` is its field, None where it is not set; `before` and `mark` are our annotations, empty where they are not
    there. `inventory` says of each object the version in which it was applied. `busy` says what Flux is doing with it,
    empty where nothing is being applied; `observed` whether it has seen the newest spec, and with it that it is
    suspended. `elsewhere`: what it applies is in another cluster (``spec.kubeConfig``). `version` is its
    resourceVersion as a number, 0 where it is none.
    """

    name: Name
    inventory: Mapping[ObjectId, str]
    suspend: bool | None = None
    before: str = ""
    mark: str = ""
    busy: str = ""
    observed: bool = False
    revision: str = ""
    elsewhere: bool = False
    deleting: bool = False
    version: int = field(default=0, compare=False)

    @property
    def ours(self) -> bool:
        """Return whether the spoke applies its workload."""
        return self.mark == TAKEN

    @property
    def frozen(self) -> bool:
        """Return whether a person, not we, suspended it."""
        return self.suspend is True and not self.before

    @property
    def plain(self) -> Mapping[ObjectId, str]:
        """Return its inventory without objects of Flux's own kinds: those are Flux's configuration and stay."""
        return {identity: version for identity, version in self.inventory.items() if not of_flux(identity)}


def of_flux(identity: ObjectId) -> bool:
    """Return whether an object is of a kind that Flux's controllers work on."""
    return identity.group.endswith(_OWN_GROUPS)


def is_flux_itself(labels: Mapping[str, str]) -> bool:
    """Return whether labels are those of Flux's own controllers and CRDs (``gotk-components.yaml``)."""
    return labels.get("app.kubernetes.io/part-of") == "flux" and "app.kubernetes.io/instance" in labels


def read(obj: Json) -> FluxKustomization:
    """Return the facts of a Kustomization. Raise ConfigError where its inventory can't be understood."""
    metadata, spec, status = (mapping(obj.get(key)) for key in ("metadata", "spec", "status"))
    annotations = mapping(metadata.get("annotations"))
    name = Name(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
    suspend = spec.get("suspend")
    version = str(metadata.get("resourceVersion") or "")
    return FluxKustomization(
        name=name,
        inventory=_inventory(name, status),
        suspend=suspend if isinstance(suspend, bool) else None,
        before=str(annotations.get(SUSPEND_BEFORE) or ""),
        mark=str(annotations.get(ADOPTED) or ""),
        busy=_busy(status),
        observed=status.get("observedGeneration") == metadata.get("generation"),
        revision=str(status.get("lastAppliedRevision") or ""),
        elsewhere=bool(spec.get("kubeConfig")),
        deleting=bool(metadata.get("deletionTimestamp")),
        version=int(version) if version.isdigit() else 0,
    )


def _inventory(name: Name, status: Json) -> Mapping[ObjectId, str]:
    entries = mapping(status.get("inventory")).get("entries")
    found: dict[ObjectId, str] = {}
    for entry in entries if isinstance(entries, list) else []:
        entry = mapping(entry)
        found[parse_inventory_id(str(entry.get("id") or ""), str(name))] = str(entry.get("v") or "")
    return found


def parse_inventory_id(text: str, where: str) -> ObjectId:
    """Return the object that an entry ``<namespace>_<name>_<group>_<kind>`` names (fluxcd/cli-utils, ObjMetadata).

    Raise ConfigError where it is none: what can't be understood must not be left behind.
    """
    namespace, first, rest = text.partition("_")
    rest, second, kind = rest.rpartition("_")
    name, third, group = rest.rpartition("_")
    if not (first and second and third and name and kind):
        raise ConfigError(f"the inventory of Flux's Kustomization {where} has an entry that names no object: {text!r}")
    return ObjectId(group, kind, namespace, name.replace("__", ":"))


def _busy(status: Json) -> str:
    """Return what Flux says that it does. While it only waits for health nothing is applied or pruned any more."""
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else []:
        condition = mapping(condition)
        if (condition.get("type"), condition.get("status"), condition.get("reason")) == (
            "Reconciling",
            "True",
            "Progressing",
        ):
            message = str(condition.get("message") or "reconciling")
            return "" if message.startswith(_CHECKING_HEALTH) else message
    return ""
