"""The hub's memory: what has to be the same after the hub was killed at any point.

`Store` (interface.py) is the one narrow interface; `SqliteStore` the embedded engine. Blobs live apart, in
`FolderBlobs`: they are a cache of what Git says and can be rendered again.
"""

from hub.store.blobs import Blobs, FolderBlobs
from hub.store.interface import Store
from hub.store.records import (
    Approval,
    AuditQuery,
    AuditRecord,
    Cluster,
    Desired,
    HistoryRecord,
    Issued,
    Mark,
    Person,
    Publication,
    SourceState,
    Spending,
    StatusRecord,
    Token,
)
from hub.store.sqlite import SqliteStore

__all__ = [
    "Approval",
    "AuditQuery",
    "AuditRecord",
    "Blobs",
    "Cluster",
    "Desired",
    "FolderBlobs",
    "HistoryRecord",
    "Issued",
    "Mark",
    "Person",
    "Publication",
    "SourceState",
    "Spending",
    "SqliteStore",
    "StatusRecord",
    "Store",
    "Token",
]
