"""Whether what was applied also works: a pure judgement of one object as the API server returns it.

`assess` judges an object by the kstatus rules as Flux uses them, `assess_missing` one that is not there, and `combine`
makes one answer of them for a whole workload. Nothing here talks to a cluster or reads a clock.
"""

from spoke.health.assess import assess, assess_missing
from spoke.health.model import Health, HealthStatus, combine

__all__ = ["Health", "HealthStatus", "assess", "assess_missing", "combine"]
