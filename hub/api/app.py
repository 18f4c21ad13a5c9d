"""The routes of the hub's HTTP API, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from felloe.errors import FelloeError
from hub.api.access import Access
from hub.api.actions import Actions
from hub.api.adoption import Adoption
from hub.api.auth import BearerAuth
from hub.api.control import Control
from hub.api.diffs import Diffs
from hub.api.errors import on_bug, on_felloe_error, on_http_exception
from hub.api.explanations import Explanations
from hub.api.forecasts import Forecasts
from hub.api.hooks import GitHook
from hub.api.lists import Lists
from hub.api.overview import Overview
from hub.api.people import People
from hub.api.records import Records
from hub.api.rollouts import Rollouts
from hub.api.streaming import Pulse
from hub.store import Store


class ApiApp(Starlette):
    """The API as an ASGI application; `closing` ends its watches, so that a server can stop."""

    def __init__(
        self,
        control: Control,
        registry: CollectorRegistry,
        *,
        people: People,
        store: Store,
        webhook_secret: str,
        heartbeat: float = 15.0,
    ) -> None:
        self.closing = asyncio.Event()
        pulse = Pulse(self.closing, heartbeat)
        guard = Middleware(BearerAuth, people=people)
        versioned = _versioned(
            Actions(control),
            Explanations(control),
            Adoption(control),
            Diffs(control),
            Lists(control, pulse),
        )
        fleetwide = _fleetwide(Overview(control, pulse), Forecasts(control), Rollouts(control))
        recorded = _recorded(Access(people), Records(store, control))
        super().__init__(
            routes=[
                Mount("/api/v1", routes=[*recorded, *fleetwide, *versioned], middleware=[guard]),
                Route("/hooks/git", GitHook(control, webhook_secret).receive, methods=["POST"]),
                Route("/healthz", _healthz),
                Route("/readyz", _readyz(control)),
                Route("/metrics", _metrics(registry)),
            ],
            exception_handlers={FelloeError: on_felloe_error, HTTPException: on_http_exception, Exception: on_bug},
        )


def _versioned(
    actions: Actions, explanations: Explanations, adoption: Adoption, diffs: Diffs, lists: Lists
) -> list[BaseRoute]:
    workload = "/workloads/{namespace}/{name}"
    return [
        Route("/events", lists.events),
        Route("/tokens", actions.create_token, methods=["POST"]),
        Route("/clusters/{name}/adopt/flux", adoption.plan),
        Route("/clusters/{name}/adopt/flux", adoption.act, methods=["POST"]),
        Route("/clusters/{name}/revoke", actions.revoke_cluster, methods=["POST"]),
        Route("/clusters/{name}/remove", actions.remove_cluster, methods=["POST"]),
        Route("/clusters/{name}/diff", diffs.diff),
        Route("/clusters/{name}/render", actions.render),
        Route("/clusters/{name}/explain/placements/{placement}", explanations.placement),
        Route("/clusters/{name}/explain/variables/{variable}", explanations.variable),
        Route("/sources/{namespace}/{name}/reconcile", actions.reconcile_source, methods=["POST"]),
        Route(f"{workload}/reconcile", actions.reconcile_workload, methods=["POST"]),
        Route(f"{workload}/approve-prune", actions.approve_prune, methods=["POST"]),
        Route(f"{workload}/suspend", actions.suspend_workload, methods=["POST"]),
        Route(f"{workload}/resume", actions.resume_workload, methods=["POST"]),
        Route("/{collection}", lists.resources),
    ]


def _fleetwide(overview: Overview, forecasts: Forecasts, rollouts: Rollouts) -> list[BaseRoute]:
    return [
        Route("/fleet", overview.fleet),
        Route("/top", overview.top),
        Route("/plan", forecasts.plan, methods=["POST"]),
        Route("/promotions", rollouts.promote, methods=["POST"]),
        Route("/rollouts/{name}/{act}", rollouts.act, methods=["POST"]),
    ]


def _recorded(access: Access, records: Records) -> list[BaseRoute]:
    return [
        Route("/audit", records.audit),
        Route("/history", records.history),
        Route("/whoami", access.whoami),
        Route("/credentials", access.listed),
        Route("/credentials", access.create, methods=["POST"]),
        Route("/credentials/{name}/revoke", access.revoke, methods=["POST"]),
    ]


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _readyz(control: Control) -> Callable[[Request], Awaitable[Response]]:
    async def readyz(request: Request) -> Response:
        unready = control.unready()
        if unready:
            return PlainTextResponse("".join(f"{reason}\n" for reason in unready), 503)
        return PlainTextResponse("ok\n")

    return readyz


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
