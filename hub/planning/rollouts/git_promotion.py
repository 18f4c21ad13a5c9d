"""What is to be promoted in Git, by what all tracks of an environment may promote: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from hub.fleet import Fleet
from hub.planning.releases import Releases, source_key
from hub.planning.rollouts.records import TrackRecord
from hub.promoting.model import Outcome, Wanted
from hub.promoting.verified import verified
from hub.rollout import Promoted
from hub.rollout.model import Track


class Promotions(Protocol):
    """Who promotes in Git."""

    def want(self, wanted: Iterable[Wanted]) -> None:
        """Promote exactly this from now on."""
        ...

    def outcome(self, environment: str) -> Outcome | None:
        """Return what became of the promotion to an environment, None where none is wanted."""
        ...


def promotions_in_git(
    fleet: Fleet, ready: Mapping[Track, Promoted], records: Mapping[Track, TrackRecord], releases: Releases
) -> Iterator[tuple[str, Wanted | str]]:
    """Yield what is to be promoted to each environment that is promoted to in Git; in words, what that waits for.

    `ready` is what may be promoted to each track of such an environment.
    """
    for name, environment in sorted(fleet.environments.items()):
        promotion = environment.promotes_from
        if promotion is None or promotion.git is None:
            continue
        source = promotion.git.source
        spec = fleet.repositories[source].spec if source else releases.fleet_source
        own = {track: found for track, found in ready.items() if track.environment == name}
        found = verified({track: releases.known.get(each.release) for track, each in own.items()}, source_key(spec))
        if not found.commit:
            yield name, next((each.waiting for each in own.values() if each.waiting), "") or found.waiting
            continue
        answers = (records[track].approved.get(found.number) for track in own if track in records)
        answer = next(filter(None, answers), None)
        yield (
            name,
            Wanted(
                environment=name,
                upstream=promotion.environment,
                how=promotion.git,
                spec=spec,
                commit=found.commit,
                release=found.number,
                subject=found.subject,
                who=answer.who if answer else "policy",
                reason=answer.message if answer else "",
            ),
        )
