"""Keeping what is to be promoted in Git promoted: one task an environment, again and again until it is so.

It is level-based and keeps no state of its own: what the repository and the forge say is what there is, so a hub that
is restarted, or two looks at the same thing, make one commit and one pull request. What people changed after a
promotion is theirs: the same content is not promoted to a folder a second time.

    promoter = Promoter(git, secrets, on_change, on_push)
    async with asyncio.TaskGroup() as group:
        group.create_task(promoter.run())
        promoter.want([Wanted("staging", "dev", how, spec, commit, release=12, subject="…", who="policy")])
        promoter.outcome("staging")
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from dulwich.objects import ShaFile, Tree

from felloe.errors import FelloeError, SourceError
from hub.promoting import NAMESPACE
from hub.promoting.copying import Signature, commit, copy_folder
from hub.promoting.forges import ForgeApi, Proposal
from hub.promoting.model import Outcome, State, Wanted
from hub.promoting.pushing import MovedError, Relation, newest_with, push, relation, tip
from hub.sources.git import Fetched, GitSources
from hub.sources.http import TlsTrust
from hub.sources.mirror import Remote
from hub.sources.secrets import Secret, SecretFolder
from hub.sources.spec import GitRef
from hub.sources.tree import SourceTree

_FIRST_RETRY: Final = 5.0
_LONGEST_RETRY: Final = 600.0
_LOOK_AGAIN: Final = 300.0
_SHORT: Final = 12
_COMMIT: Final = re.compile(r"^Felloe-Promoted-Commit: ([0-9a-f]{40})$", re.MULTILINE)

T = TypeVar("T")


OnChange = Callable[[str], None]


class Promoter:
    """Promotes, while `run` runs, what `want` was told last.

    `on_change` hears of environments with another outcome, `on_push` of the URLs of repositories that were written to.
    """

    def __init__(
        self,
        git: GitSources,
        secrets: SecretFolder,
        on_change: OnChange,
        on_push: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
        first_retry: float = _FIRST_RETRY,
    ) -> None:
        self._git = git
        self._secrets = secrets
        self._on_change = on_change
        self._on_push = on_push
        self._clock = clock
        self._first_retry = first_retry
        self._wanted: dict[str, Wanted] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._changed = asyncio.Event()
        self._trust = TlsTrust()

    async def run(self) -> None:
        """Promote until cancelled. An error of `on_change` ends it; what goes wrong in a promotion is an outcome."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[Wanted, asyncio.Task[None]] = {}
            while True:
                self._changed.clear()
                wanted = set(self._wanted.values())
                for gone in tasks.keys() - wanted:
                    tasks.pop(gone).cancel()
                for each in wanted - tasks.keys():
                    tasks[each] = group.create_task(self._keep(each), name=f"promotion to {each.environment}")
                await self._changed.wait()

    def want(self, wanted: Iterable[Wanted]) -> None:
        """Promote exactly this from now on, one thing for an environment; what is the same as before goes on."""
        now = {each.environment: each for each in wanted}
        for environment in self._outcomes.keys() - now.keys():
            del self._outcomes[environment]
        for environment, each in now.items():
            if self._wanted.get(environment) != each:
                self._outcomes[environment] = Outcome(State.WORKING, f"{each.commit[:_SHORT]} is next", self._clock())
        if now != self._wanted:
            self._wanted = now
            self._changed.set()

    def outcome(self, environment: str) -> Outcome | None:
        """Return what became of the promotion to an environment, None where none is wanted."""
        return self._outcomes.get(environment)

    async def _keep(self, wanted: Wanted) -> None:
        failures = 0
        while True:
            try:
                outcome = await self._promote(wanted)
                failures = 0
            except MovedError as error:
                outcome = Outcome(State.WORKING, str(error), self._clock())
                failures += 1
            except FelloeError as error:
                outcome = Outcome(State.FAILED, str(error), self._clock())
                failures += 1
            if outcome.wrote:
                self._on_push(wanted.spec.url)
            self._report(wanted, outcome)
            if outcome.state is State.DONE:
                return
            longest = min(_LONGEST_RETRY, self._first_retry * 2.0 ** min(failures - 1, 16)) if failures else _LOOK_AGAIN
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  # spreads load, guards nothing

    def _report(self, wanted: Wanted, outcome: Outcome) -> None:
        if self._wanted.get(wanted.environment) != wanted:
            return
        before = self._outcomes.get(wanted.environment)
        self._outcomes[wanted.environment] = outcome
        if before is None or replace(before, at=outcome.at) != outcome:
            self._on_change(wanted.environment)

    async def _promote(self, wanted: Wanted) -> Outcome:
        secret = self._secrets.read(NAMESPACE, wanted.how.secret) if wanted.how.secret else None
        work = _Work(self._git, wanted, secret, self._clock())
        if wanted.how.pull_request is None:
            message = await work.bring(wanted.how.branch, wanted.how.branch)
            return Outcome(State.DONE, message, self._clock(), wrote=work.wrote)
        return replace(await self._propose(wanted, work), wrote=work.wrote)

    async def _propose(self, wanted: Wanted, work: _Work) -> Outcome:
        """Have a pull request open for it: an open one of before is brought on, else one is opened."""
        how = wanted.how
        assert how.pull_request is not None  # noqa: S101  # for the type checker
        token = self._secrets.read(NAMESPACE, how.pull_request.secret).text("token", "bearerToken", "password")
        if not token:
            raise SourceError(f"secret {NAMESPACE}/{how.pull_request.secret} has no key token")
        context = await asyncio.to_thread(self._trust.context, None)
        forge = ForgeApi(how.pull_request, wanted.spec.url, token, context)
        prefix = f"felloe/promote-{wanted.environment}-"
        ours = next((each for each in await forge.open_ones(how.branch) if each.head.startswith(prefix)), None)
        if ours is not None:
            await work.bring(ours.head, how.branch)
            return self._proposed(ours)
        if (there := await work.there(how.branch)) is not None:
            return Outcome(State.DONE, there, self._clock())
        head = f"{prefix}{wanted.commit[:_SHORT]}"
        over = next((each for each in await forge.of(head) if not each.open), None)
        if over is not None and over.merged:
            return Outcome(State.DONE, f"pull request {over.url} was merged", self._clock(), over.url)
        if over is not None:
            message = f"pull request {over.url} was closed; open it again, or promote a newer commit"
            return Outcome(State.DECLINED, message, self._clock(), over.url)
        await work.bring(head, how.branch)
        return self._proposed(await forge.open(head, how.branch, work.title, work.text))

    def _proposed(self, proposal: Proposal) -> Outcome:
        return Outcome(State.PROPOSED, f"pull request {proposal.url} is open", self._clock(), proposal.url)


