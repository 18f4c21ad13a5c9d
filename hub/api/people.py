"""The people who may use the API: each by a name and a token of their own, of which the hub keeps the sha256.

The name goes with everything they ask for, into the audit log. The first of them, `ADMIN`, is who has the data folder's
``admin.yaml``; it alone gives out credentials and takes them away. One that is revoked or expires ends at once, also
the watches that it opened.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from felloe.errors import ConfigError
from hub.audit import HUB, Action, AuditLog
from hub.store import Person, Store

ADMIN: Final = "admin"
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._@]{0,61}[A-Za-z0-9])?")
_TAKEN: Final = frozenset({ADMIN, HUB})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `expires_at` is seconds since 1970, None for never."""

    name: str
    expires_at: float | None = None


class People:
    """Knows by their tokens who asks. `clock` gives seconds since 1970."""

    def __init__(
        self, store: Store, audit: AuditLog, admin_token_sha256: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._audit = audit
        self._admin_token_sha256 = admin_token_sha256
        self._clock = clock
        self._asking: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def principal(self, token: str) -> Principal | None:
        """Return whose token this is, None for nobody's and for an expired one. Compared in constant time."""
        asked, now = sha256(token.encode()).digest(), self._clock()
        found = Principal(ADMIN) if hmac.compare_digest(asked, self._admin_token_sha256) else None
        for person in self._store.people():
            good = person.expires_at is None or person.expires_at > now
            if hmac.compare_digest(asked, person.token_sha256) and good:
                found = Principal(person.name, person.expires_at)
        return found

    def listed(self) -> Sequence[Person]:
        """Return everybody that was given a credential, expired ones too."""
        return self._store.people()

    def create(self, name: str, ttl: float | None, *, who: str, reason: str = "") -> tuple[Person, str]:
        """Make a credential for a person; return it with its token, which is told this once.

        `ttl` is seconds, None for no end; an expired one of that name is replaced. Raise ConfigError for a name that is
        none or is taken.
        """
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ConfigError(
                f"{name!r} can't be a person's name: use at most 63 letters, digits and . _ - @, a letter or digit at "
                f"both ends, and not {' or '.join(sorted(_TAKEN))}"
            )
        now, token = self._clock(), secrets.token_urlsafe(32)
        person = Person(name, sha256(token.encode()).digest(), now, who, None if ttl is None else now + ttl)
        known = next((one for one in self._store.people() if one.name == name), None)
        if known is not None and (known.expires_at is None or known.expires_at > now):
            raise ConfigError(f"{name} has a credential already: revoke it first (felloe credential revoke {name})")
        with self._store.batch():
            self._audit.record(who, Action.CREDENTIAL_CREATED, reason=reason, name=name, ttl=ttl and round(ttl))
            self._store.remove_person(name)
            self._store.add_person(person)
        return person, token

    def revoke(self, name: str, *, who: str, reason: str = "") -> bool:
        """Make a person's credential worthless, and end what they have open; return whether there was one."""
        if all(person.name != name for person in self._store.people()):
            return False
        with self._store.batch():
            self._audit.record(who, Action.CREDENTIAL_REVOKED, reason=reason, name=name)
            self._store.remove_person(name)
        for gone in self._asking.pop(name, ()):
            gone.set()
        return True

    @contextmanager
    def asking(self, principal: Principal) -> Iterator[asyncio.Event]:
        """Yield what is set when a person's credential ends while the block lasts."""
        gone = asyncio.Event()
        self._asking[principal.name].add(gone)
        timer = None
        if principal.expires_at is not None:
            left = max(principal.expires_at - self._clock(), 0.0)
            timer = asyncio.get_running_loop().call_later(left, gone.set)
        try:
            yield gone
        finally:
            if timer is not None:
                timer.cancel()
            here = self._asking.get(principal.name, set())
            here.discard(gone)
            if not here:
                self._asking.pop(principal.name, None)
