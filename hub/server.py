"""The hub as a process: opens everything, ties it together, and closes it in order.

sources ──► planner (fleet, render, targeting, rollout) ──► link ══► spokes
               ▲                                              │
API ──► steward ┘                    board ◄── reporter ◄──────┘
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from prometheus_client import CollectorRegistry

from felloe import __version__
from felloe.errors import StoreError
from felloe.tracing import tracer
from hub.api.app import ApiApp
from hub.api.credentials import open_secrets, publish_admin
from hub.api.people import People
from hub.api.serve import ApiServer, serve
from hub.audit import AuditLog
from hub.config import Address, HubConfig
from hub.gates.asking import Gates
from hub.heap import Heap
from hub.link.enrolment import Enrolment
from hub.link.server import LinkServer
from hub.metrics import HubMetrics
from hub.pki import Authority
from hub.planning.commits import TimedGitSources
from hub.planning.comparing import Comparer
from hub.planning.deliveries import Deliveries
from hub.planning.garbage import keep_collecting
from hub.planning.planner import Planner
from hub.planning.plans import Plans, Settings
from hub.promoting.promoter import Promoter
from hub.render.render import start_renderer
from hub.reporting.chronicle import RolloutChronicle
from hub.reporting.reporter import Reporter
from hub.rollout.model import Track
from hub.sources.follow import SourceState
from hub.sources.secrets import SecretFolder
from hub.sources.spec import FLEET_KEY, GitSpec, parse_fleet_url
from hub.sources.url import UrlRewriter
from hub.status.board import Board
from hub.status.events import EventLog
from hub.steward import Steward
from hub.store import FolderBlobs, SqliteStore, Store

log = logging.getLogger(__name__)

_READY_FILE: Final = "hub.json"


def run(config: HubConfig) -> None:
    """Run a hub until SIGTERM or SIGINT. Raise FelloeError where it can't start."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, and a gate's may hold a token
    import uvloop

    os.umask(0o077)  # what is kept is for nobody else, also in a data folder that was there before
    with _locked(config.data):
        uvloop.run(_serve(config))


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Own the data folder for as long as the block lasts. Raise StoreError where another hub does."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (data / "lock").open("w")
    except OSError as error:
        raise StoreError(f"the hub's data folder {data} can't be used: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another hub runs on the data folder {data}") from None
        except OSError as error:
            raise StoreError(f"the hub's data folder {data} can't be locked: {error.strerror}") from error
        (data / _READY_FILE).unlink(missing_ok=True)  # of a hub that was killed
        try:
            yield
        finally:
            (data / _READY_FILE).unlink(missing_ok=True)


async def _serve(config: HubConfig) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        hub = await _open(config, stack)
        hub.planner.poke()
        _announce(config.data, hub.addresses)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(hub.planner.run(), name="planner"),
                group.create_task(hub.gates.run(), name="gates"),
                group.create_task(hub.promoter.run(), name="promoter"),
                group.create_task(hub.reporter.run(hub.planner.sources.states), name="reporter"),
                group.create_task(keep_collecting(hub.planner.plans, hub.link, hub.blobs), name="garbage"),
                group.create_task(hub.api.wait(), name="api"),
            ]
            await stopping.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()


@dataclass(frozen=True, slots=True)
class _Hub:
    """The parts that live as long as the hub serves, and where it can be reached."""

    planner: Planner
    reporter: Reporter
    gates: Gates
    promoter: Promoter
    api: ApiServer
    link: LinkServer
    blobs: FolderBlobs
    addresses: Mapping[str, str]


def _announce(data: Path, addresses: Mapping[str, str]) -> None:
    """Say where the hub listens: in ``hub.json``, for programs, and in the log. Raise StoreError."""
    path = data / _READY_FILE
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(orjson.dumps({**addresses, "pid": os.getpid(), "version": __version__}))
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}") from error
    log.info("ready: spokes at %s, API at https://%s", addresses["grpc"], addresses["http"])


def _database(data: Path) -> Path:
    """Return the file of the store. Raise StoreError where it is lost, but not the CA by which spokes know this hub.

    By that CA, what runs in their clusters is this hub's own. A hub that does not know what that was would take it for
    unwanted, and delete it until it is a cluster's turn in a rollout.
    """
    path, authority = data / "hub.db", data / "pki"
    if not path.exists() and authority.exists():
        raise StoreError(
            f"the hub's database {path} is gone, but its CA {authority} is not: a hub that does not know any more what "
            f"it gave its clusters would delete that. Restore {path.name} from a backup; or, to begin anew, move "
            f"{authority} away as well and let every cluster join again with a new token: then nothing that runs is "
            "deleted"
        )
    return path


