"""Three real clusters, a Git repository, a hub and three spokes; a commit arrives, drift is healed, a revert undoes it.

Everything runs on the loopback interface and is gone afterwards; ``--keep`` leaves it running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane, start_all
from tests.fleet.fleet import Fleet
from tests.fleet.manifests import ENVIRONMENTS, config_map, documents, shop

console = Console(highlight=False)


def main(arguments: Sequence[str]) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args(arguments).keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="felloe-demo-"))
    try:
        with contextlib.ExitStack() as stack:
            fleet = set_up(stack, folder)
            show(fleet)
            console.print(f"\n[bold green]Done[/] in {time.monotonic() - begin:.0f} s.")
            if keep:
                leave(fleet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def set_up(stack: contextlib.ExitStack, folder: Path) -> Fleet:
    """Start everything and wait until the first commit is healthy everywhere."""
    title("The control planes: etcd, kube-apiserver, controllers, scheduler and kwok's nodes, three times")
    kustomize = binaries.ensure(["kustomize"], say=say)["kustomize"]
    members = {name: ControlPlane(name, nodes=True) for name in ENVIRONMENTS}
    for cluster in members.values():
        stack.callback(cluster.stop)
    with timed("three clusters are up"):
        start_all(members.values(), say)

    title("A Git repository with a base and three overlays, the hub, and a spoke in each cluster")
    fleet = stack.enter_context(Fleet(folder / "fleet", members, kustomize))
    fleet.repository.commit(shop(fleet.url), "the shop: a base and three overlays")
    say(f"repository  {fleet.url}")
    with timed("the hub is up"):
        fleet.hub.start()
    say(f"hub         {fleet.hub.url}, spokes at {fleet.hub.address}")
    with timed("every cluster has joined, applied the first commit and is healthy"):
        for name in ENVIRONMENTS:
            fleet.join(name, env=name)
        fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "3m", timeout=200)
    return fleet


def show(fleet: Fleet) -> None:
    """Show the fleet, a commit that arrives, drift that is healed, and a revert."""
    title("The fleet")
    felloe(fleet, "get", "clusters")
    felloe(fleet, "get", "workloads")

    title("A commit changes the greeting in the base")
    before = fleet.data("dev", "settings") or {}
    changed = {"base/settings.yaml": documents(config_map("settings", greeting="good day", cluster="${cluster_name}"))}
    sha = fleet.repository.commit(changed, "a politer greeting")
    pushed = time.monotonic()
    fleet.announce()
    say(f"commit {sha[:8]} is pushed, and the Git server's webhook tells the hub")
    arrival(fleet, "good day", pushed)

    title("Somebody edits production by hand")
    core = fleet.core("production")
    edited = time.monotonic()
    core.patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "hacked"}})
    until(lambda: (fleet.data("production", "settings") or {}).get("greeting") == "good day", "it is healed")
    say(f"healed in {(time.monotonic() - edited) * 1000:.0f} ms")
    until(lambda: "DriftHealed" in fleet.hub.felloe("events"), "the hub knows")
    felloe(fleet, "events")

    title("The commit is reverted")
    sha = fleet.repository.revert()
    reverted = time.monotonic()
    fleet.announce()
    say(f"commit {sha[:8]} is pushed, and the webhook tells the hub")
    arrival(fleet, before["greeting"], reverted)
    fleet.hub.felloe("wait", "--for", "healthy", "--revision", sha, "--timeout", "1m", timeout=90)
    felloe(fleet, "get", "clusters")


def arrival(fleet: Fleet, greeting: str, begin: float) -> None:
    """Watch a greeting arrive in every cluster, with the time since `begin`."""
    times: dict[str, float] = {}

    def table() -> Table:
        shown = Table("cluster", "greeting", "seconds since the push", box=None, header_style="dim", pad_edge=True)
        for name in ENVIRONMENTS:
            arrived = f"{times[name]:.2f}" if name in times else "…"
            shown.add_row(name, greeting if name in times else "", arrived)
        return shown

    with Live(table(), console=console, refresh_per_second=20) as live:
        deadline = time.monotonic() + 60
        while len(times) < len(ENVIRONMENTS):
            for name in ENVIRONMENTS:
                if name not in times and (fleet.data(name, "settings") or {}).get("greeting") == greeting:
                    times[name] = time.monotonic() - begin
            live.update(table())
            if time.monotonic() > deadline:
                raise SystemExit(f"the greeting did not arrive everywhere; see {fleet.folder}")
            time.sleep(0.01)
    console.print()


def leave(fleet: Fleet) -> None:
    """Leave everything running, say what to try, and wait for Ctrl-C."""
    title("It runs on. In another terminal:")
    console.print(f"  export FELLOE_CREDENTIAL={fleet.hub.data / 'admin.yaml'}", soft_wrap=True)
    console.print(f"  export PATH={Path(sys.executable).parent}:$PATH", soft_wrap=True)
    for command in (
        "felloe get clusters -w",
        "felloe describe workload shop --cluster production",
        "felloe render --cluster dev",
        "felloe events -w",
    ):
        console.print(f"  {command}")
    where = fleet.repository.work
    console.print(f"  cd {where}   # edit, git commit -a, then: felloe reconcile source fleet", soft_wrap=True)
    for name, cluster in fleet.clusters.items():
        console.print(f"  kubectl --kubeconfig {cluster.kubeconfig} -n shop get all   # {name}", soft_wrap=True)
    console.print("Ctrl-C ends and removes everything.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def felloe(fleet: Fleet, *arguments: str) -> None:
    """Run a command as a user would, and show it."""
    console.print(f"[dim]$ felloe {' '.join(arguments)}[/]")
    subprocess.run(
        [sys.executable, "-m", "felloe", *arguments], env=fleet.hub.client_environment(), check=True, timeout=60
    )


def until(check: Callable[[], object], what: str) -> None:
    """Wait up to a minute until `check` holds."""
    deadline = time.monotonic() + 60
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within a minute: {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Show a step with a spinner, and its time."""
    begin = time.monotonic()
    with console.status(what.replace(" is up", " starts").replace(" are up", " start")):
        yield
    say(f"{what} [dim]({time.monotonic() - begin:.1f} s)[/]")


def title(text: str) -> None:
    """Show what comes next."""
    console.print(f"\n[bold cyan]{text}[/]")


def say(text: str) -> None:
    """Show a fact."""
    console.print(f"  {text}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
