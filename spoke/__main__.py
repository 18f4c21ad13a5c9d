"""``python -m spoke``: the resident process. Light on purpose: argparse, and libraries when they are needed.

python -m spoke --hub HOST:PORT --state DIR [--kubeconfig FILE [--context NAME]] [--token-file FILE]
                [--default-service-account NAME] [--prune-former-hub]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from felloe import __version__
from felloe.errors import ConfigError, FelloeError

if TYPE_CHECKING:
    from spoke.agent import Agent
    from spoke.state import BundleStore, Identity, IdentityStore

_log = logging.getLogger("spoke")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a spoke is told at its start. `kubeconfig` None: the cluster that this pod is in."""

    hub: str
    state: Path
    kubeconfig: Path | None
    context: str
    token_file: Path | None
    service_account: str
    log_level: str
    prune_former_hub: bool = False


def main() -> None:
    """Run the spoke that the command line describes; exit 0 on SIGTERM or SIGINT, 1 with a message on an error."""
    settings = _parse(sys.argv[1:])
    os.umask(0o077)  # the state folder may have been there before, readable by all
    # gRPC's C core reads this once, when it is loaded; its fork handlers can abort the process that makes our keys.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="time=%(asctime)s.%(msecs)03dZ level=%(levelname)s logger=%(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        import uvloop

        uvloop.run(_run(settings, os.environ))
    except FelloeError as error:
        sys.exit(f"error: {error}")


def _parse(argv: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m spoke", description="Felloe's process in each cluster.")
    parser.add_argument("--hub", required=True, metavar="HOST:PORT", help="the hub's gRPC address")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR", help="for certificate and desired state")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="which cluster (default: the one of this pod)")
    parser.add_argument("--context", default="", metavar="NAME", help="of the kubeconfig (default: its current one)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="join token (default: $FELLOE_TOKEN)")
    parser.add_argument(
        "--default-service-account",
        default="",
        metavar="NAME",
        help="apply workloads that name no service account as this one of their namespace (default: as the spoke)",
    )
    parser.add_argument(
        "--prune-former-hub",
        action="store_true",
        help="delete what another hub, which had this cluster before, left in it and this one doesn't want",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"felloe {__version__}")
    found = parser.parse_args(argv)
    return Settings(
        hub=found.hub,
        state=found.state,
        kubeconfig=found.kubeconfig,
        context=found.context,
        token_file=found.token_file,
        service_account=found.default_service_account,
        log_level=found.log_level,
        prune_former_hub=found.prune_former_hub,
    )


async def _run(settings: Settings, environ: Mapping[str, str]) -> None:
    from felloe.tracing import tracer
    from spoke.agent import agent
    from spoke.kube.config import in_cluster, load_kubeconfig
    from spoke.state import BundleStore, IdentityStore

    access = load_kubeconfig(settings.kubeconfig, settings.context) if settings.kubeconfig else in_cluster(environ)
    store, identities = BundleStore(settings.state), IdentityStore(settings.state)
    traces = tracer("felloe-spoke", environ)
    try:
        async with agent(
            access,
            store,
            traces,
            service_account=settings.service_account,
            prune_former_hub=settings.prune_former_hub,
        ) as running:
            await _until_told(_work(settings, environ, running, store, identities))
    finally:
        store.close()
        traces.shutdown()


async def _work(
    settings: Settings, environ: Mapping[str, str], running: Agent, store: BundleStore, identities: IdentityStore
) -> None:
    """Run the engine and the link, the engine at once: it needs no hub."""
    from spoke.apply.concurrency import first_of
    from spoke.link import LinkClient

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.run())
            running.joined(await _identity(settings, environ, identities, running))
            identities.on_save = running.joined
            await running.ready_for_link()
            link = LinkClient(store, identities, running.reporter, running.on_bundle, handlers=running.handlers)
            tasks.create_task(link.run())
            # What was made up to here stays for good: the garbage collector need not look at it again.
            gc.collect()
            gc.freeze()
            _log.info("event=started version=%s hub=%s", __version__, settings.hub)
    except* FelloeError as errors:
        raise first_of(errors) from None


async def _identity(
    settings: Settings, environ: Mapping[str, str], identities: IdentityStore, running: Agent
) -> Identity:
    """Return who we are to the hub: as the disk says, else the cluster, else after joining it with the token.

    The token with which this membership began may still be given: it counts only where the identity has expired, or is
    for another hub or cluster. A newer one counts: the cluster may have been revoked. Where a token is refused, the
    identity is used all the same.
    """
    from felloe.errors import LinkError
    from spoke.link import enrol

    identity = identities.load() or await running.identity()
    if identity is None:
        return await enrol(_required(_token(settings, environ), settings), settings.hub, identities)
    try:
        if (token := _token(settings, environ)) and not _served(token, identity):
            return await enrol(token, settings.hub, identities)
    except (ConfigError, LinkError) as error:
        _log.warning("event=token-not-used cluster=%s error=%r", identity.cluster, str(error))
    identity = replace(identity, hub=settings.hub)
    if identities.load() != identity:
        identities.save(identity)
    return identity


def _served(text: str, identity: Identity) -> bool:
    """Return whether a join token may be the one that an identity, good until now, was made with."""
    from felloe.jointoken import decode_token
    from spoke.state.identity import certificate_pem

    token = decode_token(text)
    same = token.cluster == identity.cluster and certificate_pem(token.ca_certificate) in identity.ca
    return same and identity.token in {"", token.id} and identity.not_after > time.time()


def _required(token: str, settings: Settings) -> str:
    if not token:
        raise ConfigError(
            f"this spoke has not joined {settings.hub} yet: make a token on the hub with "
            "`felloe token create --cluster NAME`, and give it with --token-file or $FELLOE_TOKEN"
        )
    return token


def _token(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the join token, empty where none is given. Raise ConfigError where its file can't be read."""
    if settings.token_file is None:
        return environ.get("FELLOE_TOKEN", "").strip()
    try:
        return settings.token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the join token in {settings.token_file} can't be read: {error}") from error


async def _until_told(work: Coroutine[None, None, None]) -> None:
    """Await some work until it ends, or until SIGTERM or SIGINT cancels it."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        _log.info("event=stopped")


if __name__ == "__main__":
    main()
