"""Two states of an object as a unified diff, as ``kubectl diff`` shows it.

What the API server keeps for itself is left out, and so are the values of Secrets: it is told only whether they differ
(kubectl's ``***``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from felloe.identity import ObjectId
from felloe.masking import is_secret, masked

if TYPE_CHECKING:
    from felloe.k8syaml import JsonValue

Json = Mapping[str, object]

LONGEST: Final = 128 * 1024
"""Characters of the longest diff of one object."""
_MOST_LINES: Final = 20_000
_KEPT_BY_THE_SERVER: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the manifest: noise, and it repeats the values of a Secret."""


def cleaned(obj: Json) -> dict[str, object]:
    """Return an object without what says nothing about its desired state."""
    clean = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    metadata = obj.get("metadata")
    if isinstance(metadata, Mapping):
        kept = {key: value for key, value in metadata.items() if key not in _KEPT_BY_THE_SERVER}
        annotations = kept.pop("annotations", None)
        if isinstance(annotations, Mapping):
            others = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
            kept |= {"annotations": others} if others else {}
        clean["metadata"] = kept
    return clean


def unified(identity: ObjectId, version: str, live: Json | None, desired: Json | None) -> str:
    """Return how `live` becomes `desired`, both cleaned; None is an object that is not there. Empty if nothing differs.

    It takes as long as difflib does: for large objects, do it in a thread.
    """
    live, desired = live or {}, desired or {}
    if live == desired:
        return ""
    if is_secret(identity):
        live, desired = masked(live, desired)
    before, after = _lines(live), _lines(desired)
    name = ".".join(part for part in (identity.group, version, identity.kind) if part)
    name += f".{identity.namespace}.{identity.name}"
    if min(len(before), len(after)) > _MOST_LINES:
        return (
            f"--- LIVE/{name}\n+++ MERGED/{name}\n@@ {len(before)} and {len(after)} lines are too many to compare @@\n"
        )
    lines = difflib.unified_diff(before, after, f"LIVE/{name}", f"MERGED/{name}", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def shortened(diff: str) -> str:
    """Return a diff with its end left out where it is too long."""
    if len(diff) <= LONGEST:
        return diff
    kept = diff[:LONGEST].rpartition("\n")[0]
    return f"{kept}\n@@ {diff.count(chr(10)) - kept.count(chr(10)) - 1} more lines are left out @@\n"


def _lines(obj: Json) -> list[str]:
    from felloe.k8syaml import dump  # brings a YAML parser, which few spokes ever need

    return dump(cast("JsonValue", obj)).splitlines() if obj else []
