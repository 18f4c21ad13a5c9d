from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.unit.hub.api.inmemory import InMemoryHub, Served, fill, make_certificates, served


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def data(tmp_path: Path, certificates: Path) -> Path:
    for file in certificates.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest_asyncio.fixture
async def running(data: Path) -> AsyncIterator[Served]:
    hub = InMemoryHub()
    fill(hub)
    async with served(hub, data, heartbeat=0.05) as one:
        yield one


@pytest_asyncio.fixture
async def anyone(running: Served) -> AsyncIterator[httpx.AsyncClient]:
    trust = ssl.create_default_context(cadata=running.ca)
    async with httpx.AsyncClient(base_url=running.url, verify=trust, trust_env=False, timeout=10) as client:
        yield client


@pytest_asyncio.fixture
async def admin(running: Served, anyone: httpx.AsyncClient) -> httpx.AsyncClient:
    token = yaml.safe_load(running.credential.read_text())["token"]
    anyone.headers["Authorization"] = f"Bearer {token}"
    return anyone
