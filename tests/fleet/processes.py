"""The hub and the spokes as processes of their own, and the `felloe` command against them."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.processes import Process, ProcessKeeper

FELLOE = (sys.executable, "-m", "felloe")
Resource = dict[str, Any]


class CommandError(AssertionError):
    """The `felloe` command ended with another exit code than expected, or the hub refused a request."""


class Hub:
    """One `felloe hub serve`; its data folder outlives `stop`, `kill` and `start`, and so do its ports."""

    def __init__(
        self,
        keeper: ProcessKeeper,
        folder: Path,
        fleet: str,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._keeper = keeper
        self._fleet = fleet
        self.options = list(options)
        self.command: Sequence[str] = FELLOE
        self._environment = {**os.environ, **(environment or {})}
        self._addresses = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running process."""
        if self._process is None:
            raise AssertionError("the hub was not started")
        return self._process

    @property
    def address(self) -> str:
        """Where spokes reach it."""
        return self._addresses["grpc"]

    @property
    def url(self) -> str:
        """Where the command line and webhooks reach it."""
        return f"https://{self._addresses['http']}"

    def start(self, timeout: float = 60.0) -> Hub:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.data / "hub.json"
        ready.unlink(missing_ok=True)
        addresses = [f"--{kind}={address}" for kind, address in self._addresses.items()]
        argv = [
            *self.command,
            "hub",
            "serve",
            f"--data={self.data}",
            f"--fleet={self._fleet}",
            *addresses,
            *self.options,
        ]
        self._process = self._keeper.start("hub", argv, self.folder / "hub.log", self._environment)
        self._process.wait_until(ready.exists, "it is not ready", timeout)
        self._addresses = {kind: json.loads(ready.read_text())[kind] for kind in self._addresses}
        return self

    def stop(self) -> None:
        """End it as systemd or Kubernetes would."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.process.stop(kill=True)

    def felloe(self, *arguments: str, expect: int = 0, timeout: float = 60.0) -> str:
        """Run `felloe ARGUMENT…` against it and return what it printed; both outputs where it failed as expected."""
        done = subprocess.run(
            [*FELLOE, *arguments],
            env=self.client_environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != expect:
            raise CommandError(
                f"felloe {' '.join(arguments)}: exit {done.returncode} instead of {expect}\n"
                f"{done.stdout}{done.stderr}\n{self.process.tail()}"
            )
        return done.stdout if expect == 0 else done.stdout + done.stderr

    def client_environment(self) -> dict[str, str]:
        """The environment in which `felloe` finds this hub."""
        return {**self._environment, "FELLOE_HUB": self.url, "FELLOE_CREDENTIAL": str(self.data / "admin.yaml")}

    def get(self, kind: str, *arguments: str) -> list[Resource]:
        """Return the items of `felloe get KIND ARGUMENT… -o json`."""
        answer = json.loads(self.felloe("get", kind, *arguments, "-o", "json"))
        items: list[Resource] = answer["items"] if answer["kind"] == "List" else [answer]
        return items

    def ask(self, path: str, **params: str) -> Resource:
        """Return what GET /api/v1/PATH answers an administrator: what is asked often costs no process each time."""
        return self._request("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, object]) -> Resource:
        """Return what POST /api/v1/PATH answers an administrator; CommandError where the hub says no."""
        return self._request("POST", path, body=body)

    def _request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: object = None
    ) -> Resource:
        credential = yaml.safe_load((self.data / "admin.yaml").read_text())
        answer = httpx.request(
            method,
            f"{self.url}/api/v1/{path}",
            params=params,
            json=body,
            headers={"Authorization": f"Bearer {credential['token']}"},
            verify=ssl.create_default_context(cadata=credential["ca"]),
            trust_env=False,
            timeout=60.0,
        )
        if answer.is_error:
            raise CommandError(f"{method} {path}: {answer.status_code}: {answer.text}\n{self.process.tail()}")
        found: Resource = answer.json()
        return found

    def workload(self, cluster: str, name: str) -> Resource:
        """Return one workload of one cluster; AssertionError where there is none or more than one."""
        (found,) = (item for item in self.get("workloads", "--cluster", cluster) if item["metadata"]["name"] == name)
        return found

    def token(self, cluster: str, **labels: str) -> str:
        """Make a join token."""
        options = [f"--label={key}={value}" for key, value in labels.items()]
        return self.felloe("token", "create", f"--cluster={cluster}", *options).strip()


class Spoke:
    """One `felloe spoke run`; its state folder outlives `stop`, `kill` and `start`."""

    def __init__(
        self,
        keeper: ProcessKeeper,
        folder: Path,
        hub: str,
        kubeconfig: Path,
        token: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._keeper = keeper
        self._hub = hub
        self._kubeconfig = kubeconfig
        self._token = token
        self._environment = {**os.environ, **(environment or {})}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running process."""
        if self._process is None:
            raise AssertionError("the spoke was not started")
        return self._process

    def start(self) -> Spoke:
        """Start it; it joins, or goes on from its state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(self._token)
        argv = [
            *FELLOE,
            "spoke",
            "run",
            f"--hub={self._hub}",
            f"--token-file={token}",
            f"--kubeconfig={self._kubeconfig}",
            f"--state={self.state}",
        ]
        self._process = self._keeper.start("spoke", argv, self.folder / "spoke.log", self._environment)
        return self

    def stop(self) -> None:
        """End it as Kubernetes would."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.process.stop(kill=True)


def condition(resource: Resource, kind: str) -> Resource:
    """Return a condition of a resource; an Unknown one where it is not there."""
    conditions: list[Resource] = resource["status"].get("conditions", [])
    return next(
        (item for item in conditions if item["type"] == kind), {"status": "Unknown", "reason": "", "message": ""}
    )


def eventually(check: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Wait until `check` returns something true; an AssertionError or an API error in it means not yet."""
    deadline = time.monotonic() + timeout
    for last in _attempts(check):
        if last is None:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}; at last: {last}")
        time.sleep(0.1)


def _attempts(check: Callable[[], object]) -> Iterator[str | None]:
    """Yield, again and again, None where `check` held and what it said otherwise."""
    while True:
        try:
            result = check()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong may go right the next time
            yield f"{type(error).__name__}: {error}"
        else:
            yield None if result else repr(result)
