"""What a step tells of its objects: what failed, what drifted and what was healed, each of it told once."""

from __future__ import annotations

import logging
import time
from typing import Final

from felloe.annotations import Policy
from felloe.bundle import Workload
from felloe.errors import BundleError, FelloeError, KubernetesError, StoreError, SubstitutionError
from felloe.identity import ObjectId
from spoke.apply.given import Report
from spoke.apply.standing import Failure
from spoke.apply.state import State
from spoke.drift.arrivals import Lack, lack_of
from spoke.drift.contest import Contest
from spoke.kube.discovery import NoSuchKindError, Resource
from spoke.kube.errors import FORBIDDEN, UnreachableError, no_request_succeeds

_MAY_APPEAR: Final = frozenset({403, 404, 409, 429, 500, 502, 503, 504})
"""Statuses that stand for something that is not there yet: a namespace, a role, the server of a webhook."""

_log = logging.getLogger(__name__)


class Troubles:
    """The troubles of one workload's objects.

    `failures` says what could not be applied, and why. `lacking` are failures that may pass, and what is known of what
    they wait for. `drifts` are those that are not healed, for the workload only wants to be warned, or not at once.
    """

    def __init__(self, report: Report, workload: Workload, state: State) -> None:
        self._report = report
        self._workload = workload.id
        self._state = state
        self._warned: set[str] = set()
        self._unwatched: dict[Resource, str] = {}
        self.failures: dict[ObjectId, Failure] = {}
        self.lacking: dict[ObjectId, Lack | None] = {}
        self.drifts: dict[ObjectId, Failure] = {}

    def failed(self, identity: ObjectId, error: FelloeError) -> None:
        """Take it that an object could not be applied. Raise UnreachableError where no other can be either."""
        if isinstance(error, KubernetesError) and no_request_succeeds(error):
            raise UnreachableError(str(error)) from error
        unbuilt = isinstance(error, BundleError | SubstitutionError | StoreError)
        failure = Failure("BuildFailed" if unbuilt else "ApplyFailed", str(error))
        if self.failures.get(identity) != failure:
            _log.warning(
                "event=%s workload=%s object=%r error=%r", failure.reason, self._workload, str(identity), str(error)
            )
            self._report.event(failure.reason, f"{identity}: {error}", self._workload, identity, warning=True)
        self.failures[identity] = failure
        if isinstance(error, NoSuchKindError) or (isinstance(error, KubernetesError) and error.status in _MAY_APPEAR):
            self.lacking[identity] = lack_of(error)
        else:
            self.lacking.pop(identity, None)

    def cleared(self, identity: ObjectId) -> None:
        """Take it that nothing is wrong with an object any more, or nothing that is for us to do."""
        self.failures.pop(identity, None)
        self.lacking.pop(identity, None)

    def contested(self, identity: ObjectId) -> bool:
        """Return whether somebody keeps changing an object back."""
        contest = self._state.contests.get(identity)
        return contest is not None and contest.contested

    def drifted(self, identity: ObjectId, what: str, *, waits: bool = False) -> None:
        """Tell of a drift that is not healed, or that `waits` since it is fought over, for as long as it lasts."""
        if waits:
            what += "; it was changed back again and again, so healing it waits a while (DriftContested)"
            self.drifts[identity] = Failure("DriftContested", what)
            return
        if self.drifts.get(identity) != (drift := Failure("Drifted", what)):
            self.drifts[identity] = drift
            message = f"{identity} {what}; it is left so, for drift is only warned of here"
            self._report.event("DriftDetected", message, self._workload, identity, warning=True)

    def no_drift(self, identity: ObjectId) -> None:
        """Take it that an object is as it should be."""
        self.drifts.pop(identity, None)

    def healed(self, identity: ObjectId, what: str) -> None:
        """Tell what was healed, and step back from a fight."""
        now = time.monotonic()
        contest = self._state.contests[identity] = self._state.contests.get(identity, Contest()).healed(now)
        self._state.standing.healed += 1
        if contest.contested:
            what += f"; this is heal {contest.heals} in a row, the next one waits {contest.not_before - now:.0f}s"
        reason = "DriftContested" if contest.contested else "DriftHealed"
        _log.info("event=%s workload=%s object=%r what=%r", reason, self._workload, str(identity), what)
        self._report.event(reason, f"{identity} {what}", self._workload, identity, warning=contest.contested)

    def recreated(self, identity: ObjectId, field: str) -> None:
        """Tell that an object was deleted and made again for a `field` that can't be changed; empty if not known."""
        what = f"{identity} was deleted and made again: {field or 'a field of it'} can't be changed"
        _log.info("event=Recreated workload=%s object=%r field=%r", self._workload, str(identity), field)
        self._report.event("Recreated", what, self._workload, identity)

    def annotated(self, identity: ObjectId, says: Policy) -> None:
        """Tell of annotations whose values mean nothing; as in Flux, it is applied as if they were not there."""
        for problem in says.unknown:
            text = f"{identity}: {problem}"
            if text not in self._warned:
                self._warned.add(text)
                self._report.event("AnnotationUnknown", text, self._workload, identity, warning=True)

    def watched(self, resource: Resource, problem: KubernetesError | None) -> None:
        """Tell what may not be watched: it is applied, but its drift is not seen, nor how its health goes on."""
        refused = problem is not None and problem.status == FORBIDDEN
        message = f"{problem}: changes of what is applied are not seen" if refused else ""
        if message and self._unwatched.get(resource) != message:
            self._report.event("WatchRefused", message, self._workload, warning=True)
        self._unwatched[resource] = message
