"""Which bundle an inventory was last written for, and what that forbids to do under another one. Pure.

Two things may not be decided by the bundle at hand alone. One that is older than what was applied (a pod on an empty
disk, and a record that the API server had refused) would roll back and delete what a newer one made: the hub has to be
reached first. And a hub that a cluster is moved to does not know what the hub before it applied: what that one left
over stays until a person says that it may go.
"""

from __future__ import annotations

from dataclasses import dataclass

from felloe.digest import Digest


@dataclass(frozen=True, slots=True)
class Origin:
    """The bundle and the workload's content that an inventory was written for; `hub` names the CA of the hub.

    All is empty in an inventory of which it is not known. `digest` is None once the workload left the bundle.
    """

    hub: bytes = b""
    epoch: int = 0
    generation: int = 0
    digest: Digest | None = None

    def newer_than(self, other: Origin) -> bool:
        """Return whether another content, by the same hub, is older than this."""
        return (
            self.hub == other.hub
            and self.digest != other.digest
            and (self.epoch, self.generation) > (other.epoch, other.generation)
        )

    def foreign_to(self, hub: bytes) -> bool:
        """Return whether this is of another hub."""
        return self.hub not in (b"", hub)
