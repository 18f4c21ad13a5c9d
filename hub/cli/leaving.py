"""`felloe cluster revoke` and `felloe cluster remove`: what it would mean, and the act."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from hub.cli.client import HubClient
from hub.cli.view import flag, objects, text

_REVOKED = (
    "its certificate and its unspent join tokens are worthless at once, and its spoke is disconnected",
    "nothing is deleted in the cluster: its spoke goes on healing what it has, and gets nothing new",
)
_REMOVED = (
    "the hub forgets it: desired state, status, history, suspensions and approvals; the audit log stays",
    "its Cluster object in Git, if there is one, is yours to remove",
)


async def meaning(client: HubClient, verb: str, name: str) -> Sequence[str]:
    """Return in lines what it would mean to end the membership of a cluster."""
    found = await client.list("clusters", {"name": name})
    if not found:
        about = f"cluster {name} is not shown by this hub: it has not joined, or is no member any more"
    else:
        joined = flag(found[0], "status", "connected") or text(found[0], "status", "lastSeen")
        state = "connected" if flag(found[0], "status", "connected") else "not connected" if joined else "never seen"
        number = len(objects(found[0], "status", "workloads"))
        about = f"cluster {name} ({state}, {number} workload{'' if number == 1 else 's'})"
    back = f"it may join again: felloe token create --cluster {name}, and restart its spoke with that token"
    more = (*_REVOKED, *_REMOVED, back) if verb == "remove" else (*_REVOKED, back)
    return [f"{about}:", *(f"  - {line}" for line in more)]


def confirmed(verb: str, name: str, *, yes: bool) -> bool:
    """Return whether this is meant: said by `yes`, else asked at a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        typer.echo("\nNothing was changed: --yes does it.", err=True)
        return False
    return typer.confirm(f"\n{verb.capitalize()} cluster {name}?")


async def end(client: HubClient, verb: str, name: str, reason: str) -> str:
    """End the membership and return what was done, for people."""
    answer = await client.post(f"clusters/{name}/{verb}", {"reason": reason})
    if verb == "remove":
        return f"cluster {name} is removed"
    if not flag(answer, "wasMember"):
        return f"cluster {name} was no member; its join tokens, if there were any, are worthless now"
    return f"cluster {name} is revoked"
