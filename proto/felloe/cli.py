"""The `felloe` command: one program made of what each side of Felloe registers.

The hub and the spoke offer their commands through the entry point group ``felloe.commands``, so that neither has to
know the other, and a command's libraries are imported only when it runs: the spoke's image holds none of the hub's.

Exit codes: 0 done; 1 it failed, with ``error: …`` on stderr; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from types import FrameType
from typing import Annotated, Literal

import typer

from felloe import __version__
from felloe.errors import FelloeError

GROUP = "felloe.commands"
_OURS = ("felloe", "hub", "spoke")

_HELP = """
One hub renders Git, a light spoke in each cluster applies: GitOps for fleets of Kubernetes clusters.

\b
Begin on the machine that is to be the hub:
  felloe hub serve --data ./hub --fleet https://git.example.com/fleet.git@main \\
      --advertise hub.example.com --grpc 0.0.0.0:8443 --http 127.0.0.1:8080
  export FELLOE_CREDENTIAL=./hub/admin.yaml
  felloe token create --cluster shop-1 --label env=dev > shop-1.token

\b
With the token, where the cluster is:
  felloe spoke run --hub hub.example.com:8443 --token-file shop-1.token \\
      --kubeconfig ~/.kube/config --state ./state

\b
And look at the fleet:
  felloe get clusters
  felloe get workloads --cluster shop-1
  felloe describe cluster shop-1
"""


class Side:
    """The commands that one side registers; `extra` is what its libraries are installed with.

    Where `load` lacks a library, the side has one command of its name, which says what to install.
    """

    def __init__(self, extra: str, load: Callable[[], Callable[[typer.Typer], None]]) -> None:
        self.extra = extra
        self.app = typer.Typer()
        try:
            register = load()
        except ModuleNotFoundError as error:
            register = _placeholder(extra, error)
        register(self.app)

    def names(self) -> set[str]:
        """Return the words that its commands begin with."""
        commands = {command.name or _name_of(command.callback) for command in self.app.registered_commands}
        return commands | {str(group.name) for group in self.app.registered_groups}


def build_app(sides: Iterable[Side]) -> typer.Typer:
    """Return the one application made of all sides."""
    app = typer.Typer(
        name="felloe",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    for side in sides:
        app.registered_commands += side.app.registered_commands
        app.registered_groups += side.app.registered_groups
    app.command(short_help="Print the completion script of a shell.")(completion)
    return app


def main() -> None:
    """Run the command line that this process was started with, and exit."""
    signal.signal(signal.SIGINT, _interrupted)
    sides = [Side(point.name, point.load) for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)]
    sys.exit(run(sides, sys.argv[1:]))


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End at once: no command here has anything to lose, and closing a stream politely waits for the other side."""
    with contextlib.suppress(OSError, RuntimeError):
        sys.stdout.flush()
    os._exit(130)


def run(sides: Sequence[Side], arguments: Sequence[str]) -> int:
    """Run a command line with these sides; return the exit code. Errors are on stderr then."""
    try:
        build_app(sides)(list(arguments), prog_name="felloe")
    except SystemExit as done:
        return _flushed(done.code if isinstance(done.code, int) else int(done.code is not None))
    except ModuleNotFoundError as error:
        return _fail(_what_to_install(sides, arguments, error))
    except FelloeError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"felloe {__version__}")
        raise typer.Exit


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that you use.")],
) -> None:
    """Print the completion script of a shell.

    \b
    bash:  felloe completion bash > ~/.local/share/bash-completion/completions/felloe
    zsh:   felloe completion zsh > "${fpath[1]}/_felloe"
    fish:  felloe completion fish > ~/.config/fish/completions/felloe.fish
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name="felloe", complete_var="_FELLOE_COMPLETE", shell=shell))


def _placeholder(extra: str, error: ModuleNotFoundError) -> Callable[[typer.Typer], None]:
    def unavailable() -> None:
        raise error

    def register(app: typer.Typer) -> None:
        anything = {"allow_extra_args": True, "ignore_unknown_options": True}
        help_ = f"Not installed here: pip install 'felloe[{extra}]'"
        app.command(extra, help=help_, context_settings=anything, add_help_option=False)(unavailable)

    return register


def _name_of(callback: Callable[..., object] | None) -> str:
    return callback.__name__.replace("_", "-") if callback else ""


def _what_to_install(sides: Sequence[Side], arguments: Sequence[str], error: ModuleNotFoundError) -> str:
    """Return what to do about a library that is not there. A module of Felloe itself that is missing is a bug."""
    missing = (error.name or "").partition(".")[0]
    if missing in _OURS:
        raise error
    word = next((argument for argument in arguments if not argument.startswith("-")), "")
    extra = next((side.extra for side in sides if word in side.names()), "hub")
    return f"'felloe {word}' needs {missing}, which is not installed here: pip install 'felloe[{extra}]'"


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return _flushed(1)


def _flushed(code: int) -> int:
    """Flush stdout; a reader that has gone away (``felloe get … | head``) is no error to tell of."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
