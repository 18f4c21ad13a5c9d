"""Test clusters by hand: ``python -m tests.cluster up --count 3 --nodes``, ``status``, ``down``, ``binaries``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from tests.cluster import background
from tests.cluster.background import Request, Running, Slot
from tests.cluster.binaries import ensure, say_on_stderr
from tests.cluster.binaries.catalogue import CATALOGUE
from tests.cluster.controlplane import BASE_BINARIES, NODE_BINARIES
from tests.cluster.errors import HarnessError

DEFAULT_PREFIX = "test"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "binaries":
                tested_with = [name for name, program in CATALOGUE.items() if not program.for_bench]
                for name, path in ensure(options.names or tested_with).items():
                    print(f"{name}\t{path}")
            case "up":
                ensure([*BASE_BINARIES, *(NODE_BINARIES if options.nodes else ())])
                _show(background.up(_request(options), say_on_stderr))
            case "supervise":
                background.supervise(_request(options), say_on_stderr)
            case "status":
                return _status()
            case "down":
                _down(options.name_prefix)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _request(options: argparse.Namespace) -> Request:
    return Request(options.name_prefix, options.count, options.nodes, options.audit)


def _show(clusters: Sequence[Running]) -> None:
    for cluster in clusters:
        print(f"{cluster.name}\t{cluster.server}\t{cluster.kubeconfig}")
    joined = ":".join(cluster.kubeconfig for cluster in clusters)
    print(f"\nexport KUBECONFIG={shlex.quote(joined)}")
    if len(clusters) > 1:
        print(f"kubectl --context {clusters[0].name} get namespaces")


def _status() -> int:
    found = False
    for slot in background.slots():
        if (state := slot.read()) is not None:
            found = True
            for cluster in state:
                print(f"{cluster.name}\t{cluster.server}\t{cluster.kubeconfig}")
    if not found:
        print("no test clusters run", file=sys.stderr)
    return 0


def _down(prefix: str | None) -> None:
    for slot in background.slots() if prefix is None else [Slot(prefix)]:
        if background.down(slot):
            print(f"stopped the clusters {slot.prefix}-*", file=sys.stderr)


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 32:
        raise argparse.ArgumentTypeError(f"from 1 to 32, not {count}")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Real control planes on loopback.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    binaries = commands.add_parser("binaries", help="build what is missing and print where the programs are")
    binaries.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(CATALOGUE)} (default: what tests need)"
    )
    for name, text in (
        ("up", "start clusters in the background and print their kubeconfigs"),
        ("supervise", "hold clusters in the foreground until interrupted ('up' runs this)"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--count", type=_count, default=1, help="how many (default: 1)")
        command.add_argument("--nodes", action="store_true", help="with a scheduler and a fake node: pods become Ready")
        command.add_argument("--audit", action="store_true", help="with an audit log of all requests")
        command.add_argument("--name-prefix", default=DEFAULT_PREFIX, help="names are PREFIX-1 … (default: test)")
    commands.add_parser("status", help="list the clusters in the background")
    down = commands.add_parser("down", help="stop the clusters in the background")
    down.add_argument("--name-prefix", help="only those with this prefix (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
