"""Pull requests by the documented wire format of two forges, over a server that answers as they do."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from hub.fleet.strategy import Forge, GitPromotion, PullRequest
from hub.promoting.forges import ForgeApi
from hub.promoting.model import State
from tests.servers.web import Request, Response, WebServer
from tests.unit.hub.promoting.conftest import World


class FakeForge:
    """What both forges know of pull requests: they are listed by branch and state, opened, merged and closed."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.refuses: Response | None = None

    def listed(self, **wanted: str) -> list[dict[str, str]]:
        return [each for each in self.requests if all(each[name] == value for name, value in wanted.items())]

    def add(self, head: str, base: str, title: str, text: str) -> dict[str, str]:
        number = str(len(self.requests) + 1)
        self.requests.append(
            {"number": number, "head": head, "base": base, "title": title, "text": text, "state": "open"}
        )
        return self.requests[-1]

    def github(self, request: Request) -> Response:
        url = urlsplit(request.path)
        if self.refuses:
            return self.refuses
        if url.path != "/repos/acme/fleet/pulls" or request.headers.get("authorization") != "Bearer t0ken":
            return answer({"message": "Not Found"}, 404)
        if request.method == "POST":
            said = json.loads(request.body)
            return answer(self._github(self.add(said["head"], said["base"], said["title"], said["body"])), 201)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        wanted = {name: asked[name] for name in ("base",) if name in asked}
        if "head" in asked:
            owner, _, wanted["head"] = asked["head"].partition(":")
            assert owner == "acme"
        if asked["state"] != "all":
            wanted["state"] = asked["state"]
        return answer([self._github(each) for each in self.listed(**wanted)])

    @staticmethod
    def _github(each: dict[str, str]) -> dict[str, object]:
        return {
            "number": int(each["number"]),
            "state": "open" if each["state"] == "open" else "closed",
            "merged_at": "2026-01-01T00:00:00Z" if each["state"] == "merged" else None,
            "html_url": f"https://git.example/acme/fleet/pull/{each['number']}",
            "head": {"ref": each["head"], "sha": "0" * 40},
            "base": {"ref": each["base"]},
        }

    def gitlab(self, request: Request) -> Response:
        url = urlsplit(request.path)
        if url.path != "/projects/acme%2Ffleet/merge_requests" or request.headers["authorization"] != "Bearer t0ken":
            return answer({"message": "404 Project Not Found"}, 404)
        if request.method == "POST":
            said = json.loads(request.body)
            made = self.add(said["source_branch"], said["target_branch"], said["title"], said["description"])
            return answer(self._gitlab(made), 201)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        names = {"source_branch": "head", "target_branch": "base"}
        wanted = {names[name]: value for name, value in asked.items() if name in names}
        if asked["state"] != "all":
            wanted["state"] = {"opened": "open"}[asked["state"]]
        return answer([self._gitlab(each) for each in self.listed(**wanted)])

    @staticmethod
    def _gitlab(each: dict[str, str]) -> dict[str, object]:
        return {
            "iid": int(each["number"]),
            "state": {"open": "opened"}.get(each["state"], each["state"]),
            "web_url": f"https://git.example/acme/fleet/-/merge_requests/{each['number']}",
            "source_branch": each["head"],
            "target_branch": each["base"],
        }


