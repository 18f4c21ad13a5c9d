"""Admission webhooks that refuse, don't answer, or change what is applied."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.spoke.cluster import Admin
from tests.spoke.driver import Spoke, asked, eventually
from tests.spoke.manifests import Manifest, Wanted, config_map, namespace, secret
from tests.spoke.webhooks import Webhook, allow, deny, patch, webhook

pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture
async def hook(tmp_path: Path) -> AsyncIterator[Webhook]:
    async with webhook(tmp_path) as hook:
        yield hook


@contextmanager
def configured(admin: Admin, configuration: Manifest) -> Iterator[None]:
    """Have the API server call a webhook for as long as the context."""
    metadata: Any = configuration["metadata"]
    admin.create(configuration)
    try:
        yield
    finally:
        admin.delete(str(configuration["apiVersion"]), str(configuration["kind"]), metadata["name"])


def patched(admin: Admin, mark: int, name: str) -> int:
    return sum(each[0] == "patch" and each[3] == name for each in asked(admin.cluster, mark))


async def test_a_refusal_is_shown_in_its_own_words_and_tried_again(spoke: Spoke, admin: Admin, hook: Webhook) -> None:
    hook.answer = deny("every ConfigMap needs an owner")
    spoke.want(Wanted("apps", [namespace("refused")]))
    await spoke.until_applied("apps")
    with configured(admin, hook.configuration("refuses", "refused")):
        await called(admin, hook, "refused")
        spoke.want(Wanted("apps", [namespace("refused"), config_map("refused", "a")]))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
        assert "denied the request: every ConfigMap needs an owner" in status.problems[0].message
        hook.answer = allow
        await spoke.until_applied("apps")


async def test_one_that_does_not_answer_is_named_and_waited_for(spoke: Spoke, admin: Admin, hook: Webhook) -> None:
    spoke.want(Wanted("apps", [namespace("silent")]))
    await spoke.until_applied("apps")
    released = asyncio.Event()

    async def hang(request: dict[str, Any]) -> dict[str, object]:
        if request["userInfo"]["username"] and not released.is_set():
            await released.wait()
        return {"allowed": True}

    with configured(admin, hook.configuration("silent", "silent")):
        await called(admin, hook, "silent")
        hook.answer = hang
        wanted = [namespace("silent"), config_map("silent", "a"), config_map("other", "b"), namespace("other")]
        spoke.want(Wanted("apps", wanted))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
        assert 'failed calling webhook "silent.test.example.com"' in status.problems[0].message
        assert admin.config_map("other", "b")
        released.set()
        await spoke.until_applied("apps")


async def test_one_that_changes_what_git_sets_is_not_fought(spoke: Spoke, admin: Admin, hook: Webhook) -> None:
    """What a webhook changes in our own request is ours by managedFields: applying again would change nothing."""
    spoke.want(Wanted("apps", [namespace("mutates")]))
    await spoke.until_applied("apps")
    hook.answer = patch(
        {"op": "replace", "path": "/data/k", "value": "from the webhook"},
        {"op": "add", "path": "/data/more", "value": "from the webhook"},
    )
    with configured(admin, hook.configuration("mutates", "mutates", "Mutating")):
        await called(admin, hook, "mutates")
        mark = admin.cluster.audit_mark()
        spoke.want(Wanted("apps", [namespace("mutates"), config_map("mutates", "a", k="git")]))
        await spoke.until_applied("apps")
        await asyncio.sleep(2.0)
        assert patched(admin, mark, "a") == 1
        expected = {"k": "from the webhook", "more": "from the webhook"}
        assert admin.config_map("mutates", "a")["data"] == expected  # type: ignore[index]


async def test_one_that_takes_our_labels_away_is_told_and_not_fought(spoke: Spoke, admin: Admin, hook: Webhook) -> None:
    spoke.want(Wanted("apps", [namespace("strips")]))
    await spoke.until_applied("apps")
    hook.answer = patch({"op": "remove", "path": "/metadata/labels"})
    with configured(admin, hook.configuration("strips", "strips", "Mutating")):
        await called(admin, hook, "strips")
        mark = admin.cluster.audit_mark()
        spoke.want(Wanted("apps", [namespace("strips"), config_map("strips", "a", k="git")]))
        status = await spoke.until("apps", lambda status: status.problem_count == 1, "fails")
        assert "it is stored without our labels" in status.problems[0].message
        await asyncio.sleep(1.0)
        assert patched(admin, mark, "a") <= 2
        hook.answer = allow
        await spoke.until_applied("apps")


async def test_one_that_changes_back_what_we_heal_is_recognized_as_a_contest(
    spoke: Spoke, admin: Admin, hook: Webhook
) -> None:
    """A webhook that has another controller own a field of ours, each time that we write it."""
    spoke.want(Wanted("apps", [namespace("fights"), config_map("fights", "a", k="git")]))
    await spoke.until_applied("apps")

    async def take(request: dict[str, Any]) -> dict[str, object]:
        if "felloe" in str(request["options"].get("fieldManager")) and request["name"] == "a":
            asyncio.get_running_loop().call_later(0.05, later)
        return {"allowed": True}

    def later() -> None:
        body: Manifest = {"data": {"k": "theirs"}}
        fights.append(asyncio.create_task(asyncio.to_thread(admin.patch, "v1", "ConfigMap", "a", "fights", body, "x")))

    fights: list[asyncio.Task[None]] = []
    with configured(admin, hook.configuration("fights", "fights")):
        await called(admin, hook, "fights")
        hook.answer = take
        mark = admin.cluster.audit_mark()
        later()
        await spoke.until_event("DriftContested", "ConfigMap fights/a x changed data.k")
        await asyncio.sleep(1.0)
        assert patched(admin, mark, "a") < 8
        hook.answer = allow
    await asyncio.gather(*fights)


async def test_what_one_quotes_of_a_secret_is_not_told(spoke: Spoke, admin: Admin, hook: Webhook) -> None:
    """It is shown what is in the cluster, too, which the spoke itself has never seen."""

    async def quote(request: dict[str, Any]) -> dict[str, object]:
        if request["name"] != "login":
            return {"allowed": True}
        seen = [(request[key] or {}).get("data") for key in ("object", "oldObject")]
        plain = [base64.b64decode(data["password"]).decode() for data in seen if data]
        return {"allowed": False, "status": {"message": f"an owner is missing in {seen}, {plain}", "code": 403}}

    def login(password: str) -> Manifest:
        return secret("quoted", "login", password=password)

    spoke.want(Wanted("apps", [namespace("quoted"), login("correct-horse")]))
    await spoke.until_applied("apps")
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets", "configmaps"]}
    with configured(admin, hook.configuration("quotes", "quoted", rules=[rule])):
        await called(admin, hook, "quoted")
        hook.answer = quote
        for objects, quoted in (([login("battery-staple")], 2), ([], 1)):
            spoke.want(Wanted("apps", [namespace("quoted"), *objects]))
            status = await spoke.until("apps", lambda status: "an owner is missing" in str(status), "is refused")
            said = status.problems[0].message
            assert said.endswith(", [" + ", ".join(["'***'"] * quoted) + "]")
            for value in ("correct-horse", "battery-staple"):
                assert value not in said
                assert base64.b64encode(value.encode()).decode() not in said
        hook.answer = allow
        await spoke.until_applied("apps")


async def called(admin: Admin, hook: Webhook, namespace: str) -> None:
    """Wait until the API server has taken in the configuration of a webhook."""
    answer, hook.answer = hook.answer, allow
    count = 0

    def probe() -> bool:
        nonlocal count
        count += 1
        admin.create(config_map(namespace, f"probe-{count}"))
        return hook.calls > 0

    await eventually(probe, "the webhook called")
    hook.answer = answer
