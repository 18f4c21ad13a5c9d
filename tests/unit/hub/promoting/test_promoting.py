"""Promotions in a real repository, served over http by git itself."""

from __future__ import annotations

import asyncio

import pytest

from hub.fleet.strategy import GitPromotion
from hub.promoting.model import State
from tests.servers.git_repo import git
from tests.unit.hub.promoting.conftest import World

BRANCH = GitPromotion("env/staging", secret="writer")
FOLDER = GitPromotion("main", from_folder="envs/dev", to_folder="envs/staging", author=("Ada", "ada@example.com"))


async def test_a_branch_is_made_and_then_follows_what_was_verified(world: World) -> None:
    first = world.repo.head
    await world.promote(world.wanted(first, BRANCH))
    assert world.at("env/staging") == first
    assert world.pushes == ["https://git.example/acme/fleet.git"], "what follows the repository looks at once"
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    world.repo.commit({"envs/dev/app.yaml": "three"}, "not verified yet")
    outcome = await world.promote(world.wanted(verified, BRANCH))
    assert world.at("env/staging") == verified
    assert outcome.message == f"branch env/staging is at {verified[:12]}"


async def test_a_branch_that_is_further_or_there_is_left(world: World) -> None:
    first = world.repo.head
    later = world.repo.commit({"envs/dev/app.yaml": "two"})
    world.repo.set_ref("refs/heads/env/staging", later)
    await world.promote(world.wanted(first, BRANCH))
    assert world.at("env/staging") == later
    assert not world.pushes
    await world.promote(world.wanted(later, BRANCH))
    assert world.at("env/staging") == later


async def test_a_branch_with_commits_of_its_own_is_never_forced(world: World) -> None:
    world.repo.switch("env/staging")
    own = world.repo.commit({"hotfix": "by hand"})
    git("switch", "--quiet", "main", cwd=world.repo.work)
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    outcome = await world.promote(world.wanted(verified, BRANCH), State.FAILED)
    assert (
        f"branch env/staging has commits that {verified[:12]} does not have, and nothing is ever forced"
        in outcome.message
    )
    assert world.at("env/staging") == own


@pytest.mark.parametrize("filters", ["true", "false"])
async def test_a_long_way_back_is_found(world: World, filters: str) -> None:
    world.repo.config("uploadpack.allowFilter", filters)
    world.repo.set_ref("refs/heads/env/staging", world.repo.head)
    tree, parent = git("rev-parse", "HEAD^{tree}", cwd=world.repo.work), world.repo.head
    for number in range(70):  # further back than is looked first
        parent = git("commit-tree", tree, "-p", parent, "-m", str(number), cwd=world.repo.path)
    world.repo.set_ref("refs/heads/main", parent)
    await world.promote(world.wanted(parent, BRANCH))
    assert world.at("env/staging") == parent


async def test_a_folder_becomes_what_another_one_was_when_it_was_verified(world: World) -> None:
    verified = world.repo.commit({"envs/dev/app.yaml": "two", "envs/dev/sub/more.yaml": "new"})
    tip = world.repo.commit({"envs/dev/app.yaml": "three", "README": "changed"}, "not verified yet")
    await world.promote(world.wanted(verified, FOLDER))
    assert world.file("main", "envs/staging/app.yaml") == "two"
    assert world.file("main", "envs/staging/sub/more.yaml") == "new"
    assert (world.file("main", "envs/dev/app.yaml"), world.file("main", "README")) == ("three", "changed")
    assert git("rev-parse", "main^", cwd=world.repo.path) == tip
    assert git("diff", "--name-only", "main^", "main", cwd=world.repo.path).splitlines() == [
        "envs/staging/app.yaml",
        "envs/staging/sub/more.yaml",
    ]
    git("fsck", "--strict", "--full", cwd=world.repo.path)


async def test_the_commit_says_what_from_where_and_by_whom(world: World) -> None:
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    sly = "ada\nFelloe-Promoted-By: eve"
    await world.promote(world.wanted(verified, FOLDER, who=sly))
    assert world.log("main") == (
        "Promote dev to staging: a change\n\n"
        f"dev is healthy at {verified} (release 12).\n"
        "envs/staging becomes what envs/dev is there.\n\n"
        "Felloe-Release: 12\nFelloe-Promoted-From: dev\nFelloe-Promoted-To: staging\n"
        f"Felloe-Promoted-Commit: {verified}\nFelloe-Promoted-By: ada Felloe-Promoted-By: eve (it works)\n"
    )
    assert world.log("main", "%an <%ae> %cn <%ce>") == "Ada <ada@example.com> Ada <ada@example.com>"


