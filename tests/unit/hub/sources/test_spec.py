from __future__ import annotations

import pytest

from felloe.errors import ConfigError
from hub.sources.refs import choose
from hub.sources.spec import GitRef, GitSpec, parse_fleet_url

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
REFS = {
    "HEAD": A,
    "refs/heads/main": A,
    "refs/heads/master": B,
    "refs/tags/v1.0.0": C,
    "refs/tags/v1.2.0": D,
    "refs/tags/v1.2.0^{}": A,
    "refs/pull/4/head": B,
}


@pytest.mark.parametrize(
    ("ref", "name", "oid"),
    [
        (GitRef(), "master", B),
        (GitRef(branch="main"), "main", A),
        (GitRef(branch="main", tag="v1.0.0"), "v1.0.0", C),
        (GitRef(branch="main", tag="v1.0.0", semver="1.2.x"), "v1.2.0", D),
        (GitRef(tag="v1.0.0", semver="1.x", name="refs/pull/4/head"), "refs/pull/4/head", B),
        (GitRef(branch="main", name="refs/pull/4/head", commit=C), "main", C),
        (GitRef(commit=C), "", C),
        (GitRef(short="HEAD"), "main", A),
        (GitRef(short="v1.0.0"), "v1.0.0", C),
        (GitRef(short="master"), "master", B),
        (GitRef(short="refs/pull/4/head"), "refs/pull/4/head", B),
    ],
)
def test_flux_decides_by_commit_name_semver_tag_branch(ref: GitRef, name: str, oid: str) -> None:
    choice = choose(ref, REFS, {"HEAD": "refs/heads/main"})
    assert choice is not None
    assert (choice.name, choice.oid) == (name, oid)


@pytest.mark.parametrize("ref", [GitRef(branch="gone"), GitRef(tag="main"), GitRef(semver="9.x"), GitRef(short="gone")])
def test_a_ref_that_is_not_there_is_no_other(ref: GitRef) -> None:
    assert choose(ref, REFS, {}) is None


def test_revisions_are_written_as_in_flux() -> None:
    written = {}
    for ref in (GitRef(branch="main"), GitRef(tag="v1.0.0"), GitRef(commit=C), GitRef(name="refs/pull/4/head")):
        choice = choose(ref, REFS, {})
        assert choice is not None
        written[str(ref)] = choice.revision(A)
    assert written == {
        "branch main": f"main@sha1:{A}",
        "tag v1.0.0": f"v1.0.0@sha1:{A}",
        f"commit {C}": f"sha1:{A}",
        "ref refs/pull/4/head": f"refs/pull/4/head@sha1:{A}",
    }


@pytest.mark.parametrize(
    "name", ["--upload-pack=x", "a b", "a..b", "a'b", 'a"b', "a\nb", "", "a~1", "/a", "a/", "x.lock"]
)
def test_refs_that_git_would_refuse_are_refused(name: str) -> None:
    for field in ("branch", "tag", "name", "short"):
        with pytest.raises(ConfigError, match="no valid Git ref"):
            GitRef(**{field: name})


def test_a_short_commit_or_ref_name_is_refused_with_the_long_form() -> None:
    with pytest.raises(ConfigError, match="40"):
        GitRef(commit="abc123")
    with pytest.raises(ConfigError, match="refs/heads/main"):
        GitRef(name="main")
    with pytest.raises(ConfigError, match="semver range"):
        GitRef(semver="latest")


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "A", "", "a..b"])
def test_names_that_are_no_kubernetes_names_are_refused(name: str) -> None:
    for field in ("namespace", "name", "secret"):
        with pytest.raises(ConfigError, match="Kubernetes name"):
            GitSpec(**({"namespace": "a", "name": "b", "url": "https://e.com/x"} | {field: name}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://e.com/org/fleet.git", "https://e.com/org/fleet.git", GitRef(short="HEAD")),
        ("https://e.com/org/fleet@main", "https://e.com/org/fleet", GitRef(short="main")),
        ("https://e.com/fleet@release/1.0", "https://e.com/fleet", GitRef(short="release/1.0")),
        ("ssh://git@e.com/fleet.git", "ssh://git@e.com/fleet.git", GitRef(short="HEAD")),
        ("ssh://git@e.com:22/fleet.git@v1.0.0", "ssh://git@e.com:22/fleet.git", GitRef(short="v1.0.0")),
        (f"file:///srv/fleet@{A}", "file:///srv/fleet", GitRef(commit=A)),
        ("/srv/fleet.git@dev", "file:///srv/fleet.git", GitRef(short="dev")),
    ],
)
def test_the_fleet_repository_is_a_url_with_an_optional_ref(text: str, url: str, ref: GitRef) -> None:
    assert parse_fleet_url(text) == (url, ref)


@pytest.mark.parametrize("text", ["git@e.com:org/fleet", "https://e.com/fleet@-x", "https://e.com/fleet@", "fleet"])
def test_a_fleet_repository_that_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fleet_url(text)
