"""History: what a publication changed on a cluster, where that came from and who let it through. Pure.

A publication that moves a thousand clusters alike is one description that a thousand short records point to, so that
the history of a large fleet stays small. What a commit leaves as it is for a cluster is no part of its history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from felloe.identity import WorkloadId
from hub.rollout.model import Track
from hub.targeting import ClusterPlan

AuthorOf = Callable[[str], str]
"""Returns the author of a revision, empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What let a release of a unit through to a cluster: a rollout, in the name of a policy or of a person.

    `who` is as in the audit log, `author` the release's; `approvers` are the people who opened the gates of the
    cluster's stage.
    """

    track: Track
    release: int
    who: str
    author: str = ""
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedWorkload:
    """A workload that a publication added, changed or removed; `revision` is empty where it was removed."""

    id: WorkloadId
    unit: str
    change: str
    revision: str
    former: str


def changed_workloads(before: ClusterPlan | None, plan: ClusterPlan) -> Iterator[ChangedWorkload]:
    """Yield what differs between two plans of a cluster, in the order of their names."""
    old = before.bundle.by_id if before else {}
    new = plan.bundle.by_id
    for identity in sorted(old.keys() | new.keys()):
        had, has = old.get(identity), new.get(identity)
        if had is not None and has is not None and had.digest == has.digest:
            continue
        change = "added" if had is None else "removed" if has is None else "changed"
        was = before.by_id.get(identity) if before and had else None
        now = plan.by_id.get(identity) if has else None
        told = now or was
        yield ChangedWorkload(
            identity, told.origin if told else "", change, now.revision if now else "", was.revision if was else ""
        )


def describe_move(
    changed: Sequence[ChangedWorkload],
    *,
    revision: str,
    former: str,
    author_of: AuthorOf,
    passages: Iterable[Passage],
) -> str:
    """Return as JSON what a publication changes, the same text for every cluster on which it changes the same.

    `revision` and `former` are those of the fleet repository. Only the passages of units that changed are told; where
    there is none, the commits went through as they came.
    """
    units = {each.unit for each in changed}
    through = sorted((each for each in passages if each.track.unit in units), key=lambda each: each.track)
    released = {each.track.unit: each.author for each in through}
    authors = [
        author_of(each.revision) or released.get(each.unit, "")
        for each in changed
        if each.revision and each.revision != each.former
    ]
    if revision != former and (not authors or any(not each.revision for each in changed)):
        authors.append(author_of(revision))
    detail = {
        "revision": revision,
        "formerRevision": former,
        "authors": [*dict.fromkeys(author for author in authors if author)],
        "via": [
            {
                "track": str(each.track),
                "release": each.release,
                "who": each.who,
                "approvers": each.approvers,
            }
            for each in through
        ],
        "workloads": [
            {
                **each.id._asdict(),
                "change": each.change,
                "revision": each.revision,
                "formerRevision": each.former,
            }
            for each in changed
        ],
    }
    return orjson.dumps(detail).decode()
