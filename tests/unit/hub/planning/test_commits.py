"""A trace begins with a commit; looks at sources are counted by what they found."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from felloe.errors import SourceError
from felloe.tracing import OFF, tracer
from hub.metrics import HubMetrics
from hub.planning.commits import Commits, Look, TimedGitSources
from hub.sources.follow import SourceState
from hub.sources.git import Fetched
from hub.sources.objects import CommitInfo
from hub.sources.secrets import SecretFolder
from hub.sources.spec import GitRef, GitSpec
from hub.sources.url import UrlRewriter
from hub.targeting import RenderWant
from tests.servers import otlp
from tests.servers.git_repo import GitRepo

SPEC = GitSpec("flux-system", "apps", "https://git.example.com/apps.git", GitRef(branch="main"))
OTHER = GitSpec("flux-system", "other", "https://git.example.com/other.git", GitRef(branch="main"))


def at(spec: GitSpec, commit: str) -> SourceState:
    info = CommitInfo(commit * 40, "Ada", "a change", datetime.now(UTC))
    return SourceState(spec, Fetched(f"main@sha1:{commit * 40}", info))


async def test_looks_are_counted_by_what_they_found(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    repository = GitRepo(tmp_path / "apps.git")
    repository.commit({"a": "1"})
    git = TimedGitSources(tmp_path / "git", SecretFolder(), UrlRewriter(), HubMetrics(registry))
    spec = GitSpec("flux-system", "apps", repository.url, GitRef(branch="main"))
    for change in ("1", None, "2"):
        if change:
            repository.commit({"a": change})
        await git.resolve(spec)
    assert git.looks[spec].began <= git.looks[spec].ended
    missing = GitSpec("flux-system", "apps", repository.url, GitRef(branch="missing"))
    with pytest.raises(SourceError):
        await git.resolve(missing)
    assert missing not in git.looks
    found = [
        registry.get_sample_value("felloe_source_fetch_seconds_count", {"result": result})
        for result in ("fetched", "unchanged", "failed")
    ]
    assert found == [2, 1, 1]
    git.keep([])
    assert git.looks == {}
    git.close()


def test_a_revision_is_taken_up_once_and_a_round_without_one_links_to_those_in_force() -> None:
    commits = Commits(OFF)
    commits.take_up([at(SPEC, "a")], {})
    assert len(commits.links) == 1
    commits.end()
    commits.take_up([at(SPEC, "a"), at(OTHER, "b")], {})
    assert len(commits._open) == 1
    commits.end()
    commits.take_up([at(SPEC, "a"), at(OTHER, "b")], {})
    assert (len(commits._open), len(commits.links)) == (0, 2)


def test_a_source_that_is_not_followed_any_more_is_forgotten() -> None:
    commits = Commits(OFF)
    commits.take_up([at(SPEC, "a"), at(OTHER, "b")], {})
    commits.end()
    commits.take_up(iter([at(SPEC, "a")]), {})
    assert len(commits.links) == 1


def test_a_receiver_gets_commit_fetch_and_render(receiver: Path) -> None:
    tracing = tracer("felloe-hub", os.environ)
    commits = Commits(tracing)
    look = Look(1_700_000_000_000_000_000, 1_700_000_002_000_000_000)
    commits.take_up([SourceState(OTHER), at(SPEC, "a")], {SPEC: look})
    commits.rendered(RenderWant(SPEC, "main@sha1:a", "apps"), look.ended, objects=3)
    commits.rendered(RenderWant(SPEC, "main@sha1:a", "broken"), look.ended, error="does not build")
    commits.end()
    tracing.shutdown()
    spans = otlp.received(receiver)
    (commit,) = (one for one in spans if one["name"] == "commit")
    (fetch,) = (one for one in spans if one["name"] == "fetch")
    renders = {one["attributes"]["felloe.path"]: one for one in spans if one["name"] == "render"}
    assert (commit["parent"], commit["start"]) == ("", 1_700_000_000)
    assert (fetch["parent"], fetch["seconds"]) == (commit["span"], 2.0)
    assert {one["parent"] for one in renders.values()} == {commit["span"]}
    assert (renders["apps"]["attributes"]["felloe.objects"], renders["broken"]["failed"]) == (3, True)
    assert commit["attributes"]["vcs.ref.head.revision"] == "a" * 40
