"""The commands that look and change nothing: get, describe, render, diff, plan, wait, events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hub.cli.session import (
    Cluster,
    OneCluster,
    OneWorkload,
    Selector,
    complete_kind_and_name,
    with_hub,
)
from hub.cli.words import Goal, Output, PlanOutput

if TYPE_CHECKING:
    from hub.cli.kinds import Kind

_WHAT = "clusters, sources, environments, placements, workloads or rollouts"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(short_help="Show clusters, workloads, sources …")(get)
    app.command(short_help="Show all about a cluster, workload or rollout.")(describe)
    app.command(short_help="Print what a cluster would get, as YAML.")(render)
    app.command(short_help="Show what would change in a cluster.")(diff)
    app.command(short_help="Show what a commit would change in the fleet.")(plan)
    app.command(short_help="Wait until clusters are applied or healthy.")(wait)
    app.command(short_help="Show what happened lately, or happens now.")(events)


def _complete_what(incomplete: str) -> list[str]:
    from hub.cli.kinds import KINDS

    return [kind.plural for kind in KINDS if kind.plural.startswith(incomplete)]


def _kind(word: str) -> Kind:
    from hub.cli.kinds import BY_WORD

    kind = BY_WORD.get(word.lower())
    if kind is None:
        raise typer.BadParameter(f"{word!r} is none of {_WHAT}")
    return kind


def get(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"One of {_WHAT}.", autocompletion=_complete_what)],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="NAME or NAMESPACE/NAME; all without.", autocompletion=complete_kind_and_name
        ),
    ] = "",
    selector: Selector = "",
    cluster: Cluster = "",
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another form than the table.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show every change.")] = False,
) -> None:
    """Show what there is, as a table or as Kubernetes-shaped JSON or YAML.

    \b
    Examples:
      felloe get clusters                          all clusters, where they are and whether they are well
      felloe get clusters -l env=production -o wide
      felloe get workloads --cluster shop-1 -w     follow a change as it arrives
      felloe get workload flux-system/apps -o yaml
      felloe get clusters -o json | jq -r '.items[] | select(.status.connected | not) | .metadata.name'
    """
    from hub.cli import get as getting
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    query = getting.Query(name, selector, cluster)
    act = getting.watch if watch else getting.show
    with_hub(lambda client: act(client, _kind(what), query, output, screen(environment())))


def describe(
    what: Annotated[Literal["cluster", "workload", "rollout"], typer.Argument(metavar="cluster|workload|rollout")],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="NAME or NAMESPACE/NAME.", autocompletion=complete_kind_and_name),
    ],
    cluster: Cluster = "",
) -> None:
    """Show all about a cluster, workload or rollout: conditions, failing objects with their errors, the last events.

    \b
    Examples:
      felloe describe cluster shop-1
      felloe describe workload flux-system/apps --cluster shop-1
      felloe describe rollout shop@production
    """
    from hub.cli import describe as describing
    from hub.cli.contexts import environment
    from hub.cli.get import Query
    from hub.cli.table import screen

    query = Query(name, cluster=cluster)
    with_hub(lambda client: describing.describe(client, _kind(what), query, screen(environment())))


def render(
    cluster: OneCluster,
    workload: OneWorkload = "",
) -> None:
    """Print the manifests that a cluster would get, as YAML, variables filled in. Nothing is applied.

    \b
    Examples:
      felloe render --cluster shop-1
      felloe render --cluster shop-1 --workload flux-system/apps | kubectl diff -f -
    """
    from hub.cli import rendering

    with_hub(lambda client: rendering.render(client, cluster, workload), timeout=120)


def diff(
    cluster: OneCluster,
    workload: OneWorkload = "",
    revision: Annotated[
        str,
        typer.Option(
            metavar="REVISION",
            help="What this branch, tag or commit would change: of the workload's source, or of the fleet repository.",
        ),
    ] = "",
    output: Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of diffs.")] = None,
) -> None:
    """Show how a cluster differs from what it should be, as kubectl diff does: the API server tries each object out.

    Nothing is changed. The values of Secrets are not shown, and don't leave the cluster.
    Exits with 0 where nothing differs, 1 where something does, 2 where that can't be told.

    \b
    Examples:
      felloe diff --cluster shop-1
      felloe diff --cluster shop-1 --workload flux-system/apps --revision my-branch
      felloe diff --cluster shop-1 -o json | jq -r '.items[] | select(.change == "delete") | .name'
    """
    from hub.cli import comparing
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown = screen(environment())
    code = comparing.guarded(
        lambda: with_hub(
            lambda client: comparing.diff(client, cluster, workload, revision, shown, as_json=output == "json")
        )
    )
    raise typer.Exit(code)


def plan(
    revision: Annotated[
        str,
        typer.Option(metavar="REVISION", help="A branch, tag, commit or full ref of the fleet repository."),
    ] = "",
    branch: Annotated[str, typer.Option(metavar="BRANCH", help="A branch of the fleet repository.")] = "",
    path: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A checkout on this machine, with what is not committed.")
    ] = None,
    selector: Selector = "",
    cluster: Cluster = "",
    output: Annotated[PlanOutput, typer.Option("--output", "-o", help="The form of the plan.")] = PlanOutput.TEXT,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 where anything changes.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
) -> None:  # fmt: skip
    """Show what a commit that is not merged yet would change: on which clusters, object by object, field by field.

    Compared with what each cluster is to have now; nothing is changed, and no cluster is asked. Values of Secrets are
    not shown. Exits with 0, or with 1 where a workload does not build or the plan can't be made; with
    --detailed-exitcode, 2 where anything changes.

    \b
    Examples:
      felloe plan --branch my-branch
      felloe plan --path . -l env=production
      felloe plan --revision refs/pull/420/merge -o markdown > comment.md
      felloe plan --path . -o json | jq -r '.groups[].title'
    """
    from hub.cli import planning
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    if sum(map(bool, (revision, branch, path))) != 1:
        raise typer.BadParameter("one of --revision, --branch and --path is needed")
    wanted = f"refs/heads/{branch}" if branch else revision
    question = planning.Question(wanted, path, selector, cluster, output.value, detailed_exitcode, strict)
    shown = screen(environment())
    raise typer.Exit(planning.guarded(lambda: with_hub(lambda client: planning.plan(client, question, shown))))


def wait(
    goal: Annotated[
        Goal, typer.Option("--for", help="applied: every object is there. healthy: and every health check is met.")
    ],
    selector: Selector = "",
    revision: Annotated[
        str,
        typer.Option(metavar="SHA", help="Also wait for this revision: a commit, abbreviated or not, or main@sha1:…"),
    ] = "",
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long, as 90s, 5m or 1h30m.")] = "5m",
) -> None:
    """Wait until every matching cluster has what it should have; suspended workloads don't count.

    Exits with 0 then, or with 1 at the timeout, naming each cluster that is missing and why.

    \b
    Examples:
      felloe wait --for healthy
      felloe wait -l env=staging --for healthy --revision "$(git rev-parse HEAD)" --timeout 10m
    """
    from hub.cli import wait as waiting
    from hub.cli.get import Query
    from hub.fleet.durations import parse_duration

    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    if not with_hub(lambda client: waiting.wait(client, Query(selector=selector), goal, revision, seconds)):
        raise typer.Exit(1)


def events(
    cluster: Cluster = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show every event as it comes.")] = False,
    output: Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of the table.")] = None,
) -> None:
    """Show what happened lately: fetches, renders, what was applied, pruned and healed.

    \b
    Examples:
      felloe events
      felloe events --cluster shop-1 -w
    """
    from hub.cli import events as happening
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown = screen(environment())
    with_hub(lambda client: happening.events(client, cluster, shown, watch=watch, as_json=output == "json"))
