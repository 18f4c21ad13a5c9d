"""What a hub wants of one cluster, generation after generation: a small world of objects, changed by a seed.

The world is made to be nasty: objects come back, with the content of before; they move between workloads; what they
live in (a namespace, the definition of their kind) goes and comes with them; whole workloads go, or are renamed, or are
suspended; two of them want the same object.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from felloe.bundle import ApplyOptions
from felloe.identity import ObjectId
from tests.spoke.manifests import Manifest, Wanted, config_map, custom, definition, deployment, namespace, secret

BASE: Final = "faults"
"""A namespace that is there before everything and stays: no workload's."""
DYNAMIC: Final = ("faults-one", "faults-two")
PRUNING: Final = ("a", "b", "c")
KEEPING: Final = "keep"
"""A workload with prune: false."""
_SAME_FIELDS: Final = frozenset({"cm-0", "cm-2", "cm-4"})
"""Objects of which only values differ from content to content: who owns which fields tells nothing of it."""
_LARGE: Final = "cm-1"
"""An object that takes several frames of a bundle's transfer."""
_VALUES: Final = 3
_SUSPENDED: Final = 0.15
_STAYS_SUSPENDED: Final = 0.93
_CONTESTED: Final = 0.25
_GROUP: Final = "faults.example.com"
_CRD: Final = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", f"widgets.{_GROUP}")


@dataclass(frozen=True, slots=True, order=True)
class Want:
    """Which workload wants an object, and with which content."""

    workload: str
    value: int

    def __str__(self) -> str:
        return f"{self.workload}/{self.value}"


def objects() -> tuple[ObjectId, ...]:
    """Return every object that may be wanted."""
    found = [ObjectId("", "ConfigMap", BASE, f"cm-{number}") for number in range(10)]
    found += [ObjectId("", "Secret", BASE, f"secret-{number}") for number in range(3)]
    found += [ObjectId("", "Service", BASE, f"service-{number}") for number in range(2)]
    found += [ObjectId("apps", "Deployment", BASE, "deployment")]
    found += [ObjectId("rbac.authorization.k8s.io", "ClusterRole", "", f"faults-{number}") for number in range(2)]
    found += [_CRD, *(ObjectId(_GROUP, "Widget", BASE, f"widget-{number}") for number in range(4))]
    for name in DYNAMIC:
        found.append(ObjectId("", "Namespace", "", name))
        found += [ObjectId("", "ConfigMap", name, f"cm-{number}") for number in range(4)]
        found.append(ObjectId("", "Secret", name, "secret"))
    return tuple(found)


def parent(identity: ObjectId) -> ObjectId | None:
    """Return what an object can't be without."""
    if identity.kind == "Widget":
        return _CRD
    return ObjectId("", "Namespace", "", identity.namespace) if identity.namespace in DYNAMIC else None


def may_be_kept(identity: ObjectId) -> bool:
    """Return whether the workload without prune may want an object."""
    return identity.namespace == BASE and identity.kind in ("ConfigMap", "Secret")


def manifest(identity: ObjectId, value: int) -> Manifest:
    """Return an object with a content; of most objects every content has other fields than the others."""
    text = str(value)
    place, name = identity.namespace, identity.name
    match identity.kind:
        case "ConfigMap":
            if name == _LARGE:
                return config_map(place, name, k=text, noise=random.Random(value).randbytes(24_000).hex())  # noqa: S311
            if name in _SAME_FIELDS:
                return config_map(place, name, k=text)
            return config_map(place, name, k=text, **{f"only-{value}": "x"})
        case "Secret":
            return secret(place, name, k=text, **{f"only-{value}": "x"})
        case "Deployment":
            found = deployment(place, name, 0)
            found["metadata"] = {"name": name, "namespace": place, "annotations": {f"only-{value}": text}}
            return found
        case "Widget":
            return custom(place, name, "Widget", _GROUP, v=value, **{f"only{value}": "x"})
        case "Namespace":
            return _annotated(namespace(name), text)
        case "CustomResourceDefinition":
            return _annotated(definition("widgets", "Widget", _GROUP), text)
        case "Service":
            spec: Manifest = {"selector": {"app": name}, "ports": [{"port": 80 + value}]}
            metadata = {"name": name, "namespace": place}
            return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": [text]}
    api = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}


