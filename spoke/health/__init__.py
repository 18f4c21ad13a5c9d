"""Whether what was applied also works.

`assess` judges an object by the kstatus rules as Flux uses them, `assess_missing` one that is not there, and `combine`
makes one answer of them for a whole workload: pure functions that talk to no cluster and read no clock. Beside them,
`spoke.health.expressions` judges by a workload's own CEL expressions, and `spoke.health.inquiry` asks the cluster why
an object stays unhealthy.
"""

from spoke.health.assess import assess, assess_missing, before_expressions
from spoke.health.model import Health, HealthStatus, combine

__all__ = ["Health", "HealthStatus", "assess", "assess_missing", "before_expressions", "combine"]
