"""`felloe explain`: why a cluster gets what a Placement places, and where the value of a variable comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote

import typer

from hub.cli.session import OneCluster, OneWorkload, with_hub

if TYPE_CHECKING:
    from hub.cli.client import HubClient
    from hub.cli.table import Screen
    from hub.cli.view import Json

Form = Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of words.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    explain = typer.Typer(short_help="Why a cluster gets a placement or a variable's value.", no_args_is_help=True)
    explain.command("placement", short_help="Why a cluster gets what a Placement places, or does not.")(placement)
    explain.command("variable", short_help="All that say what a variable is, and who wins.")(variable)
    app.add_typer(explain, name="explain")


def placement(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The Placement.")],
    cluster: OneCluster,
    output: Form = None,
) -> None:
    """Show each condition of a Placement with what the cluster has, and which of its overrides hold there.

    \b
    Examples:
      felloe explain placement shop --cluster shop-1
    """
    _explain(f"clusters/{quote(cluster, safe='')}/explain/placements/{quote(name, safe='')}", {}, output)


def variable(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The variable.")],
    cluster: OneCluster,
    workload: OneWorkload = "",
    output: Form = None,
) -> None:
    """Show all that give a variable a value on a cluster, the weakest first: labels, Environment, Cluster, overrides.

    \b
    Examples:
      felloe explain variable replicas --cluster shop-1
      felloe explain variable replicas --cluster shop-1 --workload shop
    """
    path = f"clusters/{quote(cluster, safe='')}/explain/variables/{quote(name, safe='')}"
    _explain(path, {"workload": workload}, output)


def _explain(path: str, params: dict[str, str], output: str | None) -> None:
    from felloe.k8syaml import JsonValue
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    async def act(client: HubClient) -> None:
        import json

        answer: dict[str, JsonValue] = dict(await client.get(path, params))
        if output == "json":
            typer.echo(json.dumps(answer, indent=2))
            return
        shown = _placement if answer.get("kind") == "PlacementExplanation" else _variable
        for line in shown(answer, screen(environment())):
            typer.echo(line)

    with_hub(act)


def _placement(answer: Json, shown: Screen) -> Iterator[str]:
    from hub.cli.table import section
    from hub.cli.view import flag, objects, text, texts

    selected = flag(answer, "selected")
    verdict = "gets what" if selected else "does not get what"
    yield f"cluster {text(answer, 'cluster')} {verdict} Placement {text(answer, 'placement')} places"
    if selected:
        yield from (f"  {_name(one)}" for one in objects(answer, "workloads"))
    yield ""
    yield from section("Conditions", ("HOLDS", "FIELD", "CONDITION", "BECAUSE"), _checks(answer), shown)
    for override in objects(answer, "overrides"):
        yield ""
        field, applies = text(override, "field"), "applies" if flag(override, "applies") else "does not apply"
        yield f"{field} {applies} ({', '.join(texts(override, 'changes')) or 'changes nothing'})"
        yield from section("Conditions", ("HOLDS", "FIELD", "CONDITION", "BECAUSE"), _checks(override), shown)
    yield from _notes(answer)


def _variable(answer: Json, shown: Screen) -> Iterator[str]:
    from hub.cli.table import one_line, section
    from hub.cli.view import flag, mapping, objects, text

    where = f"cluster {text(answer, 'cluster')}"
    if text(answer, "workload", "name"):
        where = f"{_name(mapping(answer, 'workload'))} on {where}"
    value = answer.get("value")
    said = f"{text(answer, 'value')!r}" if isinstance(value, str) else "not set"
    yield f"{text(answer, 'variable')} is {said} for {where}"
    rows = [
        (
            "wins" if flag(one, "wins") else "",
            text(one, "by"),
            f"for workloads of {text(one, 'placement')}" if text(one, "placement") else "for the cluster",
            one_line(text(one, "value")),
        )
        for one in objects(answer, "chain")
    ]
    if rows:
        yield ""
        yield from section("Said", ("", "BY", "FOR", "VALUE"), rows, shown)
    yield from _notes(answer)


def _checks(answer: Json) -> list[tuple[str, str, str, str]]:
    from hub.cli.table import one_line
    from hub.cli.view import flag, objects, text

    return [
        (
            "yes" if flag(one, "holds") else "no",
            text(one, "field"),
            text(one, "condition"),
            one_line(text(one, "found")),
        )
        for one in objects(answer, "checks")
    ]


def _name(workload: Json) -> str:
    from hub.cli.view import text

    return "/".join(text(workload, field) for field in ("kind", "namespace", "name"))


def _notes(answer: Json) -> Iterator[str]:
    from hub.cli.view import texts

    notes = texts(answer, "notes")
    if notes:
        yield ""
        yield from notes
