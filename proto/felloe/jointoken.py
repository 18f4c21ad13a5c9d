"""The join token as text: what `felloe token create` prints and `felloe spoke run --token` takes.

It holds a secret: whoever has it can join as its cluster, once. Nothing here puts it into a message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from google.protobuf.message import DecodeError

from felloe.errors import EnrolmentError
from felloe.v1 import enrolment_pb2 as pb

PREFIX: Final = "felloe1."
"""Names the form of the token, so that a later one is told apart."""


def encode_token(token: pb.JoinToken) -> str:
    """Return the token's text: the prefix and the message in base64url without padding."""
    return PREFIX + base64.urlsafe_b64encode(token.SerializeToString()).rstrip(b"=").decode()


def decode_token(text: str) -> pb.JoinToken:
    """Return the token of a text; blanks around it are ignored. Raise EnrolmentError where it is none or incomplete."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise EnrolmentError(f"the join token does not begin with {PREFIX!r}: pass what `felloe token create` printed")
    body = text.removeprefix(PREFIX)
    try:
        token = pb.JoinToken.FromString(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, DecodeError):
        raise EnrolmentError("the join token is damaged: pass all of what `felloe token create` printed") from None
    empty = [field.name for field in pb.JoinToken.DESCRIPTOR.fields if not getattr(token, field.name)]
    if empty or hashlib.sha256(token.ca_certificate).digest() != token.ca_sha256:
        raise EnrolmentError("the join token is incomplete: make another with `felloe token create`")
    return token
