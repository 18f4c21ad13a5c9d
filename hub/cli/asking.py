"""Asking whether what was shown is meant."""

from __future__ import annotations

import sys

import typer


def meant(question: str, *, yes: bool, otherwise: str) -> bool:
    """Return whether it is: said by `yes`, else asked at a terminal; where there is none, say what `otherwise` does."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        typer.echo(f"\n{otherwise}: --yes does it.", err=True)
        return False
    return typer.confirm(f"\n{question}")
