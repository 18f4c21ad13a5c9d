"""Gates: what a stage of a rollout asks the world before it begins, an HTTP check or a query of a Prometheus.

`asking` keeps the questions that the engine wants answered asked, `web` makes one bounded request, and `judging` says,
as a pure function, what its answer means. An approval is no question to the world: people answer it through the API.

Secrets for gates lie in a namespace of their own (`NAMESPACE`) of the secrets folder: a gate names the address that its
secret is shown to, so it must not be able to name the credentials of the fleet repository or of another source.
"""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "felloe-gates"
"""Where the secrets that gates may name lie below the hub's secrets folder."""
