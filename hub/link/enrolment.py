"""Join tokens and certificates: who becomes a member of the fleet, and stays one.

The decisions here are the store's transactions; this module turns them into certificates and into refusals that a
person can act on. No refusal says more about a token than its holder knows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

import grpc

from felloe.errors import ConfigError, EnrolmentError
from felloe.jointoken import encode_token
from felloe.labels import FACTS_PREFIX
from felloe.v1 import enrolment_pb2 as pb
from hub.fleet.labels import RESERVED_LABEL
from hub.pki import SKEW, Authority, Peer, Role, SignedCertificate, check_cluster_name
from hub.store import Issued, Spending, Store, Token

CERTIFICATE_LIFETIME: Final = 86400.0
MAX_TTL: Final = 30 * 86400.0


class RefusalError(EnrolmentError):
    """A peer may not do what it asked for; `code` is how gRPC says it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Enrolment:
    """Makes join tokens, spends them, renews certificates, and knows which certificates still count."""

    def __init__(
        self,
        store: Store,
        authority: Authority,
        *,
        certificate_lifetime: float = CERTIFICATE_LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`certificate_lifetime` is that of a spoke's certificate, in seconds."""
        self._store = store
        self._authority = authority
        self._lifetime = certificate_lifetime
        self._clock = clock

    def create_token(self, cluster: str, labels: Mapping[str, str], ttl: float) -> str:
        """Return a new join token for `cluster`, good once and for `ttl` seconds.

        It is the only copy: the store keeps a hash. A token for a cluster that is a member already lets a reinstalled
        spoke replace it. Raise ConfigError where the name is none, a label is reserved, or `ttl` is not within
        (0, 30 days].
        """
        check_cluster_name(cluster)
        for label in labels:
            if label.startswith(FACTS_PREFIX):
                raise ConfigError(f"{label} {RESERVED_LABEL}")
        if not 0 < ttl <= MAX_TTL:
            raise ConfigError(f"a join token can't live {ttl:g} seconds: use more than 0 and at most 30 days")
        token_id, secret = secrets.token_hex(8), secrets.token_bytes(32)
        key, certificate = self._authority.bootstrap(token_id, ttl + SKEW)  # so that the hub can say "expired" itself
        expires_at = self._clock() + ttl
        self._store.add_token(Token(token_id, sha256(secret).digest(), cluster, dict(labels), expires_at))
        return encode_token(
            pb.JoinToken(
                id=token_id,
                secret=secret,
                ca_sha256=self._authority.fingerprint,
                ca_certificate=self._authority.certificate,
                bootstrap_certificate=certificate,
                bootstrap_key=key,
                cluster=cluster,
                not_after=expires_at + SKEW,
            )
        )

    def enrol(self, peer: Peer, request: pb.EnrolRequest) -> pb.Certificate:
        """Spend a token. Raise RefusalError, or EnrolmentError where the CSR is none."""
        token = self._store.token(request.token_id)
        if peer.role is not Role.BOOTSTRAP or peer.name != request.token_id or token is None:
            raise _token_refusal(Spending.UNKNOWN)
        signed = self._authority.spoke(request.csr, token.cluster, self._lifetime)
        secret = sha256(request.token_secret).digest()
        result = self._store.spend_token(request.token_id, secret, _issued(signed), self._clock())
        if result not in (Spending.SPENT, Spending.REPEATED):
            raise _token_refusal(result)
        return self._answer(signed, token.cluster)

    def renew(self, peer: Peer, request: pb.RenewRequest) -> pb.Certificate:
        """Give a member a new certificate. Raise RefusalError, or EnrolmentError where the CSR is none."""
        cluster = self.member(peer)
        signed = self._authority.spoke(request.csr, cluster, self._lifetime)
        if not self._store.renew_certificate(peer.serial, _issued(signed)):
            raise _no_member(cluster)
        return self._answer(signed, cluster)

    def member(self, peer: Peer) -> str:
        """Return the cluster that `peer` is. Raise RefusalError where its certificate does not count, or no longer."""
        if peer.role is not Role.CLUSTER:
            raise RefusalError(
                grpc.StatusCode.PERMISSION_DENIED, "the certificate of a join token is good for enrolment only"
            )
        cluster = self._store.cluster_of_certificate(peer.serial)
        if cluster is None or cluster != peer.name:
            raise _no_member(peer.name, self._is_revoked(peer.name))
        return cluster

    def _is_revoked(self, name: str) -> bool:
        cluster = self._store.cluster(name)
        return cluster is not None and cluster.revoked

    def _answer(self, signed: SignedCertificate, cluster: str) -> pb.Certificate:
        answer = pb.Certificate(certificate=signed.der, ca_certificates=[self._authority.certificate], cluster=cluster)
        answer.not_after.FromMilliseconds(int(signed.not_after * 1000))
        return answer


def _issued(signed: SignedCertificate) -> Issued:
    return Issued(signed.serial, signed.public_key, signed.not_after)


def _no_member(cluster: str, revoked: bool = False) -> RefusalError:
    why = "was revoked" if revoked else "was replaced by a newer enrolment, or removed"
    return RefusalError(
        grpc.StatusCode.PERMISSION_DENIED,
        f"the certificate of cluster {cluster} {why}; to join again: felloe token create --cluster {cluster}",
    )


def _token_refusal(result: Spending) -> RefusalError:
    code, why = {
        Spending.EXPIRED: (grpc.StatusCode.PERMISSION_DENIED, "the join token has expired"),
        Spending.USED: (grpc.StatusCode.PERMISSION_DENIED, "the join token was used already, each is good once"),
    }.get(result, (grpc.StatusCode.UNAUTHENTICATED, "this hub does not know the join token, or withdrew it"))
    return RefusalError(code, f"{why}; make another with `felloe token create`")
