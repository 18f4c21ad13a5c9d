"""An object with a field that can't be changed: deleted and made again, where its author says so and that is safe.

Safe means: the API server itself names a field that can't be changed, and has accepted the new object in a dry-run
under another name, with webhooks and quotas asked. An invalid manifest so never costs the old object
(kustomize-controller 734). Another name, since the old one is taken; what a new Service can't have while the old one is
there, its node ports and addresses, is left out of the trial.

Objects whose deletion takes data or other objects along are made again only where they say so themselves: the
`force` of a whole workload does not reach them.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

import orjson

from felloe.annotations import FORCE_ANNOTATION
from felloe.errors import KubernetesError
from felloe.identity import ObjectId
from spoke.apply.plan import CRD
from spoke.kube.client import METADATA_ONLY, Json, KubeClient
from spoke.kube.discovery import Resource
from spoke.kube.errors import CONFLICT, NOT_FOUND, no_request_succeeds
from spoke.kube.shapes import mapping, metadata_of

_PRECIOUS: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        CRD,
    }
)
_INVALID: Final = 422
_REFUSALS: Final = frozenset({400, 403, _INVALID})
_FORBIDDEN_FIELD: Final = "FieldValueForbidden"
_IMMUTABLE: Final = re.compile(
    r"immutable|oldSelf|unchangeable|updates? to .*forbidden"
    r"|(may not|must not|can ?not|can't) (be )?(chang|updat|modif)",
    re.IGNORECASE,
)
_IMMUTABLE_IN_WORDS: Final = re.compile(r"is immutable|immutable field", re.IGNORECASE)
_HELD_BY_A_SERVICE: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort")
_LONGEST_NAME: Final = 63
_GONE_SECONDS: Final = 10.0
_FIRST_LOOK_SECONDS: Final = 0.02
_SHOWN: Final = 300


def immutable(error: KubernetesError, *, tried: bool) -> str | None:
    """Return the field that a refusal says can't be changed, empty where it names none, None for another refusal.

    Some validation says only that a field is forbidden: that counts where a new object is `tried` before anything is
    deleted, which tells whether it is forbidden in every object or only as a change.
    """
    if error.status not in _REFUSALS:
        return None
    fields = [cause.field for cause in error.causes if _IMMUTABLE.search(cause.message)]
    if tried and not fields and error.status == _INVALID:
        fields = [cause.field for cause in error.causes if cause.reason == _FORBIDDEN_FIELD]
    if fields:
        return ", ".join(sorted(set(fields)))
    # Webhooks and policies say it in a sentence (as in Flux); others that refuse "cannot update" something as well.
    words = _IMMUTABLE if error.status == _INVALID else _IMMUTABLE_IN_WORDS
    return "" if words.search(str(error)) else None


def may_recreate(identity: ObjectId, *, workload: bool, own: bool) -> bool:
    """Return whether an object may be deleted and made again: `workload` and `own` say whose force is set."""
    return own or (workload and identity[:2] not in _PRECIOUS)


def advised(identity: ObjectId, field: str, error: KubernetesError) -> KubernetesError:
    """Return a refusal with what to do about it, where an object may not be deleted and made again."""
    what = f"{field} can't be changed" if field else "a field of it can't be changed"
    annotate = f"annotate it {FORCE_ANNOTATION}: enabled"
    if identity[:2] in _PRECIOUS:
        way = (
            f"to delete it with all it holds and make it again, {annotate}; spec.force does not reach a {identity.kind}"
        )
    else:
        way = f"to delete it and make it again, set spec.force: true in the Kustomization, or {annotate}"
    message = f"{what}: {way}; the API server says: {_short(str(error))}"
    return KubernetesError(message, status=error.status, reason=error.reason)


async def make_room(client: KubeClient, identity: ObjectId, resource: Resource, manifest: bytes) -> None:
    """Delete an object that can't become what is desired, once that has passed as a new one; return when it is gone.

    Raise KubernetesError where the new object would be refused (then the old one stays), or the old one does not go.
    """
    path = resource.path(identity.namespace, identity.name)
    try:
        old = await client.get(path)
        metadata = metadata_of(old)
        if not metadata.get("deletionTimestamp"):
            await tried(client, identity, resource, orjson.loads(manifest), old)
            await client.delete(path, str(metadata.get("uid")), str(metadata.get("resourceVersion") or ""))
        await _gone(client, path, str(metadata.get("uid")))
    except KubernetesError as error:
        if error.status != NOT_FOUND:
            raise


async def tried(
    client: KubeClient, identity: ObjectId, resource: Resource, obj: Mapping[str, object], old: Mapping[str, object]
) -> Json:
    """Return a new object in place of an old one as the API server would make it. Raise KubernetesError where not."""
    trial = _trial(obj, identity)
    name = str(metadata_of(trial)["name"])
    if resource.kind == "Service" and not resource.group:
        _release(trial, mapping(old.get("spec")))
    try:
        path = resource.path(identity.namespace, name)
        made = (await client.apply(path, orjson.dumps(trial), dry_run=True)).json()
    except KubernetesError as error:
        if no_request_succeeds(error):
            raise
        said = str(error).replace(name, identity.name)
        message = f"it can't be changed, and a new one would be refused, so the old one stays: {said}"
        raise KubernetesError(message, status=error.status, reason=error.reason) from None
    return _named(made, identity.name, mapping(mapping(obj.get("spec")).get("names")).get("plural"))


def _trial(obj: Mapping[str, object], identity: ObjectId) -> dict[str, object]:
    """Return an object under another name; a definition is named by what it defines, so that this is another too."""
    if identity[:2] != CRD:
        return _named(obj, _another_name(identity.name), None)
    spec = mapping(obj.get("spec"))
    plural = _another_name(str(mapping(spec.get("names")).get("plural")))
    return _named(obj, f"{plural}.{spec.get('group')}", plural)


def _named(obj: Mapping[str, object], name: str, plural: object) -> dict[str, object]:
    """Return an object with this name and, of a definition, the plural that belongs to it."""
    named = {**obj, "metadata": {**metadata_of(obj), "name": name}}
    if plural is not None:
        spec = mapping(obj.get("spec"))
        named["spec"] = {**spec, "names": {**mapping(spec.get("names")), "plural": plural}}
    return named


def _another_name(name: str) -> str:
    """Return a name of about the same form and length that nobody has."""
    suffix = "-" + secrets.token_hex(4)
    return (name if len(name) + len(suffix) <= _LONGEST_NAME else name[: -len(suffix)].rstrip("-.:") or "x") + suffix


def _release(service: dict[str, object], old: Mapping[str, object]) -> None:
    """Leave out of a Service what its predecessor holds as long as it is there."""
    spec = service.get("spec")
    if not isinstance(spec, dict):
        return
    for name in _HELD_BY_A_SERVICE:
        if name in spec and spec[name] == old.get(name) and spec[name] not in ("None", ["None"]):
            del spec[name]
    before = old.get("ports")
    held = {port.get("nodePort") for port in before if isinstance(port, Mapping)} if isinstance(before, list) else set()
    ports = spec.get("ports")
    for port in ports if isinstance(ports, list) else []:
        if isinstance(port, dict) and port.get("nodePort") in held:
            port.pop("nodePort", None)


async def _gone(client: KubeClient, path: str, uid: str) -> None:
    """Wait until an object is gone, its finalizers done. Raise KubernetesError where that takes too long."""
    deadline, pause = time.monotonic() + _GONE_SECONDS, _FIRST_LOOK_SECONDS
    while True:
        metadata = metadata_of(await client.get(path, accept=METADATA_ONLY))
        if metadata.get("uid") != uid:
            return
        if time.monotonic() >= deadline:
            finalizers = metadata.get("finalizers")
            held = f", held by its finalizers {', '.join(map(str, finalizers))}" if isinstance(finalizers, list) else ""
            raise KubernetesError(
                f"it can't be changed, is deleted to be made again, and is still there{held}: it is made again once it "
                "is gone",
                status=CONFLICT,
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)


def _short(message: str) -> str:
    """Return a message without the middle: the API server quotes whole objects."""
    return message if len(message) <= _SHOWN else f"{message[: _SHOWN // 2]} … {message[-_SHOWN // 2 :]}"
