"""Promotion in Git: what one environment has verified becomes a commit, or a pull request, that the next one follows.

`verified` says, as a pure function, which commit an environment stands for; `copying` makes the commit that copies a
folder; `pushing` talks with the repository, and never forces; `forges` opens pull requests; `promoter` keeps at it.

Secrets for promotion lie in a namespace of their own (`NAMESPACE`) of the secrets folder, as those of gates do: who
writes an Environment can have them used, and no others.
"""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "felloe-promotion"
"""Where the secrets that promotions may name lie below the hub's secrets folder."""