async def _open(config: HubConfig, stack: AsyncExitStack) -> _Hub:
    """Open every part, the last of all the link: from then on spokes are served from what is known."""
    store = SqliteStore(_database(config.data), epoch_at_least=config.epoch)
    stack.callback(store.close)
    blobs = await asyncio.to_thread(FolderBlobs, config.data / "blobs")
    authority = Authority.open(config.data / "pki")
    enrolment = Enrolment(store, authority)
    metrics = HubMetrics(CollectorRegistry())
    tracing = tracer("felloe-hub", os.environ)
    stack.callback(tracing.shutdown)
    deliveries = Deliveries(tracing, metrics)
    stack.callback(deliveries.close)

    secrets = SecretFolder(config.secrets) if config.secrets else SecretFolder()
    rewriter = UrlRewriter.parse(f"{prefix}={replacement}" for prefix, replacement in config.instead_of)
    git = TimedGitSources(config.data / "git", secrets, rewriter, metrics)
    stack.callback(git.close)
    renderer = await start_renderer(config.data, binary=config.kustomize)

    board, events, plans = Board(), EventLog(), Plans()
    reporter = Reporter(plans, store, board, events, deliveries, metrics)
    link = LinkServer(store, blobs, authority, enrolment, reporter)
    settings = Settings(_fleet_source(config), config.fleet_path, config.sync_path, rewriter.rewrite)
    audit = AuditLog(store)
    heap = Heap()

    def answered(track: Track) -> None:
        planner.advance(track)

    def pushed(url: str) -> None:
        planner.sources.announce_url(url)

    async def shown(sources: Iterable[SourceState], clusters: Collection[str] | None) -> None:
        await reporter.show(sources, clusters)
        if clusters is None:
            heap.settle()

    gates = Gates(secrets, answered)
    promoter = Promoter(git, secrets, lambda _environment: planner.advance(), pushed)
    planner = Planner(
        settings,
        git,
        renderer,
        store,
        blobs,
        link,
        deliveries,
        tracing,
        metrics,
        plans,
        reports=reporter,
        gates=gates,
        promotions=promoter,
        chronicle=RolloutChronicle(reporter, audit),
        on_round=shown,
    )
    reporter.on_lack, reporter.on_membership = planner.publish_again, planner.noticed
    reporter.on_progress = planner.moved
    comparer = Comparer(planner, link, blobs)
    steward = Steward(
        planner,
        reporter,
        enrolment,
        store,
        blobs,
        board,
        events,
        settings.fleet_source,
        comparer,
        link,
        audit,
    )
    planner.recall()
    reporter.recall()

    api = await _start_api(config, steward, store, audit, metrics, authority, stack)
    port = await link.start(str(config.grpc), config.advertise)
    stack.push_async_callback(link.stop)
    steward.listening = True
    addresses = {
        "grpc": config.reachable(Address(config.grpc.host, port)),
        "http": config.reachable(Address(config.http.host, api.port)),
    }
    return _Hub(planner, reporter, gates, promoter, api, link, blobs, addresses)


async def _start_api(
    config: HubConfig,
    steward: Steward,
    store: Store,
    audit: AuditLog,
    metrics: HubMetrics,
    authority: Authority,
    stack: AsyncExitStack,
) -> ApiServer:
    secrets = open_secrets(config.data)
    key, chain = authority.server([config.http.host, *config.advertise])
    certificate_file, key_file = config.data / "pki" / "api.crt", config.data / "pki" / "api.key"
    try:
        for path, content in ((key_file, key), (certificate_file, chain)):
            path.touch(mode=0o600)
            path.write_bytes(content)
    except OSError as error:
        raise StoreError(f"the API's certificate {certificate_file} can't be written: {error.strerror}") from error
    app = ApiApp(
        steward,
        metrics.registry,
        people=People(store, audit, secrets.admin_token_sha256),
        store=store,
        webhook_secret=secrets.webhook_secret,
    )
    api = await serve(app, config.http.host, config.http.port, certificate_file, key_file)
    stack.push_async_callback(api.stop)
    server = f"https://{config.reachable(Address(config.http.host, api.port))}"
    publish_admin(config.data, secrets, server=server, ca=authority.certificate_pem.decode())
    return api


def _fleet_source(config: HubConfig) -> GitSpec:
    """Return the fleet repository as a source."""
    url, ref = parse_fleet_url(config.fleet)
    has_secret = config.secrets is not None and (config.secrets / FLEET_KEY.namespace / FLEET_KEY.name).is_dir()
    return GitSpec(FLEET_KEY.namespace, FLEET_KEY.name, url, ref, secret=FLEET_KEY.name if has_secret else None)
