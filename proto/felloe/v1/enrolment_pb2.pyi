import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinToken(_message.Message):
    __slots__ = ("id", "secret", "ca_sha256", "ca_certificate", "bootstrap_certificate", "bootstrap_key", "cluster", "not_after")
    ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    CA_SHA256_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_KEY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    id: str
    secret: bytes
    ca_sha256: bytes
    ca_certificate: bytes
    bootstrap_certificate: bytes
    bootstrap_key: bytes
    cluster: str
    not_after: float
    def __init__(self, id: _Optional[str] = ..., secret: _Optional[bytes] = ..., ca_sha256: _Optional[bytes] = ..., ca_certificate: _Optional[bytes] = ..., bootstrap_certificate: _Optional[bytes] = ..., bootstrap_key: _Optional[bytes] = ..., cluster: _Optional[str] = ..., not_after: _Optional[float] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("token_id", "token_secret", "csr")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SECRET_FIELD_NUMBER: _ClassVar[int]
    CSR_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    token_secret: bytes
    csr: bytes
    def __init__(self, token_id: _Optional[str] = ..., token_secret: _Optional[bytes] = ..., csr: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("csr",)
    CSR_FIELD_NUMBER: _ClassVar[int]
    csr: bytes
    def __init__(self, csr: _Optional[bytes] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("certificate", "ca_certificates", "cluster", "not_after")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    ca_certificates: _containers.RepeatedScalarFieldContainer[bytes]
    cluster: str
    not_after: _timestamp_pb2.Timestamp
    def __init__(self, certificate: _Optional[bytes] = ..., ca_certificates: _Optional[_Iterable[bytes]] = ..., cluster: _Optional[str] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
