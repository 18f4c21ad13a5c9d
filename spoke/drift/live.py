"""What the cluster has of ours, as compact facts: an object is judged when it is seen, and not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar

from felloe.annotations import policy
from felloe.identity import ObjectId, WorkloadId
from felloe.labels import WORKLOAD_KIND, WORKLOAD_NAME, WORKLOAD_NAMESPACE
from spoke.drift.fields import fingerprint
from spoke.drift.ignore import without
from spoke.health import Health, HealthStatus, assess, before_expressions
from spoke.health.expressions import NOT_EVALUATED, Evaluations, Rule

Json = Mapping[str, object]
_T = TypeVar("_T")
_INTERNED_AT_MOST: Final = 1000
_JOB: Final = ("batch", "Job")
_ENDED: Final = frozenset({HealthStatus.CURRENT, HealthStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Live:
    """One object as it was last seen. `version` is its resourceVersion as a number, 0 where it is none.

    `left_alone` and `forced` are what its annotations say (felloe.annotations).
    """

    uid: str
    version: int
    fingerprint: bytes
    owner: WorkloadId | None
    health: Health
    terminating: bool = False
    left_alone: bool = False
    forced: bool = False
    # Its managedFields, only while it differs from what was applied: who did it is told when it is healed.
    drifted: Json | None = field(default=None, compare=False)
    generation: int = field(default=0, compare=False)
    # By which expressions it is judged, None by kstatus; and itself, until it is handed over to be evaluated.
    rule: Rule | None = field(default=None, compare=False)
    unjudged: Json | None = field(default=None, compare=False)

    @property
    def at(self) -> dict[str, str]:
        """Return the uid and resourceVersion that an apply names which is to change just this."""
        return {"uid": self.uid, "resourceVersion": str(self.version)} if self.uid and self.version else {}

    @property
    def settled(self) -> Live:
        """Return the same without what is needed to tell a drift."""
        return replace(self, drifted=None) if self.drifted is not None else self

    def is_at(self, metadata: object) -> bool:
        """Return whether these are the facts of an object with this metadata: the same object at the same version."""
        if not isinstance(metadata, Mapping) or self.version == 0:
            return False
        return metadata.get("resourceVersion") == str(self.version) and metadata.get("uid") == self.uid


class Expected(Protocol):
    """Tells the fingerprint that our last apply of an object left behind, None where there was none."""

    def __call__(self, identity: ObjectId) -> bytes | None:
        """Return it."""
        ...


class Ignored(Protocol):
    """Tells which fields of an object are left to others, as JSON pointers."""

    def __call__(self, identity: ObjectId) -> Sequence[str]:
        """Return them."""
        ...


class RuleOf(Protocol):
    """Tells the expressions that an object of ours is judged by, None where it is judged by kstatus."""

    def __call__(self, identity: ObjectId) -> Rule | None:
        """Return them."""
        ...


class Changed(Protocol):
    """Is told that what is live of an object changed."""

    def __call__(self, identity: ObjectId, before: Live | None, now: Live | None) -> None:
        """Take it."""
        ...


class LiveObjects:
    """Everything of ours that is live. Watches and the answers to our own applies write it, everyone reads it."""

    def __init__(
        self,
        expected: Expected,
        ignored: Ignored,
        changed: Changed,
        rule_of: RuleOf,
        whole: Callable[[str, str], bool],
        evaluations: Evaluations,
    ) -> None:
        """`whole` tells of which kinds, by group and name, more than the metadata is needed whatever they are."""
        self.whole = whole
        self._expected = expected
        self._ignored = ignored
        self._changed = changed
        self._rule_of = rule_of
        self._evaluations = evaluations
        self._objects: dict[ObjectId, Live] = {}
        self.doubtful: set[ObjectId] = set()
        """What was sent to the API server without an answer that tells what became of it: to be applied once more."""
        self._interned: dict[object, object] = {}
        self._last_words: dict[ObjectId, Health] = {}

    def get(self, identity: ObjectId) -> Live | None:
        """Return what was last seen of an object, None if it is not there or not ours."""
        return self._objects.get(identity)

    def last_words(self, identity: ObjectId) -> Health | None:
        """Return the health that a Job had when it went, None where nobody saw it go, or nothing is known of it."""
        return self._last_words.get(identity)

    def of_kind(self, group: str, kind: str) -> Iterator[ObjectId]:
        """Return the objects of one kind."""
        return iter([identity for identity in self._objects if identity.group == group and identity.kind == kind])

    def seen(self, identity: ObjectId, obj: Json) -> Live:
        """Take an object as the API server returned it; an older one than is known already changes nothing."""
        known = self._objects.get(identity)
        if known is not None and known.rule == self._rule_of(identity) and known.is_at(obj.get("metadata")):
            return known  # the answer to our own apply said it all
        return self.take(identity, self.read(identity, obj))

    def take(self, identity: ObjectId, now: Live) -> Live:
        """Take the facts of an object; older ones than are known already change nothing."""
        before = self._objects.get(identity)
        if before is not None and 0 < now.version < before.version and (before.uid == now.uid or now.terminating):
            return before
        if now.unjudged is not None and now.rule is not None:
            now = self._evaluate(identity, now, now.rule, now.unjudged, before)
        self._objects[identity] = now
        self._last_words.pop(identity, None)
        if before != now:
            self._changed(identity, before, now)
        return now

    def _evaluate(self, identity: ObjectId, now: Live, rule: Rule, obj: Json, before: Live | None) -> Live:
        """Have an object judged by its expressions; until then it has the health that it had at this generation."""

        def judged(health: Health) -> None:
            known = self._objects.get(identity)
            if known is None or (known.uid, known.version) != (now.uid, now.version) or known.rule != rule:
                return
            self._objects[identity] = after = replace(known, health=self._intern(health))
            if after != known:
                self._changed(identity, known, after)

        self._evaluations.ask(identity, rule, obj, judged)
        same = before is not None and before.rule == rule
        if same and before is not None and (before.uid, before.generation) == (now.uid, now.generation):
            return replace(now, health=before.health, unjudged=None)
        return replace(now, unjudged=None)

    def gone(self, identity: ObjectId, obj: Json | None = None) -> None:
        """Take it that an object is not there any more, or not ours; `obj` is its last state, if that is known."""
        before = self._objects.get(identity)
        if before is None:
            return
        if obj is not None:
            after = self.read(identity, obj)
            if 0 < after.version < before.version:
                return  # or it is the one before, and its successor was here first
        del self._objects[identity]
        if identity[:2] == _JOB and (obj is not None or before.health.status in _ENDED):
            self._last_words[identity] = before.health if obj is None else assess(obj)
        self._changed(identity, before, None)

    def forget(self, identity: ObjectId) -> None:
        """Drop what is known of an object whose kind is no longer watched, without telling anyone."""
        self._objects.pop(identity, None)

    def read(self, identity: ObjectId, obj: Json) -> Live:
        """Return the facts of an object as the API server returned it, without taking them in."""
        metadata = obj.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        version = str(metadata.get("resourceVersion") or "")
        pointers = self._ignored(identity)
        own = fingerprint(metadata, partial(without, obj=obj, pointers=pointers)) if pointers else fingerprint(metadata)
        expected = self._expected(identity)
        rule = self._rule_of(identity)
        generation = metadata.get("generation")
        known = before_expressions(obj) if rule else assess(obj, datetime.now(UTC))
        says = policy(metadata)
        return Live(
            uid=str(metadata.get("uid") or ""),
            version=int(version) if version.isdigit() else 0,
            fingerprint=own,
            owner=self._intern(owner(metadata)),
            health=self._intern(known or NOT_EVALUATED),
            terminating=bool(metadata.get("deletionTimestamp")),
            left_alone=says.left_alone,
            forced=says.forced,
            drifted={"managedFields": metadata.get("managedFields")} if expected and expected != own else None,
            generation=generation if isinstance(generation, int) else 0,
            rule=rule,
            unjudged=obj if known is None else None,
        )

    def _intern(self, value: _T) -> _T:
        """Return one shared copy of a fact that thousands of objects have in common."""
        if len(self._interned) > _INTERNED_AT_MOST:
            self._interned.clear()
        return self._interned.setdefault(value, value)  # type: ignore[return-value]


def owner(metadata: Json) -> WorkloadId | None:
    """Return the workload that an object's labels name, None where they name none."""
    labels = metadata.get("labels")
    if not isinstance(labels, Mapping):
        return None
    kind, namespace, name = (labels.get(key) for key in (WORKLOAD_KIND, WORKLOAD_NAMESPACE, WORKLOAD_NAME))
    return WorkloadId(str(kind), str(namespace), str(name)) if kind and namespace is not None and name else None
