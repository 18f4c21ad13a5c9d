"""Enrolment as a gRPC service, and who is at the other end of a call: its certificate alone decides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc
from grpc import aio

from felloe.errors import EnrolmentError, FelloeError, StoreError
from felloe.v1 import enrolment_pb2, enrolment_pb2_grpc
from hub.link.enrolment import Enrolment, RefusalError
from hub.pki import Peer, peer_of

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class EnrolmentService(enrolment_pb2_grpc.EnrolmentServicer):
    """Gives out certificates, and renews them; `enrolled` is told of each cluster that has a new one."""

    def __init__(self, enrolment: Enrolment, enrolled: Callable[[str], None]) -> None:
        self._enrolment = enrolment
        self._enrolled = enrolled

    async def Enrol(  # noqa: N802
        self,
        request: enrolment_pb2.EnrolRequest,
        context: aio.ServicerContext[enrolment_pb2.EnrolRequest, enrolment_pb2.Certificate],
    ) -> enrolment_pb2.Certificate:
        """Answer who has a join token."""
        peer = await peer_in(context)
        try:
            answer = self._enrolment.enrol(peer, request)
        except FelloeError as error:
            await _refuse(context, error)
        self._enrolled(answer.cluster)
        return answer

    async def Renew(  # noqa: N802
        self,
        request: enrolment_pb2.RenewRequest,
        context: aio.ServicerContext[enrolment_pb2.RenewRequest, enrolment_pb2.Certificate],
    ) -> enrolment_pb2.Certificate:
        """Answer who has a certificate."""
        peer = await peer_in(context)
        try:
            return self._enrolment.renew(peer, request)
        except FelloeError as error:
            await _refuse(context, error)


async def peer_in(context: aio.ServicerContext[Request, Answer]) -> Peer:
    """Return who is at the other end; the call ends here where its certificate is none of ours."""
    (certificate,) = context.auth_context().get("x509_pem_cert") or (b"",)
    try:
        return peer_of(certificate)
    except EnrolmentError as error:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))


async def _refuse(context: aio.ServicerContext[Request, Answer], error: FelloeError) -> NoReturn:
    if isinstance(error, RefusalError):
        await context.abort(error.code, str(error))
    if isinstance(error, StoreError):
        log.warning("an enrolment failed: %s", error)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the hub can't write its state")
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
