from __future__ import annotations

import io
import subprocess
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.errors import SourceError
from hub.sources.pack import check_sizes
from tests.servers.git_repo import GitRepo

LIMIT = 1 << 20
_BLOB, _REF_DELTA = 3, 7


def packed(kind: int, stated: int, content: bytes, base: bytes = b"") -> bytes:
    """A pack of one object that says it has `stated` bytes; without the checksum, which nobody looks at here."""
    header = bytearray([(kind << 4) | (stated & 15)])
    stated >>= 4
    while stated:
        header[-1] |= 0x80
        header.append(stated & 0x7F)
        stated >>= 7
    return b"PACK" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(header) + base + zlib.compress(content)


def number(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


@pytest.fixture
def real_pack(repo: GitRepo) -> bytes:
    """A pack as git makes it, with deltas."""
    for version in range(4):
        repo.commit({"long.yaml": "".join(f"line: {n}\n" for n in range(2000)) + f"version: {version}\n"})
    command = ["git", "pack-objects", "--stdout", "--all", "--revs", "--quiet", "--delta-base-offset"]
    return subprocess.run(command, cwd=repo.path, input=b"", capture_output=True, check=True, timeout=30).stdout


def test_a_pack_of_git_passes_and_is_judged_by_what_its_deltas_make(real_pack: bytes) -> None:
    check_sizes(io.BytesIO(real_pack), LIMIT)
    with pytest.raises(SourceError, match="larger than the limit"):
        check_sizes(io.BytesIO(real_pack), 10_000)


@pytest.mark.parametrize(
    ("pack", "says"),
    [
        (packed(_BLOB, LIMIT + 1, b"x"), "larger than the limit"),
        (packed(_BLOB, 1, bytes(LIMIT + 1)), "larger than the limit"),
        (packed(_BLOB, 5, b"x"), "another size"),
        (packed(_REF_DELTA, 6, number(1) + number(1 << 30), b"b" * 20), "larger than the limit"),
        (packed(_REF_DELTA, 1, b"\x80", b"b" * 20), "broken delta"),
        (b"PACK\0\0\0\2\0\0\0\1" + b"\xb0" * 50, "a number without an end"),
        (b"", "did not send a pack"),
        (b"<html>not a pack</html>", "did not send a pack"),
    ],
)
def test_what_is_too_large_or_no_pack_is_refused(pack: bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        check_sizes(io.BytesIO(pack), LIMIT)


def refused_or_fine(pack: bytes) -> None:
    with suppress(SourceError):
        check_sizes(io.BytesIO(pack), LIMIT)


def test_a_pack_cut_anywhere_is_refused_and_never_crashes(real_pack: bytes) -> None:
    for end in range(0, len(real_pack) - 20, 7):
        with pytest.raises(SourceError):
            check_sizes(io.BytesIO(real_pack[:end]), LIMIT)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 5))
def test_garbage_never_crashes(garbage: bytes, objects: int) -> None:
    refused_or_fine(b"PACK" + (2).to_bytes(4, "big") + objects.to_bytes(4, "big") + garbage)
