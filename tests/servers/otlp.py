"""A receiver of OTLP/HTTP traces as a process: `python -m tests.servers.otlp FOLDER`.

It listens on a free port of the loopback interface and writes the port to ``FOLDER/port``, what it is sent to
``FOLDER/exports.bin``, and then every span of that as one line of JSON to ``FOLDER/spans.jsonl``.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

Span = dict[str, Any]


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    """Return the spans of an export, flattened."""
    return [
        {
            "service": next((_value(a.value) for a in group.resource.attributes if a.key == "service.name"), ""),
            "name": span.name,
            "trace": span.trace_id.hex(),
            "span": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "links": [link.span_id.hex() for link in span.links],
            "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            "start": span.start_time_unix_nano / 1e9,
            "failed": span.status.code == span.status.STATUS_CODE_ERROR,
            "attributes": {a.key: _value(a.value) for a in span.attributes},
        }
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a receiver as a process of its own that writes into `folder`; yield its endpoint."""
    process = subprocess.Popen([sys.executable, "-m", "tests.servers.otlp", str(folder)])
    try:
        deadline = time.monotonic() + 30
        while not (folder / "port").exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver of traces does not listen")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{(folder / 'port').read_text()}"
    finally:
        process.kill()
        process.wait()


def received(folder: Path) -> list[Span]:
    """Return what the receiver of a folder has got so far."""
    path = folder / "spans.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def main(folder: Path) -> None:
    """Serve until the process is ended."""
    output = (folder / "spans.jsonl").open("a", buffering=1)
    exports = (folder / "exports.bin").open("ab", buffering=0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            exports.write(body)
            for span in spans_of(ExportTraceServiceRequest.FromString(body)):
                output.write(json.dumps(span) + "\n")
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class'
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = folder / "port.part"
    port.write_text(str(server.server_port))
    port.rename(folder / "port")
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
