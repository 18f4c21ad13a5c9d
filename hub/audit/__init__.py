"""Who did what, when and why: every act of a person or a policy, for as long as the hub's data folder lasts.

`AuditLog.record` is the one way in. An entry is a line of JSON, kept as it was written and never changed: the store
refuses to change or remove one, and each line holds the sha256 of the line before it (`chain.py`), so that who changes
the file all the same can be found out with nothing but an export.
"""

from hub.audit.actions import HUB, Action, policy
from hub.audit.chain import Chain
from hub.audit.log import AuditLog

__all__ = ["HUB", "Action", "AuditLog", "Chain", "policy"]
