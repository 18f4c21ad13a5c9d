"""Pull requests, as two forges have them: is one open, was one refused, and to open one.

GitHub: https://docs.github.com/en/rest/pulls/pulls (version 2022-11-28) · GitLab (merge requests):
https://docs.gitlab.com/api/merge_requests/
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

import orjson

from felloe.errors import SourceError
from hub.fleet.strategy import Forge, PullRequest
from hub.gates.web import Answer, Request, describe_status, display, fetch, plain
from hub.sources.http import HttpAuth
from hub.sources.url import split_url

_TIMEOUT: Final = 30.0
_LIMIT: Final = 4 << 20
_SAID: Final = ("message", "error")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pull request: the branch that it brings, where people see it, and whether it is open, or was merged."""

    head: str
    url: str
    open: bool
    merged: bool = False


class ForgeApi:
    """The pull requests of one repository, which are at `address`."""

    def __init__(self, how: PullRequest, repository: str, token: str, context: ssl.SSLContext) -> None:
        """`repository` is the URL of the source. Raise `SourceError` where the address of the API can't be derived."""
        self._github = how.forge is Forge.GITHUB
        path = _path(repository)
        api = how.api.rstrip("/") or _api(how.forge, _host(repository))
        self.address = (
            f"{api}/repos/{path}/pulls" if self._github else f"{api}/projects/{quote(path, safe='')}/merge_requests"
        )
        self._owner = path.partition("/")[0]
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"}
        if self._github:
            self._headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

    async def open_ones(self, base: str) -> Sequence[Proposal]:
        """Return the open pull requests to a branch (the newest 100). Raise `SourceError`."""
        asked = {"base": base, "state": "open"} if self._github else {"target_branch": base, "state": "opened"}
        return await self._list(asked)

    async def of(self, head: str) -> Sequence[Proposal]:
        """Return all pull requests, open or not, that bring a branch. Raise `SourceError`."""
        owned = {"head": f"{self._owner}:{head}", "state": "all"}
        return await self._list(owned if self._github else {"source_branch": head, "state": "all"})

    async def open(self, head: str, base: str, title: str, text: str) -> Proposal:
        """Open a pull request from one branch to another. Raise `SourceError`."""
        said = (
            {"head": head, "base": base, "title": title, "body": text}
            if self._github
            else {
                "source_branch": head,
                "target_branch": base,
                "title": title,
                "description": text,
                "remove_source_branch": True,
            }
        )
        found = self._proposal(await self._ask(Request(self.address, _LIMIT, json=said, headers=self._headers), 201))
        if found is None:
            raise SourceError(f"{display(self.address)} opened no pull request as far as it says")
        return found

    async def _list(self, asked: Mapping[str, str]) -> Sequence[Proposal]:
        url = f"{self.address}?{urlencode({**asked, 'per_page': '100'})}"
        found = await self._ask(Request(url, _LIMIT, headers=self._headers), 200)
        if not isinstance(found, list):
            raise SourceError(f"{display(self.address)} answered with no list of pull requests")
        return [proposal for each in found if (proposal := self._proposal(each)) is not None]

    async def _ask(self, request: Request, wanted: int) -> object:
        answer = await fetch(request, HttpAuth(), self._context, _TIMEOUT)
        if answer.status != wanted:
            raise SourceError(f"{display(self.address)} answered {describe_status(answer.status)}{_said(answer)}")
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise SourceError(f"{display(self.address)} answered with no JSON: is it the address of the API?") from None

    def _proposal(self, found: object) -> Proposal | None:
        if not isinstance(found, dict):
            return None
        if self._github:
            head = found.get("head")
            branch = head.get("ref") if isinstance(head, dict) else None
            opened, merged = found.get("state") == "open", bool(found.get("merged_at"))
            url = found.get("html_url")
        else:
            branch, url = found.get("source_branch"), found.get("web_url")
            opened, merged = found.get("state") == "opened", found.get("state") == "merged"
        return Proposal(branch, str(url), opened, merged) if isinstance(branch, str) else None


def _said(answer: Answer) -> str:
    """Return what a forge says of a refusal, in its own words."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return ""
    said = next((found[name] for name in _SAID if found.get(name)), "") if isinstance(found, dict) else ""
    details = found.get("errors") if isinstance(found, dict) else None
    if isinstance(details, list) and details and isinstance(details[0], dict) and details[0].get("message"):
        said = f"{said} ({details[0]['message']})"
    return f": {plain(str(said))}" if said else ""


def _api(forge: Forge, host: str) -> str:
    if forge is Forge.GITLAB:
        return f"https://{host}/api/v4"
    return "https://api.github.com" if host == "github.com" else f"https://{host}/api/v3"


def _host(repository: str) -> str:
    return split_url(repository).hostname or ""


def _path(repository: str) -> str:
    path = split_url(repository).path.strip("/").removesuffix(".git")
    if "/" not in path:
        raise SourceError(f"{display(repository)} names no repository of a forge: OWNER/NAME is expected in its path")
    return path