def answer(document: object, status: int = 200) -> Response:
    return Response(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


class Proposing:
    """A promotion that is proposed at a forge."""

    def __init__(self, forge: FakeForge, kind: Forge, url: str) -> None:
        self.forge = forge
        request = PullRequest(kind, "token", url)
        self.branch = GitPromotion("env/staging", pull_request=request)
        self.folder = GitPromotion("main", from_folder="envs/dev", to_folder="envs/staging", pull_request=request)


@pytest.fixture(params=[Forge.GITHUB, Forge.GITLAB])
def proposing(request: pytest.FixtureRequest) -> Iterator[Proposing]:
    forge = FakeForge()
    handlers: dict[Forge, Callable[[Request], Response]] = {Forge.GITHUB: forge.github, Forge.GITLAB: forge.gitlab}
    with WebServer(handlers[request.param]) as server:
        yield Proposing(forge, request.param, server.url)


async def test_a_folder_is_proposed_once_and_brought_on_while_it_is_open(world: World, proposing: Proposing) -> None:
    before = world.at("main")
    outcome = await world.promote(world.wanted(before, proposing.folder), State.PROPOSED)
    (opened,) = proposing.forge.requests
    assert outcome.url.endswith("/1")
    assert (opened["head"], opened["base"]) == (f"felloe/promote-staging-{before[:12]}", "main")
    assert opened["title"] == "Promote dev to staging: a change"
    assert f"Felloe-Promoted-Commit: {before}" in opened["text"]
    assert world.file(opened["head"], "envs/staging/app.yaml") == "one"
    assert world.at("main") == before
    proposed = world.at(opened["head"])
    await world.promote(world.wanted(before, proposing.folder), State.PROPOSED)
    assert world.at(opened["head"]) == proposed
    newer = world.repo.commit({"envs/dev/app.yaml": "two"})
    await world.promote(world.wanted(newer, proposing.folder), State.PROPOSED)
    assert world.file(opened["head"], "envs/staging/app.yaml") == "two"
    assert len(proposing.forge.requests) == 1


async def test_a_branch_is_proposed_until_it_is_merged(world: World, proposing: Proposing) -> None:
    world.repo.set_ref("refs/heads/env/staging", world.repo.head)
    verified = world.repo.commit({"envs/dev/app.yaml": "two"})
    await world.promote(world.wanted(verified, proposing.branch), State.PROPOSED)
    (opened,) = proposing.forge.requests
    assert world.at(opened["head"]) == verified
    assert opened["base"] == "env/staging"
    world.repo.set_ref("refs/heads/env/staging", verified)
    opened["state"] = "merged"
    assert (await world.promote(world.wanted(verified, proposing.branch))).message == "branch env/staging has it"
    assert len(proposing.forge.requests) == 1


async def test_what_people_closed_is_not_proposed_again(world: World, proposing: Proposing) -> None:
    verified = world.at("main")
    await world.promote(world.wanted(verified, proposing.folder), State.PROPOSED)
    proposing.forge.requests[0]["state"] = "closed"
    outcome = await world.promote(world.wanted(verified, proposing.folder), State.DECLINED)
    assert "was closed" in outcome.message
    assert len(proposing.forge.requests) == 1


async def test_a_hub_that_died_before_it_opened_the_pull_request_opens_it(world: World, proposing: Proposing) -> None:
    verified = world.at("main")
    await world.promote(world.wanted(verified, proposing.folder), State.PROPOSED)
    pushed = world.at(f"felloe/promote-staging-{verified[:12]}")
    proposing.forge.requests.clear()
    await world.promote(world.wanted(verified, proposing.folder), State.PROPOSED)
    assert world.at(proposing.forge.requests[0]["head"]) == pushed


async def test_a_squashed_merge_that_was_reverted_is_left(world: World, proposing: Proposing) -> None:
    verified = world.at("main")
    await world.promote(world.wanted(verified, proposing.folder), State.PROPOSED)
    proposing.forge.requests[0]["state"] = "merged"  # and main is as before: somebody took it back
    assert "was merged" in (await world.promote(world.wanted(verified, proposing.folder))).message


async def test_a_refusal_is_told_in_the_words_of_the_forge_without_the_token(world: World) -> None:
    forge = FakeForge()
    said = {"message": "Validation Failed", "errors": [{"resource": "PullRequest", "message": "No commits between"}]}
    forge.refuses = answer(said, 422)
    with WebServer(forge.github) as server:
        how = Proposing(forge, Forge.GITHUB, server.url).folder
        outcome = await world.promote(world.wanted(world.at("main"), how), State.FAILED)
    assert "HTTP 422" in outcome.message
    assert outcome.message.endswith(": Validation Failed (No commits between)")
    assert "t0ken" not in outcome.message


async def test_without_a_token_nothing_is_pushed(world: World, proposing: Proposing) -> None:
    request = proposing.folder.pull_request
    assert request is not None
    for name, says in (("gone", "felloe-promotion/gone is not there"), ("writer", "s3cret")):
        how = replace(proposing.folder, pull_request=replace(request, secret=name))
        outcome = await world.promote(world.wanted(world.at("main"), how), State.FAILED)
        assert (says in outcome.message) is (name == "gone")
    assert world.branches() == ["main"]


@pytest.mark.parametrize(
    ("kind", "repository", "api"),
    [
        (Forge.GITHUB, "https://github.com/acme/fleet.git", "https://api.github.com/repos/acme/fleet/pulls"),
        (Forge.GITHUB, "ssh://git@ghe.example/acme/fleet", "https://ghe.example/api/v3/repos/acme/fleet/pulls"),
        (
            Forge.GITLAB,
            "https://gitlab.com/acme/team/fleet.git",
            "https://gitlab.com/api/v4/projects/acme%2Fteam%2Ffleet/merge_requests",
        ),
    ],
)
def test_where_the_api_is_follows_from_the_repository(kind: Forge, repository: str, api: str) -> None:
    assert ForgeApi(PullRequest(kind, "token"), repository, "t0ken", ssl.create_default_context()).address == api
