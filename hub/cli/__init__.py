"""The command line of the hub's side. It talks to a hub only through its HTTP API.

Only typer is imported before a command runs, so that `felloe --help` and completion are quick.
"""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of the hub's side."""
    from hub.cli import (
        acting,
        adopt,
        configuring,
        explaining,
        looking,
        membership,
        people,
        recording,
        rolling,
        serving,
    )

    looking.register(app)
    explaining.register(app)
    rolling.register(app)
    acting.register(app)
    adopt.register(app)
    recording.register(app)
    membership.register(app)
    people.register(app)
    serving.register(app)
    configuring.register(app)