class _Work:
    """What is done in the repository for one promotion."""

    def __init__(self, git: GitSources, wanted: Wanted, secret: Secret | None, now: float) -> None:
        self._git = git
        self._wanted = wanted
        self._how = wanted.how
        self._secret = secret
        self._now = now
        self.wrote = False

    @property
    def title(self) -> str:
        """The first line of a commit, and the title of a pull request."""
        subject = _line(self._wanted.subject)
        return f"Promote {self._wanted.upstream} to {self._wanted.environment}{f': {subject}' if subject else ''}"

    @property
    def text(self) -> str:
        """What follows it: what was verified, where, and who let it through."""
        wanted = self._wanted
        what = f"{wanted.upstream} is healthy at {wanted.commit} (release {wanted.release})."
        if self._how.from_folder:
            what += f"\n{self._how.to_folder} becomes what {self._how.from_folder} is there."
        by = _line(wanted.who or "policy") + (f" ({reason})" if (reason := _line(wanted.reason)) else "")
        trailers = {"Release": str(wanted.release), **self._marks, "Promoted-Commit": wanted.commit, "Promoted-By": by}
        return f"{what}\n\n" + "\n".join(f"Felloe-{name}: {value}" for name, value in trailers.items())

    @property
    def _marks(self) -> Mapping[str, str]:
        return {"Promoted-From": self._wanted.upstream, "Promoted-To": self._wanted.environment}

    async def there(self, branch: str) -> str | None:
        """Return how it comes that a branch has it already, None where it has not."""
        if not self._how.from_folder:
            relation = await self._with_remote(lambda remote: self._relation(remote, branch)[1])
            return f"branch {branch} has it" if relation in (Relation.SAME, Relation.AHEAD) else None
        at = await self._at(branch)
        return f"branch {branch} has it" if await self._folders(at) is None else await self._promoted(at)

    async def bring(self, branch: str, base: str) -> str:
        """Bring a branch to it, where there is no such branch from `base`; return what became of it."""
        if not self._how.from_folder:
            return await self._with_remote(lambda remote: self._fast_forward(remote, branch))
        existing = await self._with_remote(lambda remote: tip(remote, branch))
        at = await self._at(branch if existing else base)
        folders = await self._folders(at)
        if folders is None:
            return f"branch {branch} has it"
        if (promoted := await self._promoted(at)) is not None:
            return promoted
        author = Signature(*self._how.author, self._now)
        made, objects = commit(folders, at.commit.id, f"{self.title}\n\n{self.text}\n", author)
        old = at.commit.id if existing else None
        await self._with_remote(lambda remote: self._push(remote, branch, old, made, objects))
        return f"branch {branch} has it, by commit {made[:_SHORT]}"

    async def _promoted(self, at: Fetched) -> str | None:
        """Return what to say where the folder got the same before, and people changed it since; None where not."""
        marks = [f"Felloe-{name}: {value}" for name, value in self._marks.items()]
        found = await self._with_remote(lambda remote: newest_with(remote, at.commit.id, marks))
        before = _COMMIT.search(found[1]) if found else None
        if found is None or before is None:
            return None
        then = await self._folder(self._how.from_folder, before[1])
        if then is None or then != await self._folder(self._how.from_folder, self._wanted.commit):
            return None
        return (
            f"commit {found[0][:_SHORT]} brought it to {self._how.to_folder}, and what was changed there since is left"
        )

    async def _folder(self, path: str, at: str) -> str | None:
        """Return what names the content of a folder at a commit."""
        tree = self._tree(await self._git.resolve(replace(self._wanted.spec, ref=GitRef(commit=at))))
        found = await asyncio.to_thread(tree.entry, path)
        return found.oid if found else None

    async def _with_remote(self, work: Callable[[Remote], T]) -> T:
        return await self._git.push(self._wanted.spec, self._secret, work)

    async def _at(self, branch: str) -> Fetched:
        return await self._git.resolve(replace(self._wanted.spec, ref=GitRef(branch=branch)))

    async def _folders(self, at: Fetched) -> Sequence[Tree] | None:
        verified = await self._git.resolve(replace(self._wanted.spec, ref=GitRef(commit=self._wanted.commit)))
        source, target = self._how.from_folder, self._how.to_folder
        return await asyncio.to_thread(copy_folder, self._tree(verified), source, self._tree(at), target)

    def _tree(self, fetched: Fetched) -> SourceTree:
        return self._git.whole_tree(self._wanted.spec, fetched)

    def _relation(self, remote: Remote, branch: str) -> tuple[str | None, Relation]:
        at = tip(remote, branch)
        return at, relation(remote, at, self._wanted.commit)

    def _fast_forward(self, remote: Remote, branch: str) -> str:
        at, how = self._relation(remote, branch)
        short = self._wanted.commit[:_SHORT]
        if how in (Relation.SAME, Relation.AHEAD):
            return f"branch {branch} has {short}"
        if how is Relation.DIVERGED:
            raise SourceError(
                f"{remote.where}: branch {branch} has commits that {short} does not have, and nothing is ever forced: "
                "merge them into what is promoted, or reset the branch yourself"
            )
        self._push(remote, branch, at, self._wanted.commit)
        return f"branch {branch} is at {short}"

    def _push(self, remote: Remote, branch: str, old: str | None, new: str, objects: Sequence[ShaFile] = ()) -> None:
        push(remote, branch, old, new, objects)
        self.wrote = True


def _line(text: str) -> str:
    """Return a text as one line of a commit message."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
