"""Repositories made in tests, with the real git binary and nothing of the machine's or the user's configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Author",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
_SECONDS = 30


def git(*arguments: str, cwd: Path, stdin: bytes = b"") -> str:
    """Run git and return its output without the last line end; `subprocess.CalledProcessError` if it fails."""
    environment = {"PATH": os.environ["PATH"], **_IDENTITY}
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, input=stdin, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr.decode())
    return done.stdout.decode().removesuffix("\n")


class GitRepo:
    """A bare repository at `path` with a working copy of its own beside it.

    The working copy is a linked worktree: a commit in it is in the repository at once, without a push.
    """

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        self.work = path.with_name(f"{path.name}.work")
        self._branch = branch
        path.mkdir(parents=True)
        git("init", "--quiet", "--bare", f"--initial-branch={branch}", cwd=path)

    @property
    def url(self) -> str:
        """The file URL of the bare repository."""
        return f"file://{self.path}"

    @property
    def head(self) -> str:
        """The commit of the working copy."""
        return git("rev-parse", "HEAD", cwd=self.work)

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Write `files` (None deletes one), commit all that was changed, and return the commit id."""
        self._make_working_copy()
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        git("add", "--all", cwd=self.work)
        git("commit", "--quiet", "--allow-empty", "--message", message, cwd=self.work)
        return self.head

    def switch(self, branch: str) -> None:
        """Go to a branch, made here or moved here if it is elsewhere."""
        git("switch", "--quiet", "--force-create", branch, cwd=self.work)

    def tag(self, name: str, message: str | None = None) -> None:
        """Tag the current commit; with a message it is an annotated tag."""
        annotation = ["--annotate", "--message", message] if message else []
        git("tag", "--force", *annotation, name, cwd=self.work)

    def revert(self) -> str:
        """Undo the last commit by another one and return its id."""
        git("revert", "--no-edit", "HEAD", cwd=self.work)
        return self.head

    def restore(self, commit: str) -> str:
        """Make everything what it was at a commit, by a new one, and return its id."""
        git("restore", f"--source={commit}", "--staged", "--worktree", ".", cwd=self.work)
        return self.commit({}, f"as at {commit}")

    def set_ref(self, name: str, commit: str) -> None:
        """Point a ref of the bare repository at a commit."""
        git("update-ref", name, commit, cwd=self.path)

    def config(self, name: str, value: str) -> None:
        """Configure the bare repository."""
        git("config", name, value, cwd=self.path)

    def raw_commit(self, entries: bytes, branch: str = "main") -> str:
        """Put a commit with a hand-made top folder on a branch, for what no git command would write.

        `entries` is the folder as Git stores it.
        """
        tree = git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", cwd=self.path, stdin=entries)
        commit = git("commit-tree", tree, "-m", "made by hand", cwd=self.path)
        self.set_ref(f"refs/heads/{branch}", commit)
        return commit

    def _make_working_copy(self) -> None:
        """Make the working copy, on a first, empty commit: a worktree can't be linked to an unborn branch."""
        if self.work.exists():
            return
        empty = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=self.path)
        self.set_ref(f"refs/heads/{self._branch}", git("commit-tree", empty, "-m", "start", cwd=self.path))
        git("worktree", "add", "--quiet", str(self.work), self._branch, cwd=self.path)
