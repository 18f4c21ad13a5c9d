"""The one way into the audit log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import orjson

from felloe.errors import FelloeError
from felloe.k8syaml import JsonValue
from hub.audit.actions import Action
from hub.audit.chain import BEGINNING, digest_of
from hub.status.resource import exact_timestamp
from hub.store import AuditRecord, Store

_ODD: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class AuditLog:
    """Writes who did what. `clock` gives seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def record(
        self,
        who: str,
        action: Action,
        *,
        clusters: Collection[str] = (),
        reason: str = "",
        revision: str = "",
        author: str = "",
        approver: str = "",
        track: str = "",
        workload: str = "",
        **detail: JsonValue,
    ) -> int:
        """Append an entry and return its number.

        It is on the disk when this returns, or, inside of `Store.batch()`, with the rest of the batch: record a
        person's act in one batch with what it changes, or before it. `who` is a person's name, `policy(STRATEGY)` or
        HUB; `revision` and `author` are those of the commit it is about; `track` is a rollout's (``shop@production``),
        `workload` NAMESPACE/NAME. Names and counts go into `detail`, never secrets. Raise StoreError.
        """
        now = self._clock()
        with self._store.batch():
            before = self._store.last_audit()
            number = before.number + 1 if before else 1
            told: Mapping[str, JsonValue] = {
                "number": number,
                "at": exact_timestamp(datetime.fromtimestamp(now, UTC)),
                "who": who,
                "action": action.value,
                "reason": reason,
                "revision": revision,
                "author": author,
                "approver": approver,
                "track": track,
                "workload": workload,
                "clusters": [*sorted(clusters)],
                "detail": {key: value for key, value in detail.items() if value is not None},
                "previous": digest_of(before.entry) if before else BEGINNING,
            }
            entry = _harmless(orjson.dumps({key: value for key, value in told.items() if value}).decode())
            self._store.add_audit(AuditRecord(number, now, who, action.value, entry), clusters)
        return number

    @contextmanager
    def failing(self, number: int, who: str, clusters: Collection[str] = ()) -> Iterator[None]:
        """Append that what entry `number` tells of failed, where the block raises a FelloeError.

        For an act outside of the store: it is recorded before it takes effect, and may not succeed.
        """
        try:
            yield
        except FelloeError as error:
            self.record(who, Action.FAILED, clusters=clusters, reason=str(error), failed=number)
            raise


def _harmless(line: str) -> str:
    """Return JSON without what a terminal would obey, or a reader take for a line break: escaped, as JSON can."""
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
