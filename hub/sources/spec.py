"""What a source is: where a Git repository lives, which of its refs is wanted, and how to talk to it.

These are facts without behaviour. Whoever builds one (the fleet's reader of Flux objects, the command line) learns
here, before anything touches the network, that a value can never work: every value ends up in a URL, in a file name or
in a protocol line, so what could be taken for an option, a quote or a second line is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from felloe.errors import ConfigError
from hub.sources.semver import Range
from hub.sources.url import check_url

DEFAULT_BRANCH = "master"
DEFAULT_INTERVAL = 60.0
DEFAULT_TIMEOUT = 60.0
REMOTE_HEAD = "HEAD"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\"'`]|\.\.|@\{|//|\.lock(/|$)|\.$|/$|^/|/\.|^\.")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class SourceKey(NamedTuple):
    """The name of a source in the fleet; shown as ``namespace/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


FLEET_KEY: Final = SourceKey("felloe-system", "fleet")
"""The fleet repository's own name among the sources; its secret is the one of the same name, where there is one."""


@dataclass(frozen=True, slots=True)
class GitRef:
    """Which commit of a repository is wanted; Flux's order decides: commit, name, semver, tag, branch.

    `name` is a full ref (``refs/pull/420/head``), `semver` a range over the tags. With nothing set it is the branch
    ``master``, as for a GitRepository. `short` is Felloe's own, for refs that a person types on the command line: a
    branch, a tag or a commit, looked for in this order; ``HEAD`` is the remote's default branch.
    """

    branch: str | None = None
    tag: str | None = None
    semver: str | None = None
    name: str | None = None
    commit: str | None = None
    short: str | None = None

    def __post_init__(self) -> None:
        for what in ("branch", "tag", "name", "short"):
            value = getattr(self, what)
            if value is not None:
                check_ref_name(value, f"ref.{what}")
        if self.name is not None and not self.name.startswith("refs/") and self.name != REMOTE_HEAD:
            raise ConfigError(f"ref.name {self.name!r} is no full ref name; write for example refs/heads/{self.name}")
        if self.commit is not None and not is_commit(self.commit):
            raise ConfigError(
                f"ref.commit {self.commit!r} is no full commit id: 40 lower-case hexadecimal digits are needed"
            )
        if self.semver is not None:
            Range.parse(self.semver)

    def __str__(self) -> str:
        for what in ("commit", "name", "semver", "tag", "branch", "short"):
            value = getattr(self, what)
            if value is not None:
                return f"{'ref' if what in ('name', 'short') else what} {value}"
        return f"branch {DEFAULT_BRANCH}"


@dataclass(frozen=True, slots=True)
class GitSpec:
    """One Git source. `secret` names a secret in the same namespace; `interval` and `timeout` are in seconds.

    `ignore` holds rules in .gitignore syntax (Flux's ``spec.ignore``). A suspended source is not polled.
    """

    namespace: str
    name: str
    url: str
    ref: GitRef = field(default_factory=GitRef)
    secret: str | None = None
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    ignore: str | None = None
    suspend: bool = False

    def __post_init__(self) -> None:
        check_url(self.url)
        for what in ("namespace", "name", "secret"):
            value = getattr(self, what)
            if value is not None and not is_dns_name(value):
                raise ConfigError(
                    f"{what} {value!r} is no Kubernetes name: lower-case letters, digits, '-' and '.' are allowed"
                )
        if self.interval <= 0 or self.timeout <= 0:
            raise ConfigError(f"interval and timeout of source {self.key} have to be longer than zero")

    @property
    def key(self) -> SourceKey:
        """Namespace and name."""
        return SourceKey(self.namespace, self.name)

    def with_url(self, url: str) -> GitSpec:
        """Return the same source at another address."""
        return replace(self, url=url)


def is_commit(text: str) -> bool:
    """Say whether `text` is a full SHA-1 commit id."""
    return _COMMIT.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Say whether `text` is a DNS-1123 subdomain, as Kubernetes names are; such a name is a safe file name too."""
    return _DNS_NAME.fullmatch(text) is not None and ".." not in text


def check_ref_name(name: str, what: str) -> None:
    """Raise `ConfigError` unless `name` can be a ref or the last part of one (git-check-ref-format(1))."""
    if not name or name.startswith("-") or _FORBIDDEN_IN_REF.search(name):
        raise ConfigError(
            f"{what} {name!r} is no valid Git ref: it is empty, begins with '-' or '.', or holds a forbidden character"
        )


def parse_fleet_url(text: str) -> tuple[str, GitRef]:
    """Split ``URL[@REF]`` as the command line takes it; without a ref it is the remote's default branch.

    A path is taken for a local repository. An ``@`` before the path belongs to the user information, so
    ``ssh://git@host/fleet.git@main`` means the ref ``main``. Raises `ConfigError`.
    """
    url = f"file://{text}" if text.startswith("/") else text
    scheme_end = url.find("://")
    path_start = url.find("/", scheme_end + 3) if scheme_end > 0 else -1
    ref = REMOTE_HEAD
    if path_start >= 0 and "@" in url[path_start:]:
        url, _, ref = url.rpartition("@")
    check_url(url)
    if is_commit(ref):
        return url, GitRef(commit=ref)
    check_ref_name(ref, "the ref after '@'")
    return url, GitRef(short=ref)
