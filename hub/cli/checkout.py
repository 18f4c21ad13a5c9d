"""A checkout on this machine as a tar archive: what `felloe plan --path` sends to the hub.

In a Git repository it is what a commit of everything would hold: tracked files as they are now, and new ones that
.gitignore does not leave out. Elsewhere it is every file.
"""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felloe.errors import ConfigError
from hub.sources.archive import MAX_BYTES, MAX_ENTRIES

_MIB: Final = 1024 * 1024
_LARGEST: Final = 3


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive, how many files it holds, and what was left out of it and why."""

    archive: bytes
    files: int
    left_out: tuple[str, ...] = ()


def pack(folder: Path) -> Packed:
    """Return a checkout as an archive. Raise ConfigError where there is none, or where it is too large to be sent."""
    if not folder.is_dir():
        raise ConfigError(f"--path {folder}: there is no such folder")
    left_out: list[str] = []
    files: list[tuple[str, os.stat_result]] = []
    for name in sorted(_names(folder)):
        try:
            found = (folder / name).lstat()
        except FileNotFoundError:  # deleted, and not committed yet
            continue
        except OSError as error:
            raise ConfigError(f"{folder / name} can't be read: {error.strerror}") from error
        why = _unfit(folder, name, found)
        if why:
            left_out.append(f"{name}: {why}")
        else:
            files.append((name, found))
    _check_size(folder, files)
    return Packed(_archive(folder, files), len(files), tuple(left_out))


def _names(folder: Path) -> set[str]:
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return set(_walk(folder))
    work = Path(os.fsdecode(top.rstrip(b"\n")))
    if work.resolve() != folder.resolve():
        raise ConfigError(
            f"--path {folder} is a folder of the checkout {work}: a whole one is needed, use --path {work}"
        )
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or b""
    return {os.fsdecode(name) for name in listed.split(b"\0") if name}


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git says; None where this is no repository, or there is no git.

    Raise ConfigError where git refuses to look at it.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        if (folder / ".git").exists():
            raise ConfigError(f"--path {folder} is a Git repository, and git is not installed") from None
        return None
    if done.returncode == 0:
        return done.stdout
    if (folder / ".git").exists():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"--path {folder}: git can't read this repository: {said[0] if said else done.returncode}")
    return None


def _walk(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        linked = [name for name in folders if (Path(here) / name).is_symlink()]
        for name in (*files, *linked):
            yield (Path(here) / name).relative_to(folder).as_posix()


def _unfit(folder: Path, name: str, found: os.stat_result) -> str:
    """Return why a file is not sent, empty where it is."""
    if stat.S_ISDIR(found.st_mode):
        return "a submodule, which is not part of the repository"
    if stat.S_ISLNK(found.st_mode):
        target = str((folder / name).readlink())
        reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        out = posixpath.isabs(target) or reached == ".." or reached.startswith("../")
        return "a symbolic link out of the checkout" if out else ""
    return "" if stat.S_ISREG(found.st_mode) else "no ordinary file"


def _check_size(folder: Path, files: Iterable[tuple[str, os.stat_result]]) -> None:
    sizes = sorted(((found.st_size, name) for name, found in files), reverse=True)
    total = sum(size for size, _ in sizes)
    if total <= MAX_BYTES and len(sizes) <= MAX_ENTRIES:
        return
    largest = ", ".join(f"{name} ({size / _MIB:.1f} MiB)" for size, name in sizes[:_LARGEST])
    raise ConfigError(
        f"--path {folder} has {len(sizes):,} files with {total / _MIB:.1f} MiB; at most {MAX_ENTRIES:,} files with "
        f"{MAX_BYTES // _MIB} MiB can be sent. The largest are {largest}. Push a branch and use --branch instead"
    )


def _archive(folder: Path, files: Iterable[tuple[str, os.stat_result]]) -> bytes:
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, found in files:
            member = tarfile.TarInfo(name)
            if stat.S_ISLNK(found.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, str((folder / name).readlink())
                archive.addfile(member)
                continue
            try:
                content = (folder / name).read_bytes()
            except OSError as error:
                raise ConfigError(f"{folder / name} can't be read: {error.strerror}") from error
            member.size, member.mode = len(content), 0o755 if found.st_mode & 0o111 else 0o644
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()
