"""Another user of the API server, in its own process: one small GET every 50 ms on a warm connection, or `kubectl get`.

``python -m bench.prober KUBECONFIG`` prints an empty line once it is ready, runs until its standard input ends and then
prints, as JSON, a list of pairs: when each GET began (seconds since 1970) and how long it took (seconds). With
``--kubectl PROGRAM`` it runs `kubectl get configmap` instead, again and again, and takes the time from the start of
each process to its end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from bench import raw

_EVERY_SECONDS = 0.05
_BETWEEN_PROCESSES_SECONDS = 0.1
_PATH = "/api/v1/namespaces/default"
_NAME = "kube-root-ca.crt"
"""A ConfigMap that is in every namespace."""


class Sample(NamedTuple):
    """One GET: when it began (seconds since 1970) and how long it took (seconds)."""

    at: float
    seconds: float


class Prober:
    """What a prober measured; `samples` is filled when it has ended."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def between(self, begin: float, end: float) -> list[float]:
        """Return the latencies of the GETs that began in a span of time."""
        return [sample.seconds for sample in self.samples if begin <= sample.at < end]


@contextmanager
def probing(
    kubeconfig: Path, kubectl: Path | None = None, started: Callable[[int], None] = lambda pid: None
) -> Iterator[Prober]:
    """Measure for as long as the context; the prober's samples are there after it. `started` takes its process id."""
    argv = [sys.executable, "-m", "bench.prober", str(kubeconfig), *(["--kubectl", str(kubectl)] if kubectl else [])]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    started(process.pid)
    prober = Prober()
    try:
        if process.stdout is not None:
            process.stdout.readline()
        yield prober
    finally:
        output, _ = process.communicate()
        prober.samples += [Sample(*pair) for pair in json.loads(output or b"[]")]


def main(arguments: Sequence[str]) -> None:
    """Measure until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.prober", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--kubectl", type=Path)
    options = parser.parse_args(arguments)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    if options.kubectl:
        samples = _run_kubectl(options.kubeconfig, options.kubectl, ended)
    else:
        samples = _get(options.kubeconfig, ended)
    json.dump(samples, sys.stdout)


def _get(kubeconfig: Path, ended: threading.Event) -> list[Sample]:
    server, context = raw.access(yaml.safe_load(kubeconfig.read_text()))
    connection = http.client.HTTPSConnection(urlsplit(server).netloc, context=context)

    def get() -> None:
        connection.request("GET", _PATH, headers={"User-Agent": "bench-prober"})
        connection.getresponse().read()

    return _timed(get, ended, _EVERY_SECONDS)


def _run_kubectl(kubeconfig: Path, kubectl: Path, ended: threading.Event) -> list[Sample]:
    argv = [str(kubectl), f"--kubeconfig={kubeconfig}", "get", "configmap", _NAME, "--namespace=default"]
    with tempfile.TemporaryDirectory(prefix="felloe-kubectl-") as home:  # where it keeps what the API server serves
        environment = {**os.environ, "HOME": home, "NO_PROXY": "127.0.0.1"}

        def run() -> None:
            subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)

        return _timed(run, ended, _BETWEEN_PROCESSES_SECONDS)


def _timed(work: Callable[[], None], ended: threading.Event, pause: float) -> list[Sample]:
    work()
    print(flush=True)
    samples = []
    while not ended.wait(pause):
        at, begin = time.time(), time.perf_counter()
        work()
        samples.append(Sample(at, time.perf_counter() - begin))
    return samples


if __name__ == "__main__":
    main(sys.argv[1:])
