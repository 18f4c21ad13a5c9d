"""What a spoke says of its cluster: kept before anybody is told, and never forgotten because it was not repeated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from felloe.errors import ConfigError
from felloe.v1 import link_pb2 as pb
from tests.unit.hub.link.rig import Hub, eventually, hello, raw_stream, running_hub


def say(**facts: str) -> pb.SpokeMessage:
    message = pb.SpokeMessage()
    message.status.facts.update(facts)
    return message


def known(hub: Hub) -> Mapping[str, str]:
    member = hub.store.cluster("dev")
    assert member is not None
    return member.facts


async def test_facts_are_kept_and_told_when_they_change_and_stay_when_they_are_not_repeated(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = hub.member("dev")
        async with raw_stream(identity) as call:
            first = hello()
            first.hello.facts.update({"kubernetes_version": "v1.34.0", "zone": "a"})
            await call.write(first)
            await eventually(lambda: known(hub) == {"kubernetes_version": "v1.34.0", "zone": "a"})
            await call.write(say(kubernetes_version="v1.34.0", node_count="3"))
            await eventually(lambda: hub.listener.learnings == ["dev"])
            assert known(hub) == {"kubernetes_version": "v1.34.0", "zone": "a", "node_count": "3"}
            await call.write(say(kubernetes_version="v1.34.0"))
            await call.write(say(kubernetes_version="v1.35.0", zone=""))
            await eventually(lambda: len(hub.listener.learnings) == 2)
            assert known(hub) == {"kubernetes_version": "v1.35.0", "zone": "", "node_count": "3"}
        async with raw_stream(identity) as call:
            await call.write(hello())
            await eventually(lambda: len(hub.listener.hellos) == 2)
            assert known(hub)["kubernetes_version"] == "v1.35.0"


async def test_too_many_facts_in_a_status_end_the_stream(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello())
        await call.write(say(x="y" * 100_000))
        await eventually(lambda: hub.listener.gone == ["dev"])
        assert known(hub) == {}
        assert not hub.listener.statuses


async def test_a_token_may_not_say_what_only_a_spoke_reports(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(ConfigError, match=r"facts.felloe.io/zone is a label that spokes report"):
            hub.enrolment.create_token("dev", {"facts.felloe.io/zone": "a"}, 600.0)
