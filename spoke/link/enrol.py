"""Joining the fleet: from a join token to a certificate of one's own.

The hub is checked before anything secret is sent: its certificate must come from the CA whose hash the token carries.
The key is made here, never leaves the machine, and stays the same until the answer is on disk, so that a lost answer
can be asked for again within the token's time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from typing import Final

from grpc import aio

from felloe.errors import EnrolmentError, LinkError
from felloe.jointoken import decode_token
from felloe.v1 import enrolment_pb2 as pb
from felloe.v1 import enrolment_pb2_grpc
from spoke.keys import NewKey, new_key
from spoke.link.backoff import Backoff
from spoke.link.channel import link_error, open_channel
from spoke.state.identity import Identity, IdentityStore, certificate_pem, pem

log = logging.getLogger(__name__)

_TRY: Final = 20.0
_WRONG_NAME: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_WRONG_TIME: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


async def enrol(
    token_text: str, hub: str, identities: IdentityStore, *, patience: float = 600.0, backoff: Backoff | None = None
) -> Identity:
    """Spend a join token at `hub` (HOST:PORT) and return the identity, which is on disk then.

    A hub that can't be reached is tried again for `patience` seconds. Raise EnrolmentError where the token or the
    hub is not the right one, LinkError where the patience ran out, StoreError where the disk refuses.
    """
    token = decode_token(token_text)
    backoff = backoff or Backoff()
    deadline = time.monotonic() + patience
    while True:
        try:
            await check_hub(hub, token)
            return await _enrol_once(token, hub, identities)
        except EnrolmentError:
            raise
        except LinkError as error:
            wait = backoff.next()
            if time.monotonic() + wait > deadline:
                raise
            log.warning("can't join yet, next try in %.1f s: %s", wait, error)
            await asyncio.sleep(wait)


async def check_hub(hub: str, token: pb.JoinToken) -> None:
    """Make sure that `hub` is the one that the token is for, telling it nothing before that is sure.

    Raise EnrolmentError where it shows another certificate or speaks no TLS, LinkError where it can't be reached.
    """
    host, port = split_address(hub)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=token.ca_certificate)
    _present(context, _bootstrap(token))
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_TRY):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        raise EnrolmentError(_wrong_certificate(hub, token, error)) from None
    except ssl.SSLError as error:
        raise EnrolmentError(f"{hub} does not speak TLS as a hub does ({error.reason}): is it the gRPC port?") from None
    except (OSError, TimeoutError) as error:
        raise LinkError(f"the hub {hub} can't be reached: {error or 'no answer'}") from error
    writer.transport.abort()


def _bootstrap(token: pb.JoinToken) -> tuple[str, str]:
    """Return (key, certificate) of a token, PEM. Raise EnrolmentError where it has expired."""
    if time.time() > token.not_after:
        raise EnrolmentError("the join token has expired; make another with `felloe token create`")
    return pem("PRIVATE KEY", token.bootstrap_key), certificate_pem(token.bootstrap_certificate)


def _present(context: ssl.SSLContext, bootstrap: tuple[str, str]) -> None:
    """Let the handshake end well for the right hub: TLS shows it the bootstrap certificate once it has proved itself.

    The ssl module takes files only, so this one lives in memory (Linux' memfd).
    """
    with os.fdopen(os.memfd_create("bootstrap", os.MFD_CLOEXEC), "wb") as file:
        file.write("".join(bootstrap).encode())
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        except ssl.SSLError:
            raise EnrolmentError("the join token is damaged: make another with `felloe token create`") from None


def _wrong_certificate(hub: str, token: pb.JoinToken, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAME:
        return (
            f"{hub} presents a certificate of the right hub that is not for this name ({error.verify_message}):"
            " use a name that the hub was started with, or start it with --advertise"
        )
    if error.verify_code in _WRONG_TIME:
        return f"the certificate of {hub} is not valid now ({error.verify_message}): compare the clocks"
    return (
        f"{hub} presents a certificate of another CA; the token is for the hub with CA sha256:{token.ca_sha256.hex()}:"
        " use the address of that hub, or a token of this one"
    )


async def _enrol_once(token: pb.JoinToken, hub: str, identities: IdentityStore) -> Identity:
    key = identities.pending()
    if key is None:
        key = await new_key()
        identities.save_pending(key)
    ca = certificate_pem(token.ca_certificate)
    bootstrap_key, bootstrap = _bootstrap(token)
    channel = open_channel(hub, ca=ca.encode(), key=bootstrap_key.encode(), certificate=bootstrap.encode())
    request = pb.EnrolRequest(token_id=token.id, token_secret=token.secret, csr=key.csr)
    asked_at = time.time()
    try:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)  # type: ignore[no-untyped-call]
        answer: pb.Certificate = await stub.Enrol(request, timeout=_TRY)
    except aio.AioRpcError as error:
        raise link_error(hub, error) from None
    finally:
        await channel.close(None)
    identity = _identity(answer, key, hub, asked_at, token.id)
    identities.save(identity)
    return identity


async def renew(channel: aio.Channel, identity: Identity) -> Identity:
    """Return the next identity, with a new key; saving it is up to the caller. Raise LinkError, EnrolmentError."""
    key = await new_key()
    asked_at = time.time()
    try:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)  # type: ignore[no-untyped-call]
        answer = await stub.Renew(pb.RenewRequest(csr=key.csr), timeout=_TRY)
    except aio.AioRpcError as error:
        raise link_error(identity.hub, error) from None
    if answer.cluster != identity.cluster:
        raise EnrolmentError(f"the hub {identity.hub} answered with a certificate of another cluster")
    return _identity(answer, key, identity.hub, asked_at, identity.token)


def _identity(answer: pb.Certificate, key: NewKey, hub: str, asked_at: float, token: str) -> Identity:
    return Identity(
        hub=hub,
        cluster=answer.cluster,
        key=key.pem,
        certificate=certificate_pem(answer.certificate),
        ca="".join(certificate_pem(der) for der in answer.ca_certificates),
        issued_at=asked_at,
        not_after=answer.not_after.ToMilliseconds() / 1000,
        token=token,
    )


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT or [IPV6]:PORT. Raise EnrolmentError where it is neither."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise EnrolmentError(f"{address!r} is no hub address: write HOST:PORT")
    return host.strip("[]"), int(port)
