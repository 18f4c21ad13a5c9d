"""The commands about rollouts: rollout list, status, watch and what people do to them; promote, fleet, top."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hub.cli.session import Reason, Selector, Yes, complete_environment, complete_rollout, with_hub
from hub.cli.words import Output

RolloutName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The rollout, as UNIT or UNIT@ENVIRONMENT.", autocompletion=complete_rollout),
]
All = Annotated[bool, typer.Option("--all", help="Every rollout to which it can be done.")]
Stage = Annotated[str, typer.Option(metavar="STAGE", help="The stage, where it is not the only one.")]
WatchFlag = Annotated[bool, typer.Option("--watch", "-w", help="Go on and show every change.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_rollout)
    group.command("list", short_help="Show all rollouts.")(list_)
    group.command(short_help="Show how a rollout is.")(status)
    group.command(short_help="Follow a rollout to its end.")(watch)
    group.command(short_help="Let no further cluster have it.")(pause)
    group.command(short_help="Go on with a paused one.")(resume)
    group.command(short_help="Let a gate pass.")(approve)
    group.command(short_help="Go on without waiting.")(skip_soak)
    group.command(short_help="Try failed clusters again.")(retry)
    group.command(short_help="End it, clusters stay as they are.")(abort)
    group.command(short_help="Take it back.")(undo)
    app.add_typer(group, name="rollout", short_help="Watch and steer how a release goes through clusters.")
    app.command(short_help="Let a release go on to the next environment.")(promote)
    app.command(short_help="Show the whole fleet on one screen.")(fleet)
    app.command(short_help="Show what is slowest, drifts and fails most.")(top)


def _rollout() -> None:
    """Watch and steer how a release goes through the clusters.

    A rollout is named as what moves (a placement, or sync for what sync paths give) and, in a promotion chain, the
    environment: shop, shop@production, sync@staging. `felloe rollout list` shows all.
    """


def list_(
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another form than the table.")] = None,
    selector: Selector = "",
    watch: WatchFlag = False,
) -> None:
    """Show every rollout: what goes where, and how far it is. The same as felloe get rollouts.

    \b
    Examples:
      felloe rollout list
      felloe rollout list -l fleet.felloe.io/environment=production -o wide
    """
    from hub.cli import get as getting
    from hub.cli.contexts import environment
    from hub.cli.kinds import BY_WORD
    from hub.cli.table import screen

    act = getting.watch if watch else getting.show
    query, shown = getting.Query(selector=selector), screen(environment())
    with_hub(lambda client: act(client, BY_WORD["rollouts"], query, output, shown))


def status(
    name: RolloutName,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="wide: every cluster.")] = None,
) -> None:
    """Show how a rollout is: each stage, what it waits for, who is not done and why, and how long it may take.

    \b
    Examples:
      felloe rollout status shop@production
      felloe rollout status shop -o json | jq .status.stages
    """
    from datetime import UTC, datetime

    from hub.cli import rollout
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown = screen(environment())
    with_hub(lambda client: rollout.status(client, name, output, shown, datetime.now(UTC)))


def watch(
    name: RolloutName,
    revision: Annotated[
        str, typer.Option(metavar="SHA", help="Until this commit is through, abbreviated or not.")
    ] = "",
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Give up after this, as 30m; without, never.")] = "",
) -> None:
    """Follow a rollout until its release has ended; redrawn in place, or one line for each change where piped.

    Exits with 0 where the release is complete, with 1 where it failed, was aborted, undone or superseded, or --timeout
    is over.

    \b
    Examples:
      felloe rollout watch shop@production
      felloe rollout watch shop --revision "$(git rev-parse HEAD)" --timeout 30m    # in a pipeline
    """
    from hub.cli import following
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown = screen(environment())
    seconds = _seconds(timeout)
    if not with_hub(lambda client: following.rollout(client, name, revision, shown, seconds)):
        raise typer.Exit(1)


def pause(name: RolloutName = "", all_: All = False, reason: Reason = "") -> None:
    """Let no further cluster have it until it is resumed; clusters that have it stay as they are.

    \b
    Examples:
      felloe rollout pause shop@production --reason "looks odd"
      felloe rollout pause --all          # stop everything
    """
    _steer("pause", name, all_=all_, reason=reason)


def resume(name: RolloutName = "", all_: All = False, reason: Reason = "", yes: Yes = False) -> None:
    """Go on with a rollout that is paused, by a person or because clusters failed.

    \b
    Example:
      felloe rollout resume shop@production
    """
    _steer("resume", name, all_=all_, reason=reason, yes=yes)


def approve(
    name: RolloutName,
    reason: Reason,
    stage: Stage = "",
    gate: Annotated[str, typer.Option(metavar="GATE", help="The gate, where more than one waits.")] = "",
    yes: Yes = False,
) -> None:
    """Let the approval gate of a stage pass, for the release that it shows first; a newer one asks again.

    A gate that asks a machine can be let pass too, where --gate names it.

    \b
    Examples:
      felloe rollout approve shop@production --reason "checked the dashboards"
      felloe rollout approve shop --stage rest --gate ok --reason "ticket 4711" --yes
    """
    _steer("approve", name, reason=reason, stage=stage, gate=gate, yes=yes)


def skip_soak(name: RolloutName, reason: Reason, stage: Stage = "", yes: Yes = False) -> None:
    """Go on with the next stage without waiting for the rest of a soak.

    \b
    Example:
      felloe rollout skip-soak shop@production --reason "fixes the outage" --yes
    """
    _steer("skip-soak", name, reason=reason, stage=stage, yes=yes)


def retry(name: RolloutName = "", all_: All = False, reason: Reason = "", yes: Yes = False) -> None:
    """Give the release again to the clusters that failed, and go on.

    \b
    Example:
      felloe rollout retry shop@production
    """
    _steer("retry", name, all_=all_, reason=reason, yes=yes)


def abort(reason: Reason, name: RolloutName = "", all_: All = False, yes: Yes = False) -> None:
    """End a rollout where it is: clusters that have the release keep it, the others keep what they have.

    What would be done is shown first. A newer commit begins a new rollout.

    \b
    Examples:
      felloe rollout abort shop@production --reason "not today"
      felloe rollout abort --all --reason "incident 17" --yes
    """
    _steer("abort", name, all_=all_, reason=reason, yes=yes)


def undo(reason: Reason, name: RolloutName = "", all_: All = False, yes: Yes = False) -> None:
    """Take a rollout back: clusters that have the release return to the one before.

    What would be done is shown first. Git still has the commit: revert it there too, or the next one brings it again.

    \b
    Examples:
      felloe rollout undo shop@production --reason "errors doubled"
      felloe rollout undo --all --reason "incident 17" --yes
    """
    _steer("undo", name, all_=all_, reason=reason, yes=yes)


def promote(
    track: Annotated[
        str, typer.Argument(metavar="TRACK", help="What to promote: shop, or sync.", autocompletion=complete_rollout)
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="ENV", help="The environment to go on to.", autocompletion=complete_environment),
    ],
    reason: Reason,
    revision: Annotated[
        str,
        typer.Option(metavar="SHA", help="A commit that is healthy in the environment before; without, its newest."),
    ] = "",
    skip_soak: Annotated[bool, typer.Option("--skip-soak", help="Don't wait until it has soaked, either.")] = False,
    yes: Yes = False,
) -> None:
    """Let a release go on to the next environment: approve it there and, with --skip-soak, don't wait for its soak.

    It must have been healthy in the environment before. What would be done is shown first.

    \b
    Examples:
      felloe promote shop --to production --reason "tested on staging"
      felloe promote shop --to production --revision 1234abcd --reason "ticket 4711" --yes
      felloe promote shop --to production --skip-soak --reason "fixes the outage"
    """
    from hub.cli import steering
    from hub.cli.asking import meant

    _check(reason)
    step = steering.Step(track.partition("@")[0], to, revision, skip_soak)
    for line in with_hub(lambda client: steering.promotion(client, track, step)):
        typer.echo(line)
    if not meant("Promote this?", yes=yes, otherwise="Nothing was promoted"):
        raise typer.Exit(1)
    with_hub(lambda client: steering.promote(client, step, reason))


def fleet(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show it as it changes.")] = False,
    output: Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead.")] = None,
) -> None:
    """Show the whole fleet on one screen: what each environment runs, what moves, what waits, what is stuck and why.

    \b
    Examples:
      felloe fleet
      felloe fleet -w
      felloe fleet -o json | jq '.waits[] | select(.stuck)'
    """
    from hub.cli import fleet as showing
    from hub.cli import following
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    if watch and output:
        raise typer.BadParameter("is of one moment; without -o, a pipe gets a line for each change", param_hint="-o")
    shown = screen(environment())
    if watch:
        with_hub(lambda client: following.fleet(client, shown))
    else:
        with_hub(lambda client: showing.show(client, shown, as_json=output == "json"))


def top(
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many of each.")] = 10,
    selector: Selector = "",
    output: Annotated[Literal["json"] | None, typer.Option("--output", "-o", help="JSON instead of tables.")] = None,
) -> None:
    """Show which workloads took longest from a change to health, which drifted most, and which fail.

    Drift is what a spoke healed since it has the workload: something else keeps changing those objects.

    \b
    Examples:
      felloe top
      felloe top -n 3 -l env=production
    """
    from hub.cli import top as ranking
    from hub.cli.contexts import environment
    from hub.cli.table import screen

    shown = screen(environment())
    with_hub(lambda client: ranking.show(client, number, selector, shown, as_json=output == "json"))


def _steer(
    act: str, name: str, *, all_: bool = False, reason: str, stage: str = "", gate: str = "", yes: bool = False
) -> None:
    from hub.cli import steering

    if bool(name) == all_:
        said = "both NAME and --all" if name else "neither NAME nor --all"
        raise typer.BadParameter(f"{said}: say which rollout, or --all for every one", param_hint="NAME")
    _check(reason, needed=act in {"approve", "abort", "undo", "skip-soak"})
    wish = steering.Wish(act, name, reason, stage, gate)
    deeds = with_hub(lambda client: steering.deeds(client, wish))
    if not steering.wanted(deeds, wish, yes=yes):
        raise typer.Exit(1)
    if not with_hub(lambda client: steering.act(client, deeds, reason)):
        raise typer.Exit(1)


def _seconds(timeout: str) -> float | None:
    from hub.fleet.durations import parse_duration

    try:
        return parse_duration(timeout) if timeout else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error


def _check(reason: str, *, needed: bool = True) -> None:
    if needed and not reason.strip():
        raise typer.BadParameter("say why: it is kept in the audit log", param_hint="--reason")
