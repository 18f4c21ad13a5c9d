"""What an object itself says about how it is treated: Flux' annotations, and the same under our own name.

They are ``kustomize.toolkit.fluxcd.io/`` or ``fleet.felloe.io/`` + ``ssa``, ``force``, ``reconcile`` and ``prune``. As
in Flux (fluxcd/pkg, ssa) a label says the same as an annotation, and upper or lower case of a value is no matter. The
object in Git and the one in the cluster may both carry them; each user of this module says which of the two counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felloe.labels import GROUP

Json = Mapping[str, object]

FLUX_GROUP: Final = "kustomize.toolkit.fluxcd.io"
FORCE_ANNOTATION: Final = f"{FLUX_GROUP}/force"
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "ssa": ("Override", "Merge", "IfNotPresent", "Ignore"),
    "force": ("enabled", "disabled"),
    "reconcile": ("enabled", "disabled"),
    "prune": ("enabled", "disabled", "force"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How one object is treated.

    `left_alone` (``reconcile: disabled``, ``ssa: Ignore``): neither applied nor healed nor deleted. `once`
    (``ssa: IfNotPresent``): made where it is missing, never changed. `merged` (``ssa: Merge``): only what Git sets is
    ours, what kubectl and others wrote next to it is not taken over. `forced`: deleted and made again where a field
    can't be changed. `kept` (``prune: disabled``): not deleted. `prune_forced` (``prune: force``, our own): a Namespace
    or CRD that is deleted although something that is not ours is in it. `unknown` tells of values that mean nothing.
    """

    left_alone: bool = False
    once: bool = False
    merged: bool = False
    forced: bool = False
    kept: bool = False
    prune_forced: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def prunable(self) -> bool:
        """Return whether it may be deleted when it is not wanted any more; asked of the object in the cluster."""
        return not (self.kept or self.left_alone)


ORDINARY: Final = Policy()


def policy(metadata: Json) -> Policy:
    """Return what an object with this metadata says about itself."""
    says = set()
    unknown = []
    for key, name, value in _found(metadata):
        known = {each.lower(): each for each in _KNOWN[name]}
        if (meaning := known.get(value.lower())) is not None:
            says.add((name, meaning))
        elif value:
            unknown.append(f"{key} is {value!r}, which means nothing: use {' or '.join(_KNOWN[name])}")
    if not says and not unknown:
        return ORDINARY
    return Policy(
        left_alone=("reconcile", "disabled") in says or ("ssa", "Ignore") in says,
        once=("ssa", "IfNotPresent") in says,
        merged=("ssa", "Merge") in says,
        forced=("force", "enabled") in says,
        kept=("prune", "disabled") in says,
        prune_forced=("prune", "force") in says,
        unknown=tuple(unknown),
    )


def _found(metadata: Json) -> Iterator[tuple[str, str, str]]:
    """Yield key, name without group, and value of each annotation and label that is about us."""
    for place in ("annotations", "labels"):
        marks = metadata.get(place)
        if not isinstance(marks, Mapping):
            continue
        for key, value in marks.items():
            group, _, name = str(key).partition("/")
            if name in _KNOWN and group in (FLUX_GROUP, GROUP):
                yield str(key), name, str(value)
