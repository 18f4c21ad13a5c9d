"""What is kept on disk: complete revisions, whatever happens to the process, the disk or the remote."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from felloe.errors import SourceError
from hub.sources.git import Fetched, GitSources
from hub.sources.spec import GitRef, GitSpec
from hub.sources.tree import EntryKind, SourceTree
from hub.sources.url import UrlRewriter
from tests.servers.git_http import GitHttpServer
from tests.servers.git_repo import GitRepo
from tests.servers.git_repo import git as run_git

Spec = Callable[..., GitSpec]
_FETCH = """
import asyncio, sys
from pathlib import Path
from hub.sources.git import GitSources
from hub.sources.spec import GitRef, GitSpec
asyncio.run(GitSources(Path(sys.argv[1])).resolve(GitSpec("apps", "fleet", sys.argv[2], GitRef(branch="main"))))
"""


def _kill_in_the_middle(command: list[str], http: GitHttpServer) -> None:
    """Run a fetch and kill it while the server holds back the pack."""
    with subprocess.Popen(command) as process:
        for _ in range(3000):
            if http.fetches or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
    assert http.fetches


def content(tree: SourceTree, path: str) -> bytes:
    entry = tree.entry(path)
    assert entry is not None
    return tree.read(entry)


async def test_a_local_repository(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    source = spec(repo.url)
    first = repo.head
    assert (await git.resolve(source)).commit.id == first
    second = repo.commit({"apps/app.yaml": "kind: B\n"})
    fetched = await git.resolve(source)
    assert fetched.commit.id == second
    assert content(git.tree(source, fetched), "apps/app.yaml") == b"kind: B\n"
    assert (await git.resolve(spec(repo.url, GitRef(commit=first)))).revision == f"sha1:{first}"
    with pytest.raises(SourceError, match="in none of the branches"):
        await git.resolve(spec(repo.url, GitRef(commit="1" * 40)))
    with pytest.raises(SourceError, match="no Git repository is there"):
        await git.resolve(spec(f"{repo.url}x"))


async def test_no_source_reads_what_the_credentials_of_another_fetched(
    git: GitSources, repo: GitRepo, spec: Spec, tmp_path: Path
) -> None:
    await git.resolve(spec(repo.url))
    (mirror,) = (tmp_path / "mirrors").glob("*/1")
    (tmp_path / "link").symlink_to(mirror)
    for path in (mirror, tmp_path / "remote" / ".." / mirror.relative_to(tmp_path), tmp_path / "link"):
        with pytest.raises(SourceError, match="own mirrors are no sources"):
            await git.resolve(spec(f"FILE://{path}"))


async def test_two_sources_share_a_mirror(git: GitSources, http: GitHttpServer, repo: GitRepo, spec: Spec) -> None:
    url = f"{http.url}/fleet.git"
    one, two = spec(url, name="one"), spec(url, GitRef(short="HEAD"), name="two")
    found = await asyncio.gather(git.resolve(one), git.resolve(two))
    assert [each.commit.id for each in found] == [repo.head] * 2
    assert http.fetches == 1


async def test_a_rewritten_url_is_the_one_that_is_asked(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec
) -> None:
    git = GitSources(
        tmp_path / "mirrors", rewriter=UrlRewriter.parse([f"https://git.example/=file://{repo.path.parent}/"])
    )
    assert (await git.resolve(spec("https://git.example/fleet.git"))).commit.id == repo.head
    git.close()


async def test_what_was_fetched_is_there_after_a_restart_without_the_remote(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec
) -> None:
    source = spec(f"{http.url}/fleet.git")
    before = GitSources(tmp_path / "mirrors")
    fetched = await before.resolve(source)
    before.close()
    http.close()
    after = GitSources(tmp_path / "mirrors")
    with pytest.raises(SourceError, match="can't be reached"):
        await after.resolve(source)
    assert after.last(source) == fetched
    assert content(after.tree(source, fetched), "apps/app.yaml") == b"kind: App\n"
    after.close()


async def test_a_process_killed_in_the_middle_of_a_fetch_leaves_a_mirror_that_works(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec
) -> None:
    url = f"{http.url}/fleet.git"
    http.behaviour.hold = threading.Event()
    await asyncio.to_thread(_kill_in_the_middle, [sys.executable, "-c", _FETCH, str(tmp_path / "mirrors"), url], http)
    http.behaviour.hold.set()
    mirror = next((tmp_path / "mirrors").iterdir()) / "1"
    (mirror / "objects" / "pack" / "tmp_pack_x").write_bytes(b"half")
    (mirror / "objects" / "pack" / "pack-1.pack").write_bytes(b"PACK without its index")
    (mirror / "shallow.lock").write_bytes(b"")
    git = GitSources(tmp_path / "mirrors")
    assert (await git.resolve(spec(url))).commit.id == repo.head
    assert not (mirror / "objects" / "pack" / "pack-1.pack").exists()
    git.close()


@pytest.mark.parametrize(("width", "depth"), [(10, 8), (1, 210)])
async def test_more_paths_than_can_be_walked_are_refused(
    git: GitSources, repo: GitRepo, spec: Spec, width: int, depth: int
) -> None:
    """A few small folders, each of which holds the next one many times."""
    good = await git.resolve(spec(repo.url))
    entries = b""
    for _ in range(depth):
        tree = run_git("hash-object", "-t", "tree", "-w", "--stdin", cwd=repo.path, stdin=entries)
        entries = b"".join(b"40000 %d\0" % number + bytes.fromhex(tree) for number in range(width))
    repo.raw_commit(entries)
    with pytest.raises(SourceError, match="larger than a source may be"):
        await git.resolve(spec(repo.url))
    assert git.last(spec(repo.url)) == good


@pytest.mark.parametrize("damage", ["truncated", "removed", "head", "config"])
async def test_a_damaged_mirror_is_fetched_anew(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec, damage: str
) -> None:
    source = spec(f"{http.url}/fleet.git")
    first = GitSources(tmp_path / "mirrors")
    await first.resolve(source)
    first.close()
    mirror = next((tmp_path / "mirrors").iterdir()) / "1"
    for pack in (mirror / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        if damage == "truncated":
            pack.write_bytes(pack.read_bytes()[:40])
        elif damage == "removed":
            pack.unlink()
    if damage in ("head", "config"):
        (mirror / damage.upper() if damage == "head" else mirror / damage).write_bytes(b"\x00garbage[")
    git = GitSources(tmp_path / "mirrors")
    fetched = await git.resolve(source)
    assert fetched.commit.id == repo.head
    assert content(git.tree(source, fetched), "apps/app.yaml") == b"kind: App\n"
    git.close()


async def test_damage_that_a_reader_meets_is_repaired_by_the_next_look(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec
) -> None:
    source = spec(f"{http.url}/fleet.git")
    first = GitSources(tmp_path / "mirrors")
    fetched = await first.resolve(source)
    first.close()
    pack = next((tmp_path / "mirrors").glob("*/1/objects/pack/*.pack"))
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[-30:-20] = b"\0" * 10  # inside the last object, before the checksum
    pack.write_bytes(data)
    git = GitSources(tmp_path / "mirrors")
    with pytest.raises(SourceError, match="missing or broken"):
        content(git.tree(source, fetched), "apps/app.yaml")
    again = await git.resolve(source)
    assert content(git.tree(source, again), "apps/app.yaml") == b"kind: App\n"
    git.close()


async def test_many_fetches_do_not_pile_up_and_old_trees_stay_readable(
    tmp_path: Path, repo: GitRepo, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.sources.mirror._PACKS_KEPT", 2)
    git = GitSources(tmp_path / "mirrors")
    source = spec(repo.url)
    first = git.tree(source, await git.resolve(source))
    for number in range(12):
        repo.commit({"n": str(number)})
        await git.resolve(source)
    assert content(first, "apps/app.yaml") == b"kind: App\n"
    del first
    gc.collect()
    folders = list(next((tmp_path / "mirrors").iterdir()).iterdir())
    assert len(folders) <= 2
    assert len(list((tmp_path / "mirrors").glob("*/*/objects/pack/*.pack"))) <= 6
    git.close()


async def test_a_commit_that_is_pinned_outlives_its_generation(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.sources.mirror._PACKS_KEPT", 2)
    git = GitSources(tmp_path / "mirrors")
    source = spec(f"{http.url}/fleet.git")
    first = await git.resolve(source)
    repo.commit({"n": "more"})
    second = await git.resolve(source)
    git.pinned = lambda: {first.commit.id}
    for number in range(12):
        repo.commit({"n": str(number)})
        await git.resolve(source)
    git.close()
    again = GitSources(tmp_path / "mirrors")
    assert content(again.tree(source, first), "apps/app.yaml") == b"kind: App\n"
    with pytest.raises(SourceError, match="has to be fetched first"):
        again.tree(source, second)
    repo.commit({"n": "last"})
    assert content(again.tree(source, await again.resolve(source)), "n") == b"last"
    again.close()


async def test_what_is_carried_over_does_not_make_a_generation_full(
    tmp_path: Path, http: GitHttpServer, repo: GitRepo, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.sources.mirror._PACKS_KEPT", 5)
    git = GitSources(tmp_path / "mirrors")
    source = spec(f"{http.url}/fleet.git")
    pinned: list[Fetched] = []
    git.pinned = lambda: {each.commit.id for each in pinned}
    for number in range(18):
        repo.commit({"n": str(number)})
        pinned.append(await git.resolve(source))
    newest = max(int(path.name) for path in next((tmp_path / "mirrors").iterdir()).iterdir())
    assert newest <= 4, "one for every five or six fetches"
    assert [content(git.tree(source, each), "n") for each in pinned] == [str(n).encode() for n in range(18)]
    git.close()


async def test_symlinks_submodules_and_modes_appear_as_what_they_are(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    (repo.work / "link").symlink_to("/etc/passwd")
    (repo.work / "folder-link").symlink_to("apps")
    script = repo.work / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    run_git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor", cwd=repo.work)
    (repo.work / "vendor").mkdir()
    run_git("add", "link", "folder-link", "run.sh", cwd=repo.work)
    run_git("commit", "--quiet", "--message", "kinds", cwd=repo.work)
    source = spec(repo.url)
    tree = git.tree(source, await git.resolve(source))
    assert {entry.name: entry.kind for entry in tree.list("")} == {
        "apps": EntryKind.DIRECTORY,
        "folder-link": EntryKind.SYMLINK,
        "link": EntryKind.SYMLINK,
        "run.sh": EntryKind.EXECUTABLE,
        "vendor": EntryKind.SUBMODULE,
    }
    assert content(tree, "link") == b"/etc/passwd"
    assert tree.entry("folder-link/app.yaml") is None
    assert tree.list("folder-link") == ()
    assert tree.list("vendor") == ()
    for path in ("..", ".", "/", "/etc/passwd", "apps/../apps", "apps//app.yaml", "./apps", "apps/", "apps/app.yaml/x"):
        assert tree.entry(path) is None, path
    vendor = tree.entry("vendor")
    assert vendor is not None
    with pytest.raises(SourceError, match="submodule"):
        tree.read(vendor)


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"a/b"])
async def test_a_commit_with_names_that_lead_elsewhere_is_refused(
    git: GitSources, repo: GitRepo, http: GitHttpServer, spec: Spec, name: bytes
) -> None:
    source = spec(f"{http.url}/fleet.git")
    good = await git.resolve(source)
    blob = run_git("rev-parse", "HEAD:apps/app.yaml", cwd=repo.work)
    repo.raw_commit(b"100644 " + name + b"\0" + bytes.fromhex(blob))
    with pytest.raises(SourceError, match=r"git itself refuses|fetch failed|not valid Git"):
        await git.resolve(source)
    assert git.last(source) == good


async def test_equal_ids_mean_equal_content(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    source = spec(repo.url)
    repo.commit({"b/x.yaml": "1", "c/y.yaml": "1"})
    before = git.tree(source, await git.resolve(source))
    repo.commit({"c/y.yaml": "2"})
    after = git.tree(source, await git.resolve(source))
    assert before.entry("b") == after.entry("b")
    assert before.entry("c") != after.entry("c")
    assert before.revision != after.revision


async def test_trees_are_read_from_many_threads_while_new_revisions_come(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    repo.commit({f"d{n % 7}/f{n}.yaml": f"n: {n}\n" * 20 for n in range(200)})
    source = spec(repo.url)
    tree = git.tree(source, await git.resolve(source))

    def read_all() -> int:
        return sum(len(tree.read(entry)) for folder in range(7) for entry in tree.list(f"d{folder}") for _ in range(3))

    reads = [asyncio.to_thread(read_all) for _ in range(4)]
    repo.commit({"new": "x"})
    *sizes, _ = await asyncio.gather(*reads, git.resolve(source))
    assert len(set(sizes)) == 1
