"""The service accounts that workloads are applied as: known to be there before anything is done in their name.

RBAC grants rights to a name, whether or not there is an account behind it: a role binding that was left behind would
let us go on in the name of an account that somebody has deleted. So each account is followed by a watch of its own,
which costs no request while nothing happens, and tells at once when it appears.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from felloe.errors import KubernetesError
from spoke.kube.client import KubeClient
from spoke.kube.errors import FORBIDDEN
from spoke.kube.watch import Key, Reflector

NO_ACCOUNT: Final = "NoServiceAccount"
"""The reason of the error that says that an account is not there."""

_ANSWER_SECONDS: Final = 10.0


class Account(NamedTuple):
    """A service account."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """Return the name that the API server knows it by."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class Accounts:
    """The service accounts in use; `appeared` is called when one is there that was not. Each watch is in `tasks`."""

    def __init__(self, client: KubeClient, appeared: Callable[[], None], tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._appeared = appeared
        self._tasks = tasks
        self._followed: dict[Account, tuple[_Followed, asyncio.Task[None]]] = {}

    def client(self, account: Account) -> KubeClient:
        """Return a client whose requests are the account's, and are refused with NO_ACCOUNT while it is not there."""

        async def check() -> None:
            await self._require(account)

        return self._client.impersonating(account.user, check)

    def retain(self, accounts: Collection[Account]) -> None:
        """Stop following all other accounts."""
        for account in self._followed.keys() - set(accounts):
            self._followed.pop(account)[1].cancel()

    async def _require(self, account: Account) -> None:
        if account not in self._followed:
            followed = _Followed(self._appeared)
            path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts"
            selector = {"fieldSelector": f"metadata.name={account.name}"}
            reflector = Reflector(self._client, path, selector, followed, metadata_only=True)
            task = self._tasks.create_task(reflector.run(), name=f"watch {account.user}")
            self._followed[account] = (followed, task)
        followed = self._followed[account][0]
        if not followed.answered.is_set():
            with suppress(TimeoutError):  # an API server that is away says so to the request itself
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await followed.answered.wait()
        if followed.missing:
            raise no_account(account)


def no_account(account: Account) -> KubernetesError:
    """Return the error that says that an account is not there."""
    return KubernetesError(
        f"the service account {account.namespace}/{account.name} that this workload is applied as is not "
        "there: create it, with the roles that it needs (or name another one in spec.serviceAccountName; a "
        "workload that is suspended before it is removed leaves its objects where they are)",
        status=FORBIDDEN,
        reason=NO_ACCOUNT,
    )


class _Followed:
    """What is known of one account. Where the spoke may not look, RBAC alone decides."""

    def __init__(self, appeared: Callable[[], None]) -> None:
        self._appeared = appeared
        self.answered = asyncio.Event()
        self.missing = False

    def seen(self, obj: Mapping[str, object]) -> None:
        if self.missing:
            self.missing = False
            self._appeared()

    def gone(self, obj: Mapping[str, object]) -> None:
        self.missing = True

    def listed(self, keys: set[Key], version: int) -> None:
        self.missing = not keys
        self.answered.set()

    def failed(self, error: KubernetesError) -> None:
        self.missing = self.missing and error.status != FORBIDDEN
        self.answered.set()
