"""What a spoke must have after any crash and without the hub: its newest whole bundle, its objects, who it is."""

from spoke.state.bundles import BundleStore, Part, StoredBundle, WrongObjectError
from spoke.state.identity import Identity, IdentityStore

__all__ = ["BundleStore", "Identity", "IdentityStore", "Part", "StoredBundle", "WrongObjectError"]
