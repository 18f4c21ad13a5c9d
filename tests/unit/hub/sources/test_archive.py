"""A checkout that was sent as an archive: the same tree as in Git, and nothing that leads out of it or is too much."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from felloe.errors import ConfigError
from hub.sources import archive as archives
from hub.sources.archive import read_archive
from hub.sources.objects import GitTree, ObjectReader
from hub.sources.tree import EntryKind
from tests.servers.git_repo import GitRepo


def packed(*members: tuple[str, bytes] | tarfile.TarInfo, compress: bool = False) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(made.getvalue()) if compress else made.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_in_it(compress: bool) -> None:
    link = special("apps/link", tarfile.SYMTYPE, "../base/a.yaml")
    tree = read_archive(packed(("./base/a.yaml", b"a"), ("apps/b.yaml", b"b" * 100_000), link, compress=compress))
    assert [entry.name for entry in tree.list("")] == ["apps", "base"]
    assert [(entry.name, entry.kind) for entry in tree.list("apps")] == [
        ("b.yaml", EntryKind.FILE), ("link", EntryKind.SYMLINK),
    ]  # fmt: skip
    found = tree.entry("apps/link")
    assert found
    assert tree.read(found) == b"../base/a.yaml"
    assert tree.entry("apps/nothing") is None
    assert tree.entry("base/a.yaml/below") is None
    assert list(tree.list("base/a.yaml")) == []


@pytest.fixture
def committed(tmp_path: Path) -> tuple[GitTree, Callable[[dict[str, str]], bytes]]:
    """A commit as the hub has it, and how its working copy is packed with files changed."""
    repository = GitRepo(tmp_path / "fleet.git")
    files = {"a/one.yaml": "1\n", "a/two.yaml": "2\n", "b/three.yaml": "3\n", "a.txt": "x\n", "run.sh": "#!/bin/sh\n"}
    commit = repository.commit(files)
    tree = GitTree(ObjectReader(repository.path), commit, f"main@sha1:{commit}")
    return tree, lambda changed: packed(*((name, text.encode()) for name, text in (files | changed).items()))


def test_what_is_as_in_git_has_git_s_ids(committed: tuple[GitTree, Callable[[dict[str, str]], bytes]]) -> None:
    base, pack = committed
    tree = read_archive(pack({"b/three.yaml": "changed\n"}), base)
    for path in ("a", "a/one.yaml", "a.txt"):
        assert tree.entry(path) == base.entry(path)
    for path in ("b", "b/three.yaml"):
        mine, theirs = tree.entry(path), base.entry(path)
        assert mine
        assert theirs
        assert mine.oid != theirs.oid
    same, top = read_archive(pack({}), base).entry(""), base.entry("")
    assert same == top
    assert read_archive(pack({}), base).revision != tree.revision


def test_an_id_alone_proves_nothing(
    committed: tuple[GitTree, Callable[[dict[str, str]], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, pack = committed
    known = base.entry("a/one.yaml")
    assert known
    monkeypatch.setattr(archives, "_git_id", lambda kind, content: known.oid)  # as if SHA-1 had been made to fit
    mine = read_archive(pack({"a/one.yaml": "evil\n"}), base).entry("a/one.yaml")
    assert mine
    assert mine.oid != known.oid


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (b"no archive at all", "no tar archive"),
        (gzip.compress(b"no archive", mtime=0)[:-9], "no tar archive"),
        (packed(("a", b"x" * 2000))[:1000], "no tar archive"),
        (packed(("../out", b"x")), "no path inside of a checkout"),
        (packed(("/etc/passwd", b"x")), "no path inside of a checkout"),
        (packed(("a/../../b", b"x")), "no path inside of a checkout"),
        (packed((".git/config", b"x")), "no path inside of a checkout"),
        (packed(("sub/.GIT/config", b"x")), "no path inside of a checkout"),
        (packed(("x/" * 200 + "y", b"x")), "too deep"),
        (packed(special("a", tarfile.SYMTYPE, "/etc/passwd")), "a symbolic link out of the checkout"),
        (packed(special("a/b", tarfile.SYMTYPE, "../../c")), "a symbolic link out of the checkout"),
        (packed(special("a", tarfile.LNKTYPE, "b")), "neither a file nor a folder"),
        (packed(special("a", tarfile.FIFOTYPE)), "neither a file nor a folder"),
        (packed(special("a", tarfile.CHRTYPE)), "neither a file nor a folder"),
        (packed(("a", b"x"), ("a/b", b"x")), "below a file"),
        (packed(("a/b", b"x"), ("a", b"x")), "both as a file and as a folder"),
    ],
)
def test_what_is_refused(archive: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_archive(archive)


def test_too_many_and_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    with pytest.raises(ConfigError, match="larger than a checkout may be"):
        read_archive(packed(*((f"f{number}", b"") for number in range(4))))
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="larger than a checkout may be"):
        read_archive(packed(("a", b"x" * 600), ("b", b"x" * 600)))


def test_a_few_bytes_that_unpack_to_many_are_not_all_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(archives, "_LARGEST_HEADER", 0)
    bomb = special("x", tarfile.XHDTYPE)  # a header that claims to be as large as anything
    bomb.size = 2**40
    with pytest.raises(ConfigError):
        read_archive(gzip.compress(bomb.tobuf() + bytes(200_000_000)))
