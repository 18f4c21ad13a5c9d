"""Another user of the API server: one small GET every 50 ms, as `kubectl get` on a warm connection, in its own process.

``python -m bench.prober KUBECONFIG`` runs until its standard input ends and then prints, as JSON, a list of pairs: when
each GET began (seconds since 1970) and how long it took (seconds).
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from bench import raw

_EVERY_SECONDS = 0.05
_PATH = "/api/v1/namespaces/default"


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
def probing(kubeconfig: Path) -> Iterator[Prober]:
    """Measure for as long as the context; the prober's samples are there after it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.prober", str(kubeconfig)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    prober = Prober()
    try:
        yield prober
    finally:
        output, _ = process.communicate()
        prober.samples += [Sample(*pair) for pair in json.loads(output or b"[]")]


def main(arguments: Sequence[str]) -> None:
    """Measure until standard input ends."""
    server, context = raw.access(yaml.safe_load(Path(arguments[0]).read_text()))
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    connection = http.client.HTTPSConnection(urlsplit(server).netloc, context=context)
    samples = []
    while not ended.wait(_EVERY_SECONDS):
        at, begin = time.time(), time.perf_counter()
        connection.request("GET", _PATH, headers={"User-Agent": "bench-prober"})
        connection.getresponse().read()
        samples.append((at, time.perf_counter() - begin))
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
