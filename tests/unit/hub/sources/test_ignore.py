from __future__ import annotations

from collections.abc import Callable

import pytest

from felloe.errors import SourceError
from hub.sources.git import GitSources
from hub.sources.spec import GitSpec
from hub.sources.tree import EntryKind, SourceTree
from tests.servers.git_repo import GitRepo

Spec = Callable[..., GitSpec]


def paths(tree: SourceTree, folder: str = "") -> list[str]:
    found = []
    for entry in tree.list(folder):
        path = f"{folder}/{entry.name}" if folder else entry.name
        assert tree.entry(path) == entry
        found += paths(tree, path) if entry.kind is EntryKind.DIRECTORY else [path]
    return found


async def test_the_defaults_hold_where_nobody_wrote_a_rule(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    repo.commit(dict.fromkeys((".gitignore", "a/.gitattributes", ".github/ci.yaml", "logo.png", "b/.sops.yaml"), "x"))
    source = spec(repo.url)
    tree = git.tree(source, await git.resolve(source))
    assert paths(tree) == ["apps/app.yaml"]
    assert tree.entry("logo.png") is None
    assert tree.entry(".github/ci.yaml") is None


async def test_any_rule_replaces_the_defaults_but_not_those_for_version_control(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    repo.commit({".gitignore": "x", "logo.png": "x", "notes.txt": "x"})
    source = spec(repo.url, ignore="*.txt\n# a comment\n")
    assert paths(git.tree(source, await git.resolve(source))) == ["apps/app.yaml", "logo.png"]


async def test_everything_but_one_folder(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    repo.commit({"charts/a/values.yaml": "x", "docs/b.md": "x", "top.yaml": "x"})
    source = spec(repo.url, ignore="/*\n!/charts/\n")
    assert paths(git.tree(source, await git.resolve(source))) == ["charts/a/values.yaml"]


async def test_a_file_is_taken_back_out_of_an_ignored_folder(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    repo.commit({"docs/a.md": "x", "docs/keep.yaml": "x"})
    source = spec(repo.url, ignore="docs/\n!docs/keep.yaml\n")
    assert paths(git.tree(source, await git.resolve(source))) == ["apps/app.yaml", "docs/keep.yaml"]


async def test_sourceignore_files_hold_below_their_folder_and_spec_ignore_decides(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    repo.commit({".sourceignore": "*.md\n", "a/.sourceignore": "!keep.md\n/only-here.yaml\n"})
    repo.commit(dict.fromkeys(("x.md", "a/keep.md", "a/y.md", "a/only-here.yaml", "a/b/only-here.yaml"), "x"))
    source = spec(repo.url)
    found = paths(git.tree(source, await git.resolve(source)))
    assert [path for path in found if not path.endswith(".sourceignore")] == [
        "a/b/only-here.yaml",
        "a/keep.md",
        "apps/app.yaml",
    ]
    strict = spec(repo.url, ignore="keep.md")
    assert "a/keep.md" not in paths(git.tree(strict, await git.resolve(strict)))


async def test_a_sourceignore_deep_below_replaces_the_defaults_everywhere(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    repo.commit({"logo.png": "x", "a/b/.sourceignore": "*.md\n"})
    source = spec(repo.url)
    assert "logo.png" in paths(git.tree(source, await git.resolve(source)))


async def test_a_changed_rule_changes_the_id_of_the_folder_it_changes(
    git: GitSources, repo: GitRepo, spec: Spec
) -> None:
    repo.commit({"a/x.yaml": "x", "a/y.yaml": "x"})
    fetched = await git.resolve(spec(repo.url))
    one = git.tree(spec(repo.url, ignore="x.yaml"), fetched).entry("a")
    two = git.tree(spec(repo.url, ignore="y.yaml"), fetched).entry("a")
    same = git.tree(spec(repo.url, ignore="x.yaml"), fetched).entry("a")
    assert one == same
    assert one != two


async def test_a_rule_that_is_no_rule_says_where(git: GitSources, repo: GitRepo, spec: Spec) -> None:
    source = spec(repo.url, ignore="!\n")
    with pytest.raises(SourceError, match=r"spec\.ignore: a rule is not valid"):
        git.tree(source, await git.resolve(source))
