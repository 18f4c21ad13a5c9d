"""What people do to rollouts: ``POST /api/v1/rollouts/{name}/{act}`` and ``POST /api/v1/promotions``.

What is approved, taken back or ended is what the person has seen: with ``release`` in the body, a rollout that has gone
on to another release meanwhile answers 409 and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.api.auth import who
from hub.api.body import read_object, reason_of
from hub.api.control import Control
from hub.api.errors import ApiError
from hub.rollout.model import Act, Track
from hub.status.board import Board
from hub.status.resource import Collection, Key, Resource
from hub.status.rollouts import rollout_key

_MOST_NAMES: Final = 20
_WITH_REASON: Final = frozenset({Act.APPROVE, Act.ABORT, Act.UNDO, Act.SKIP_SOAK})
_OF_A_STAGE: Final = frozenset({Act.APPROVE, Act.SKIP_SOAK})


class Rollouts:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def act(self, request: Request) -> Response:
        """Answer ``POST /api/v1/rollouts/{name}/{act}`` {reason, stage, gate, release} once it is decided."""
        word, name = request.path_params["act"], request.path_params["name"]
        if word not in set(Act):
            raise ApiError(404, f"nobody can {word!r} a rollout; there are {', '.join(Act)}")
        act = Act(word)
        asked = await read_object(request, frozenset({"reason", "stage", "gate", "release"}))
        rollout = find_rollout(self._control.board, name)
        reason, stage, gate = _reason(asked, needed=act in _WITH_REASON), _text(asked, "stage"), _text(asked, "gate")
        release = _release(asked, rollout)
        if stage or act in _OF_A_STAGE:
            _check_stage(rollout, stage, gate, gated=act is Act.APPROVE)
        await self._control.act_on_rollout(
            Track.named(name), act, who=who(request), reason=reason, stage=stage, gate=gate, release=release
        )
        return JSONResponse({"kind": "Rollout", "name": name, "act": act.value})

    async def promote(self, request: Request) -> Response:
        """Answer ``POST /api/v1/promotions`` {track, revision, reason, skipSoak} once it is decided."""
        asked = await read_object(request, frozenset({"track", "revision", "reason", "skipSoak"}))
        track = Track.named(_text(asked, "track"))
        if not track.environment or not track.unit.removeprefix("placement/"):
            raise ApiError(422, "track: NAME@ENVIRONMENT is needed, the environment being the one to promote to")
        _check_environment(self._control.board, track.environment)
        revision, reason = _text(asked, "revision"), _reason(asked, needed=True)
        skip_soak = asked.get("skipSoak", False)
        if not isinstance(skip_soak, bool):
            raise ApiError(422, "skipSoak: must be true or false")
        await self._control.promote(track, revision, who=who(request), reason=reason, skip_soak=skip_soak)
        return JSONResponse({"kind": "Promotion", "track": str(track), "revision": revision})


def find_rollout(board: Board, name: str) -> Resource:
    """Return the rollout of a name. Raise ApiError, saying which there are, where there is none."""
    posted = board.get(Collection.ROLLOUTS, rollout_key(Track.named(name)))
    if posted is None:
        names = [one.resource.name for one in board.list(Collection.ROLLOUTS)]
        raise ApiError(404, f"there is no rollout {name!r}; {_there_are(names, 'rollouts')}")
    return posted.resource


def _check_environment(board: Board, name: str) -> None:
    if board.get(Collection.ENVIRONMENTS, Key("", "Environment", "", name)) is None:
        names = [one.resource.name for one in board.list(Collection.ENVIRONMENTS)]
        raise ApiError(404, f"there is no environment {name!r}; {_there_are(names, 'environments')}")


def _check_stage(rollout: Resource, stage: str, gate: str, *, gated: bool) -> None:
    stages = {str(one["name"]): one for one in _objects(rollout.status, "stages")}
    if not stage:
        raise ApiError(422, f"stage: say which one; {_there_are(stages, 'stages')}")
    if stage not in stages:
        raise ApiError(404, f"rollout {rollout.name!r} has no stage {stage!r}; {_there_are(stages, 'stages')}")
    if not gated:
        return
    gates = [str(one["name"]) for one in _objects(stages[stage], "gates")]
    if not gate:
        raise ApiError(422, f"gate: say which one; {_there_are(gates, 'gates')}")
    if gate not in gates:
        where = f"stage {stage!r} of rollout {rollout.name!r}"
        raise ApiError(404, f"{where} has no gate {gate!r}; {_there_are(gates, 'gates')}")


def _there_are(names: list[str] | Mapping[str, object], what: str) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"there are: {', '.join(list(names)[:_MOST_NAMES])}{more}" if names else f"there are no {what}"


def _release(asked: Mapping[str, object], rollout: Resource) -> int:
    release = asked.get("release", 0)
    if isinstance(release, bool) or not isinstance(release, int) or release < 0:
        raise ApiError(422, "release: must be the number of a release")
    current = rollout.status.get("release")
    if release and release != current:
        raise ApiError(409, f"rollout {rollout.name!r} is at release {current} now, not at {release}: look again")
    return release


def _reason(asked: Mapping[str, object], *, needed: bool) -> str:
    reason = reason_of(asked)
    if needed and not reason:
        raise ApiError(422, "reason: say why; it is kept in the audit log")
    return reason


def _text(asked: Mapping[str, object], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise ApiError(422, f"{name}: must be a text")
    return value


def _objects(value: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