def _annotated(found: Manifest, text: str) -> Manifest:
    return found | {"metadata": {"name": found["metadata"]["name"], "annotations": {"v": text}}}  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class Generation:
    """One desired state of the cluster. Workloads in `absent` are not in the bundle; they want nothing.

    `rivals` are workloads that want an object as well, which is `wants`' all the same as soon as they want it no more.
    """

    number: int
    wants: Mapping[ObjectId, Want]
    absent: frozenset[str] = frozenset()
    suspended: frozenset[str] = frozenset()
    rivals: Mapping[ObjectId, str] = field(default_factory=dict)

    def __str__(self) -> str:
        absent = f", without {', '.join(sorted(self.absent))}" if self.absent else ""
        suspended = f", {', '.join(sorted(self.suspended))} suspended" if self.suspended else ""
        rivals = "".join(f", {who} wants {each.kind} {each.name} too" for each, who in sorted(self.rivals.items()))
        return f"generation {self.number}{absent}{suspended}{rivals}: "

    def claimants(self, identity: ObjectId) -> set[str]:
        """Return which workloads want an object."""
        found = {self.wants[identity].workload} if identity in self.wants else set()
        return found | ({self.rivals[identity]} if identity in self.rivals else set())

    def workloads(self) -> list[Wanted]:
        """Return the bundle."""
        return [
            Wanted(
                name,
                [manifest(each, want.value) for each, want in self.wants.items() if name in self.claimants(each)],
                ApplyOptions(
                    prune=name != KEEPING, retry_interval=2.0, prune_limit=1.0, suspend=name in self.suspended
                ),
            )
            for name in sorted({*PRUNING, KEEPING} - self.absent)
        ]

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON."""
        wants = [[*identity, want.workload, want.value] for identity, want in self.wants.items()]
        return {
            "number": self.number,
            "wants": wants,
            "absent": sorted(self.absent),
            "suspended": sorted(self.suspended),
            "rivals": [[*identity, workload] for identity, workload in self.rivals.items()],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Self:
        """Return the generation that `to_json` told."""
        rows, rivals, absent, suspended = (content[name] for name in ("wants", "rivals", "absent", "suspended"))
        assert isinstance(rows, list)
        assert isinstance(rivals, list)
        assert isinstance(absent, list)
        assert isinstance(suspended, list)
        wants = {ObjectId(*row[:4]): Want(row[4], row[5]) for row in rows}
        too = {ObjectId(*row[:4]): str(row[4]) for row in rivals}
        return cls(int(str(content["number"])), wants, frozenset(absent), frozenset(suspended), too)


@dataclass(slots=True)
class World:
    """Makes generations by a seed; `history` has all of them, the newest last."""

    chance: random.Random
    history: list[Generation] = field(default_factory=lambda: [Generation(0, {})])
    _were_suspended: set[str] = field(default_factory=set)
    """Since the last calm generation."""

    def next(self, *, calm: bool = False) -> Generation:
        """Return a new generation, which differs from the newest one. With `calm` nothing is suspended or contested."""
        before = self.history[-1]
        wants = dict(before.wants)
        for _ in range(self.chance.choice((1, 1, 2, 4, 8, 16))):
            self.chance.choices(_CHANGES, _OFTEN)[0](self, wants)
        suspended = frozenset(name for name in sorted(before.suspended) if self.chance.random() < _STAYS_SUSPENDED)
        if self.chance.random() < _SUSPENDED:
            suspended |= {self.chance.choice((*PRUNING, KEEPING))}
        rivals = {each: who for each, who in before.rivals.items() if each in wants and wants[each].workload != who}
        if wants and self.chance.random() < _CONTESTED:
            identity = self.chance.choice(sorted(wants))
            if (who := self._workload(identity)) != wants[identity].workload:
                rivals[identity] = who
        if calm:
            suspended, rivals = frozenset(), {}
        self._were_suspended |= suspended
        # One that leaves while it is suspended leaves its objects behind, as it should: that is not judged here.
        idle = {*PRUNING, KEEPING} - {want.workload for want in wants.values()} - {*rivals.values()}
        leave = sorted(idle - self._were_suspended)
        if calm:
            self._were_suspended = set()
        absent = frozenset(name for name in leave if self.chance.random() < 0.5)
        self.history.append(Generation(len(self.history), wants, absent, suspended, rivals))
        return self.history[-1]

    def told(self) -> str:
        """Return what the newest generation changes."""
        before, after = (generation.wants for generation in self.history[-2:])
        changes = []
        for identity in sorted(before.keys() | after.keys()):
            old, new = before.get(identity), after.get(identity)
            if old != new:
                changes.append(
                    f"{identity.kind} {identity.namespace}/{identity.name} {old or 'none'} to {new or 'none'}"
                )
        return "; ".join(changes)

    def _workload(self, identity: ObjectId) -> str:
        return self.chance.choice((*PRUNING, KEEPING, KEEPING) if may_be_kept(identity) else PRUNING)

    def _add(self, wants: dict[ObjectId, Want]) -> None:
        for _ in range(6):
            identity = self.chance.choice(objects())
            if (above := parent(identity)) and above not in wants:
                identity = above
            if identity not in wants:
                wants[identity] = Want(self._workload(identity), self.chance.randint(1, _VALUES))

    def _change(self, wants: dict[ObjectId, Want]) -> None:
        if wants:
            identity = self.chance.choice(sorted(wants))
            wants[identity] = Want(wants[identity].workload, self.chance.randint(1, _VALUES))

    def _move(self, wants: dict[ObjectId, Want]) -> None:
        if wants:
            identity = self.chance.choice(sorted(wants))
            wants[identity] = Want(self._workload(identity), wants[identity].value)

    def _drop(self, wants: dict[ObjectId, Want]) -> None:
        if wants:
            doomed = self.chance.choice(sorted(wants))
            for identity in [each for each in wants if doomed in (each, parent(each))]:
                del wants[identity]

    def _clear(self, wants: dict[ObjectId, Want]) -> None:
        """Drop a whole workload, and what lives in what it wanted."""
        name = self.chance.choice((*PRUNING, KEEPING))
        doomed = {identity for identity, want in wants.items() if want.workload == name}
        for identity in [each for each in wants if each in doomed or parent(each) in doomed]:
            del wants[identity]

    def _rename(self, wants: dict[ObjectId, Want]) -> None:
        before, after = self.chance.sample(PRUNING, 2)
        for identity, want in wants.items():
            if want.workload == before:
                wants[identity] = Want(after, want.value)

    def _back(self, wants: dict[ObjectId, Want]) -> None:
        """Return to what was wanted a little while ago."""
        before = self.chance.choice(self.history[-4:])
        wants.clear()
        wants.update(before.wants)


_CHANGES: Final[tuple[Callable[[World, dict[ObjectId, Want]], None], ...]] = (
    World._add,
    World._change,
    World._move,
    World._drop,
    World._clear,
    World._rename,
    World._back,
)
_OFTEN: Final = (30, 30, 15, 15, 2, 4, 6)
