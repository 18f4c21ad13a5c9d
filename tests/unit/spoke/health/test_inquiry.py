"""When the cluster is asked why something is unhealthy, and when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from felloe.identity import ObjectId
from spoke.health import Health, HealthStatus
from spoke.health.inquiry import Inquiries
from spoke.kube.client import KubeClient
from spoke.kube.discovery import Discovery
from tests.spoke.apiserver import serving, status

WEB = ObjectId("apps", "Deployment", "shop", "web")
CLAIM = ObjectId("", "PersistentVolumeClaim", "shop", "data")
WAITS = Health(HealthStatus.IN_PROGRESS, "LessAvailable", "0 of 2 replicas available")
FINE = Health(HealthStatus.CURRENT, "Current", "2 of 2 replicas available")
PULL = {"name": "main", "ready": False, "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}


class Server:
    """Answers as an API server with one Deployment, its pods and events, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pages: list[list[dict[str, object]]] = [[pod("web-a"), pod("web-b")]]
        self.forbidden = False
        self.told: list[ObjectId] = []
        self.looked: list[object] = []
        self.news = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path.endswith(("/api", "/apis", "/api/v1", "/apis/apps/v1")):
            return web.json_response(self._discovery(request.path))
        self.asked.append(request.path.rpartition("/")[2])
        if request.path.endswith("/pods"):
            if self.forbidden:
                return status(403, "Forbidden", "pods is forbidden")
            assert request.query["labelSelector"] == "app=web"
            page = int(request.query.get("continue", "0"))
            more = {"continue": str(page + 1)} if page + 1 < len(self.pages) else {}
            return web.json_response({"metadata": more, "items": self.pages[page]})
        if request.path.endswith("/events"):
            about = request.query["fieldSelector"]
            event = {"type": "Warning", "reason": "Failed", "message": f"of {about}", "lastTimestamp": "2026"}
            return web.json_response({"metadata": {}, "items": [event]})
        return web.json_response({"metadata": {"uid": "u"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}})

    def _discovery(self, path: str) -> object:
        def kind(plural: str, name: str) -> dict[str, object]:
            return {"name": plural, "kind": name, "namespaced": True, "verbs": ["get", "list", "watch", "patch"]}

        core, apps = [kind("persistentvolumeclaims", "PersistentVolumeClaim")], [kind("deployments", "Deployment")]
        group = {"version": "v1", "groupVersion": "apps/v1"}
        return {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "groups": [{"name": "apps", "versions": [group], "preferredVersion": group}],
            },
            "/api/v1": {"groupVersion": "v1", "resources": core},
            "/apis/apps/v1": {"groupVersion": "apps/v1", "resources": apps},
        }[path]

    def tell(self, identity: ObjectId) -> None:
        self.told.append(identity)
        self.news.set()


def pod(name: str, *, ready: bool = False) -> dict[str, object]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [] if ready else [PULL]}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": status}


class Asking:
    """Inquiries of one workload, which asks with its own client."""

    def __init__(self, client: KubeClient, inquiries: Inquiries) -> None:
        self._client = client
        self._inquiries = inquiries
        self.explained = inquiries.explained
        self.run = inquiries.run

    def noted(self, identity: ObjectId, health: Health | None) -> None:
        self._inquiries.noted(identity, health, self._client)


@asynccontextmanager
async def asking(server: Server, first_seconds: float = 0.01) -> AsyncIterator[Asking]:
    async with serving(server) as client:
        inquiries = Asking(
            client,
            Inquiries(
                Discovery(client), server.tell, lambda *seen: server.looked.append(seen), first_seconds=first_seconds
            ),
        )
        task = asyncio.create_task(inquiries.run())
        try:
            async with asyncio.timeout(30):
                yield inquiries
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_the_pod_and_its_last_event_are_told() -> None:
    server = Server()
    async with asking(server) as inquiries:
        inquiries.noted(WEB, WAITS)
        await server.news.wait()
        assert inquiries.explained(WEB, WAITS).message == (
            "0 of 2 replicas available; pod web-a and 1 more: container main: ErrImagePull: no such image; "
            "event Failed: of involvedObject.uid=uid-web-a,type=Warning"
        )
        assert server.told == [WEB]
        # Taken in anew: an unschedulable pod, for one, is judged by its age.
        assert server.looked[0] == (
            WEB,
            {"metadata": {"uid": "u"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}},
        )
        assert server.asked[:3] == ["web", "pods", "events"]
        inquiries.noted(WEB, FINE)
        assert inquiries.explained(WEB, WAITS) == WAITS


async def test_what_stays_unhealthy_is_asked_about_again() -> None:
    server = Server()
    async with asking(server) as inquiries:
        inquiries.noted(WEB, WAITS)
        await server.news.wait()
        server.news.clear()
        server.pages = [[pod("web-c")]]
        await server.news.wait()
        assert "pod web-c: " in inquiries.explained(WEB, WAITS).message


async def test_without_pods_the_events_of_the_object_itself_tell() -> None:
    server = Server()
    server.pages = [[]]
    async with asking(server) as inquiries:
        inquiries.noted(CLAIM, WAITS)
        await server.news.wait()
        assert inquiries.explained(CLAIM, WAITS).message.endswith("event Failed: of involvedObject.uid=u,type=Warning")
        assert server.asked[:2] == ["data", "events"]


async def test_the_pod_in_trouble_is_found_behind_many_that_are_fine() -> None:
    server = Server()
    server.pages = [[pod("web-1", ready=True)], [pod("web-2", ready=True)], [pod("web-3")]]
    async with asking(server) as inquiries:
        inquiries.noted(WEB, WAITS)
        await server.news.wait()
        assert "pod web-3: " in inquiries.explained(WEB, WAITS).message


async def test_what_is_healthy_gone_or_healthy_again_in_time_is_not_asked_about() -> None:
    server = Server()
    async with asking(server, first_seconds=0.2) as inquiries:
        inquiries.noted(WEB, FINE)
        inquiries.noted(CLAIM, WAITS)
        inquiries.noted(ObjectId("", "ConfigMap", "shop", "a"), WAITS)
        inquiries.noted(CLAIM, None)
        inquiries.noted(WEB, WAITS)
        inquiries.noted(WEB, FINE)
        await asyncio.sleep(0.5)
    assert server.asked == []


async def test_pods_that_must_not_be_listed_are_not_asked_for_again_and_again() -> None:
    server = Server()
    server.forbidden = True
    async with asking(server) as inquiries:
        inquiries.noted(WEB, WAITS)
        while server.asked.count("pods") < 1:  # noqa: ASYNC110 (the server is asked from elsewhere)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)  # longer than the pause between two questions
        assert server.asked.count("pods") == 1
        assert inquiries.explained(WEB, WAITS) == WAITS
