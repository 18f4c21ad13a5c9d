"""After a definition is applied, what it defines can be applied: the next waves need it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from felloe.identity import ObjectId
from spoke.apply.context import Context
from spoke.health import HealthStatus
from spoke.kube.discovery import NoSuchKindError
from spoke.kube.shapes import mapping

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

_ESTABLISHED_SECONDS: Final = 30.0
_SERVED_SECONDS: Final = 5.0


async def settle(context: Context, definitions: Mapping[ObjectId, Mapping[str, JsonValue]], timeout: float) -> None:
    """Wait, at most `timeout` seconds, until definitions are established and what they define is discovered."""
    deadline = time.monotonic() + min(_ESTABLISHED_SECONDS, timeout)
    # The watch fills what is looked at; establishing takes a moment only.
    while time.monotonic() < deadline and not all(_established(context, each) for each in definitions):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for definition in definitions.values():  # one that was known before may be served otherwise now
        context.discovery.forget(*_defined(definition))
    deadline = time.monotonic() + _SERVED_SECONDS
    for identity, definition in definitions.items():
        while _established(context, identity) and not await _served(context, definition):
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.05)
            context.discovery.outdated()
    context.peers.changed()


def _established(context: Context, identity: ObjectId) -> bool:
    live = context.live.get(identity)
    return live is not None and live.health.status is HealthStatus.CURRENT


async def _served(context: Context, definition: Mapping[str, JsonValue]) -> bool:
    """Return whether discovery shows the kind that a definition defines."""
    group, kind = _defined(definition)
    try:
        await context.discovery.find_any(group, "", kind)
    except NoSuchKindError:
        return not kind
    return True


def _defined(definition: Mapping[str, JsonValue]) -> tuple[str, str]:
    """Return group and kind of what a definition defines, as far as it says them."""
    spec = mapping(definition.get("spec"))
    return str(spec.get("group") or ""), str(mapping(spec.get("names")).get("kind") or "")
