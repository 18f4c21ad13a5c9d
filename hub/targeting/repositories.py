"""Which source a Kustomization means: the GitRepositories that one cluster sees, and the fleet's own among them."""

from __future__ import annotations

from posixpath import normpath
from urllib.parse import urlsplit

from felloe.errors import ConfigError
from hub.fleet.model import GitRepository
from hub.sources.spec import DEFAULT_BRANCH, GitRef, GitSpec
from hub.sources.url import repository_identity
from hub.targeting.inputs import Inputs


def is_fleets_own(wanted: GitSpec, inputs: Inputs) -> bool:
    """Tell whether a GitRepository is the fleet's own repository at the ref that the hub follows.

    One that is suspended or ignores files of its own choice is a source of its own.
    """
    if wanted.suspend or wanted.ignore is not None:
        return False
    fleet = inputs.fleet_source
    addresses = {wanted.url, inputs.rewrite(wanted.url)}
    homes = {fleet.url, inputs.rewrite(fleet.url)}
    if not any(same_repository(address, home) for address in addresses for home in homes):
        return False
    return wanted.ref == fleet.ref or _followed(wanted.ref) == _resolved(inputs.fleet_snapshot.revision)


def same_repository(one: str, other: str) -> bool:
    """Tell whether two URLs are the same repository: equal host and path, and the same port where schemes are equal.

    A forge serves a repository over https and ssh alike, which Flux' bootstrap and the hub's ``--fleet`` often mix.
    """
    first, second = urlsplit(one), urlsplit(other)
    if "file" in (first.scheme, second.scheme):
        paths = [normpath(parts.path).removesuffix(".git") for parts in (first, second)]
        return first.scheme == second.scheme and paths[0] == paths[1]
    if first.scheme == second.scheme and first.port != second.port:
        return False
    return repository_identity(one) == repository_identity(other)


def rewritten(repository: GitRepository, inputs: Inputs) -> GitSpec:
    """Return what is really fetched for a GitRepository. Raise ConfigError where rewriting makes no URL of it."""
    url = inputs.rewrite(repository.spec.url)
    if url == repository.spec.url:
        return repository.spec
    try:
        return repository.spec.with_url(url)
    except ConfigError as error:
        raise ConfigError(f"--instead-of makes of its URL: {error.message}", repository.place) from None


def _followed(ref: GitRef) -> str:
    """Return the branch or tag that a ref follows, empty for one that follows neither."""
    if ref.commit or ref.semver or ref.short:
        return ""
    if ref.name:
        for prefix in ("refs/heads/", "refs/tags/"):
            if ref.name.startswith(prefix):
                return ref.name.removeprefix(prefix)
        return ""
    return ref.tag or ref.branch or DEFAULT_BRANCH


def _resolved(revision: str) -> str:
    """Return the branch or tag of a revision as Flux writes it: ``main@sha1:…``."""
    name, separator, _ = revision.rpartition("@")
    for prefix in ("refs/heads/", "refs/tags/"):
        name = name.removeprefix(prefix)
    return name if separator else "\0"
