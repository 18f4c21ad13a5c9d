"""Which commit a ref means, given what the remote says it has: Flux's order and Flux's way to write a revision.

Pure: the same answer of the remote always gives the same choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from felloe.errors import SourceError
from hub.sources.semver import Range, newest_tag
from hub.sources.spec import DEFAULT_BRANCH, REMOTE_HEAD, GitRef, is_commit

HEADS, TAGS = "refs/heads/", "refs/tags/"
_PEELED = "^{}"
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """What a ref came to: the name that the revision begins with (``""``: none), and the object (a tag or a commit)."""

    name: str
    oid: str

    def revision(self, commit: str) -> str:
        """Return Flux's way to write it: ``main@sha1:…``, ``refs/pull/1/head@sha1:…`` or ``sha1:…``."""
        return f"{self.name}@sha1:{commit}" if self.name else f"sha1:{commit}"


def prefixes(ref: GitRef) -> tuple[str, ...]:
    """Return the ref prefixes that the remote has to be asked for, so that it need not list all it has."""
    if ref.commit is not None:
        return (f"{HEADS}{ref.branch}",) if ref.branch else (REMOTE_HEAD,)
    if ref.name is not None:
        return (ref.name,)
    if ref.semver is not None:
        return (TAGS,)
    if ref.tag is not None:
        return (f"{TAGS}{ref.tag}",)
    if ref.branch is None and ref.short is not None:
        return (
            (REMOTE_HEAD, HEADS)
            if ref.short == REMOTE_HEAD
            else (f"{HEADS}{ref.short}", f"{TAGS}{ref.short}", ref.short)
        )
    return (f"{HEADS}{ref.branch or DEFAULT_BRANCH}",)


def choose(ref: GitRef, refs: Mapping[str, str], symrefs: Mapping[str, str]) -> Choice | None:
    """Return what `ref` means among the remote's `refs` (full name to object id), or None if it is not there."""
    if ref.commit is not None:
        return Choice(ref.branch or "", ref.commit)
    if ref.name is not None:
        return _named(ref.name, ref.name, refs)
    if ref.semver is not None:
        tags = [name.removeprefix(TAGS) for name in refs if name.startswith(TAGS) and not name.endswith(_PEELED)]
        tag = newest_tag(tags, Range.parse(ref.semver))
        return _named(tag, f"{TAGS}{tag}", refs) if tag else None
    if ref.tag is not None:
        return _named(ref.tag, f"{TAGS}{ref.tag}", refs)
    if ref.branch is None and ref.short is not None:
        return _short(ref.short, refs, symrefs)
    branch = ref.branch or DEFAULT_BRANCH
    return _named(branch, f"{HEADS}{branch}", refs)


def missing(where: str, ref: GitRef, refs: Mapping[str, str]) -> SourceError:
    """Return the error for a ref that the remote lacks, naming those it has (`refs` is all of them)."""
    if not refs:
        return SourceError(f"{where}: the repository is empty, so there is no {ref}; push a commit first")
    kind, prefix = ("tags", TAGS) if ref.semver or (ref.tag and not ref.name) else ("branches", HEADS)
    names = sorted(name.removeprefix(prefix) for name in refs if name.startswith(prefix) and not name.endswith(_PEELED))
    wanted = ref.name or ref.tag or ref.branch or ref.short or DEFAULT_BRANCH
    if len(names) > _SHOWN:
        names = get_close_matches(wanted, names, _SHOWN, 0.0)
    there = f"it has the {kind} {', '.join(names)}" if names else f"it has no {kind}"
    what = f"no tag matches semver {ref.semver}" if ref.semver and not ref.name else f"there is no {ref}"
    return SourceError(f"{where}: {what}; {there}")


def _named(name: str, full: str, refs: Mapping[str, str]) -> Choice | None:
    oid = refs.get(full)
    return Choice(name, oid) if oid else None


def _short(name: str, refs: Mapping[str, str], symrefs: Mapping[str, str]) -> Choice | None:
    if name == REMOTE_HEAD:
        target = symrefs.get(REMOTE_HEAD, "")
        return _named(target.removeprefix(HEADS) or REMOTE_HEAD, REMOTE_HEAD, refs)
    for full in (f"{HEADS}{name}", f"{TAGS}{name}", name):
        found = _named(name, full, refs)
        if found:
            return found
    return Choice("", name) if is_commit(name) else None
