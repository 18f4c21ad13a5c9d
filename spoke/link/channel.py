"""The gRPC channel to the hub: mTLS with this spoke's certificate, trusting the hub's own CA and no other."""

from __future__ import annotations

from typing import Final

import grpc
from grpc import aio

from felloe.errors import EnrolmentError, LinkError

OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 20_000),  # above the least interval that the hub allows (10 s)
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_receive_message_length", 256 * 1024),
    ("grpc.use_local_subchannel_pool", 1),  # a new try connects at once: the waiting is done by our own backoff
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(hub: str, *, ca: bytes, key: bytes, certificate: bytes) -> aio.Channel:
    """Return a channel to `hub` (HOST:PORT); PEM throughout. It connects with the first call."""
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return aio.secure_channel(hub, credentials, options=OPTIONS)


def link_error(hub: str, error: aio.AioRpcError) -> LinkError:
    """Return what a failed call means to a person; EnrolmentError where the hub refuses who we are."""
    details = error.details() or "no reason was given"
    code = error.code()
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT):
        return EnrolmentError(f"the hub {hub} refuses: {details}")
    if code is grpc.StatusCode.UNAVAILABLE:
        return LinkError(f"the hub {hub} is not available: {details}")
    return LinkError(f"the hub {hub} ended the call: {details} ({code.name})")
