"""Ranges of semantic versions, as Flux understands them in ``ref.semver``: the grammar of Masterminds/semver v3.

Flux's users write ``1.x``, ``~1.2``, ``>=1.2 <2 || ^3``; other libraries either read these differently (``1.2`` is an
exact version to some) or are no longer kept. The rules that surprise, all taken from there: a partial version means all
it is the beginning of; a pre-release only matches where the range names one; ``^0.2.3`` stays below 0.3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import total_ordering

from felloe.errors import ConfigError

_TAIL = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION = re.compile(rf"v?(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*){_TAIL}")
_PART = r"(?:\d+|[xX*])"
_PARTIAL = rf"v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?{_TAIL}"
_COMPARATOR = re.compile(rf"(?P<op>!=|>=|=>|<=|=<|~>|[=<>~^])?\s*{_PARTIAL}")
_HYPHEN = re.compile(r"\s*([^\s,]+)\s+-\s+([^\s,]+)\s*")
_LONGEST = 256


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; ordered by precedence, in which build metadata does not count."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Read ``1.2.3`` or ``v1.2.3-rc.1+build``; None where it is no full version."""
        match = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            return None
        pre = tuple(match["pre"].split(".")) if match["pre"] else ()
        if any(part.isdigit() and len(part) > 1 and part.startswith("0") for part in pre):
            return None
        return cls(int(match["major"]), int(match["minor"]), int(match["patch"]), pre, match["build"] or "")

    @property
    def precedence(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        """A key that orders as semver.org's rule 11 says."""
        ranked = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, ranked)

    def __lt__(self, other: Version) -> bool:
        return self.precedence < other.precedence

    def same_precedence(self, other: Version) -> bool:
        """Say whether neither of the two is older."""
        return self.precedence == other.precedence


class _Given(IntEnum):
    """How much of a version a comparator spells out."""

    NOTHING = 0
    MAJOR = 1
    MINOR = 2
    ALL = 3


@dataclass(frozen=True, slots=True)
class _Comparator:
    operator: str
    version: Version
    given: _Given

    def matches(self, candidate: Version) -> bool:
        con = self.version
        match self.operator:
            case "" | "=":
                return candidate.same_precedence(con) if self.given is _Given.ALL else self._begins(candidate)
            case "!=":
                return not (candidate.same_precedence(con) if self.given is _Given.ALL else self._begins(candidate))
            case ">":
                return candidate > con and (self.given is _Given.ALL or not self._begins(candidate))
            case "<":
                return candidate < con
            case ">=" | "=>":
                return candidate >= con
            case "<=" | "=<":
                return candidate <= con or (self.given is not _Given.ALL and self._begins(candidate))
            case "^":
                return candidate >= con and self._caret(candidate)
            case _:
                return candidate >= con and self._tilde(candidate)

    def _begins(self, candidate: Version) -> bool:
        """Say whether the parts that are given are those of `candidate`."""
        mine = (self.version.major, self.version.minor, self.version.patch)
        return mine[: self.given] == (candidate.major, candidate.minor, candidate.patch)[: self.given]

    def _tilde(self, candidate: Version) -> bool:
        con = self.version
        if self.given is _Given.NOTHING or (self.given is _Given.ALL and con.precedence[:3] == (0, 0, 0)):
            return True  # Masterminds: ~0.0.0 is any version
        return candidate.major == con.major and (self.given is _Given.MAJOR or candidate.minor == con.minor)

    def _caret(self, candidate: Version) -> bool:
        con = self.version
        if self.given is _Given.NOTHING:
            return True
        if con.major > 0 or self.given is _Given.MAJOR:
            return candidate.major == con.major
        if con.minor > 0 or self.given is _Given.MINOR:
            return (candidate.major, candidate.minor) == (0, con.minor)
        return (candidate.major, candidate.minor, candidate.patch) == (0, 0, con.patch)


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives (``||``), each a list of comparators that must all hold."""

    text: str
    alternatives: tuple[tuple[_Comparator, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a range; raises `ConfigError` that shows a few valid ones."""
        if len(text) > _LONGEST:
            raise ConfigError(f"semver range of {len(text)} characters is too long ({_LONGEST} at most)")
        return cls(text, tuple(_all_of(part, text) for part in text.split("||")))

    def matches(self, version: Version) -> bool:
        """Say whether `version` is inside; a pre-release only where the same alternative names a pre-release."""
        return any(
            (not version.pre or any(c.version.pre for c in comparators))
            and all(c.matches(version) for c in comparators)
            for comparators in self.alternatives
        )


def newest_tag(tags: Iterable[str], wanted: Range) -> str | None:
    """Return the tag with the greatest version inside `wanted`; tags that are no version don't count.

    Versions that differ only in build metadata are equal to semver; the greater metadata wins, so that the choice is
    the same on every hub.
    """
    candidates = [(version, tag) for tag in tags if (version := Version.parse(tag)) and wanted.matches(version)]
    if not candidates:
        return None
    return max(candidates, key=lambda item: (item[0].precedence, item[0].build, item[1]))[1]


def _all_of(part: str, whole: str) -> tuple[_Comparator, ...]:
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen:
        part = f">={hyphen[1]} <={hyphen[2]}"
    comparators = []
    rest = part.strip()
    while rest:
        match = _COMPARATOR.match(rest)
        following = rest[match.end() :] if match else rest
        if match is None or (following and following[0] not in " \t,"):
            raise _invalid(whole, rest)
        comparators.append(_comparator(match))
        rest = following.lstrip(" \t").removeprefix(",").lstrip(" \t")
    if not comparators:
        raise _invalid(whole, part)
    return tuple(comparators)


def _comparator(match: re.Match[str]) -> _Comparator:
    numbers = [0, 0, 0]
    given = _Given.ALL
    for position, part in enumerate((match["major"], match["minor"], match["patch"])):
        if part is None or not part.isdigit():
            given = _Given(position)
            break
        numbers[position] = int(part)
    pre = tuple(match["pre"].split(".")) if match["pre"] else ()
    return _Comparator(match["op"] or "", Version(numbers[0], numbers[1], numbers[2], pre), given)


def _invalid(whole: str, rest: str) -> ConfigError:
    return ConfigError(
        f"{whole!r} is no semver range (at {rest!r}); valid are for example '1.x', '~1.2', '^1.2.3', '>=1.2 <2 || 3.x'"
    )