async def test_a_folder_that_is_so_already_makes_no_commit(world: World) -> None:
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    await world.promote(world.wanted(verified, FOLDER))
    at = world.at("main")
    await world.promote(world.wanted(verified, FOLDER))
    await world.promote(world.wanted(at, FOLDER, release=13))
    assert world.at("main") == at


async def test_what_people_changed_after_a_promotion_is_not_promoted_over(world: World) -> None:
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    await world.promote(world.wanted(verified, FOLDER))
    world.pull()
    reverted = world.repo.revert()
    outcome = await world.promote(world.wanted(reverted, FOLDER, release=13))
    assert "what was changed there since is left" in outcome.message
    assert world.at("main") == reverted
    newer = world.repo.commit({"envs/dev/app.yaml": "three", "envs/staging/app.yaml": "by hand"})
    await world.promote(world.wanted(newer, FOLDER, release=14))
    assert world.file("main", "envs/staging/app.yaml") == "three"


async def test_a_new_folder_is_made_with_all_above_it(world: World) -> None:
    how = GitPromotion("main", from_folder="envs/dev", to_folder="clusters/eu/staging")
    await world.promote(world.wanted(world.repo.head, how))
    assert world.file("main", "clusters/eu/staging/app.yaml") == "one"


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("envs/gone", "envs/staging", "there is no folder envs/gone at"),
        ("README", "envs/staging", "there is no folder README at"),
        ("envs/dev", "README/staging", "README is no folder at"),
        ("envs/dev", "README", "README is no folder at"),
    ],
)
async def test_a_folder_that_can_not_be_copied_is_told(world: World, source: str, target: str, says: str) -> None:
    before = world.repo.head
    how = GitPromotion("main", from_folder=source, to_folder=target)
    assert says in (await world.promote(world.wanted(before, how), State.FAILED)).message
    assert world.at("main") == before


async def test_a_push_that_is_refused_is_told_in_the_words_of_the_server_and_tried_again(world: World) -> None:
    hook = world.repo.path / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    async with world.promoter() as promoter:
        promoter.want([world.wanted(world.repo.head, BRANCH)])
        outcome = await world.reaches(promoter, State.FAILED)
        assert outcome.message.endswith("refused the push to branch env/staging: hook declined")
        hook.unlink()
        await world.reaches(promoter, State.DONE)
    assert world.at("env/staging") == world.repo.head
    assert world.changes == ["staging", "staging"]


async def test_a_secret_that_may_not_push_is_told_and_not_shown(world: World) -> None:
    world.server.behaviour.push = False
    outcome = await world.promote(world.wanted(world.repo.head, BRANCH), State.FAILED)
    assert "refused the credentials of the source's secret (HTTP 403)" in outcome.message
    assert "whether they may push" in outcome.message
    assert "s3cret" not in outcome.message


async def test_without_the_secret_that_is_named_nothing_is_tried(world: World) -> None:
    how = GitPromotion("env/staging", secret="gone")
    outcome = await world.promote(world.wanted(world.repo.head, how), State.FAILED)
    assert "secret felloe-promotion/gone is not there" in outcome.message
    assert world.branches() == ["main"]


async def test_two_environments_that_are_promoted_to_one_branch_both_arrive(world: World) -> None:
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    other = GitPromotion("main", from_folder="envs/dev", to_folder="envs/qa")
    async with world.promoter() as promoter:
        promoter.want([world.wanted(verified, FOLDER), world.wanted(verified, other, environment="qa")])
        await world.reaches(promoter, State.DONE)
        await world.reaches(promoter, State.DONE, "qa")
    assert world.file("main", "envs/staging/app.yaml") == world.file("main", "envs/qa/app.yaml") == "two"


async def test_what_is_no_longer_wanted_is_not_promoted(world: World) -> None:
    async with world.promoter() as promoter:
        promoter.want([world.wanted(world.repo.head, BRANCH)])
        promoter.want([])
        await asyncio.sleep(0.2)
        assert promoter.outcome("staging") is None
    assert world.branches() == ["main"]
