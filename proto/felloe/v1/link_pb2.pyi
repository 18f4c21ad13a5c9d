from felloe.v1 import bundle_pb2 as _bundle_pb2
from felloe.v1 import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROTOCOL_UNSPECIFIED: _ClassVar[Protocol]
    PROTOCOL_1: _ClassVar[Protocol]
PROTOCOL_UNSPECIFIED: Protocol
PROTOCOL_1: Protocol

class SpokeMessage(_message.Message):
    __slots__ = ("hello", "need", "credit", "ack", "nack", "status", "answer", "answer_end")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    NACK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_END_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    need: Need
    credit: Credit
    ack: Ack
    nack: Nack
    status: _status_pb2.ClusterStatus
    answer: Part
    answer_end: AnswerEnd
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., need: _Optional[_Union[Need, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., nack: _Optional[_Union[Nack, _Mapping]] = ..., status: _Optional[_Union[_status_pb2.ClusterStatus, _Mapping]] = ..., answer: _Optional[_Union[Part, _Mapping]] = ..., answer_end: _Optional[_Union[AnswerEnd, _Mapping]] = ...) -> None: ...

class HubMessage(_message.Message):
    __slots__ = ("welcome", "offer", "piece", "status_received", "query", "question", "answer_credit", "query_cancel", "traceparent")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    STATUS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_CREDIT_FIELD_NUMBER: _ClassVar[int]
    QUERY_CANCEL_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    offer: Offer
    piece: Piece
    status_received: StatusReceived
    query: Query
    question: Part
    answer_credit: AnswerCredit
    query_cancel: QueryCancel
    traceparent: str
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., offer: _Optional[_Union[Offer, _Mapping]] = ..., piece: _Optional[_Union[Piece, _Mapping]] = ..., status_received: _Optional[_Union[StatusReceived, _Mapping]] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., question: _Optional[_Union[Part, _Mapping]] = ..., answer_credit: _Optional[_Union[AnswerCredit, _Mapping]] = ..., query_cancel: _Optional[_Union[QueryCancel, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "spoke_version", "epoch", "generation", "root", "credit", "facts", "instance", "queries")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SPOKE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    spoke_version: str
    epoch: int
    generation: int
    root: bytes
    credit: int
    facts: _containers.ScalarMap[str, str]
    instance: str
    queries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol: _Optional[int] = ..., spoke_version: _Optional[str] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., root: _Optional[bytes] = ..., credit: _Optional[int] = ..., facts: _Optional[_Mapping[str, str]] = ..., instance: _Optional[str] = ..., queries: _Optional[_Iterable[str]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "hub_version", "epoch", "cluster", "heartbeat")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HUB_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    hub_version: str
    epoch: int
    cluster: str
    heartbeat: float
    def __init__(self, protocol: _Optional[int] = ..., hub_version: _Optional[str] = ..., epoch: _Optional[int] = ..., cluster: _Optional[str] = ..., heartbeat: _Optional[float] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("epoch", "generation", "root", "base_root", "size")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    BASE_ROOT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    root: bytes
    base_root: bytes
    size: int
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., root: _Optional[bytes] = ..., base_root: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class ManifestDelta(_message.Message):
    __slots__ = ("changed", "removed", "approved_prunes")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    APPROVED_PRUNES_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.Workload]
    removed: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.WorkloadId]
    approved_prunes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changed: _Optional[_Iterable[_Union[_bundle_pb2.Workload, _Mapping]]] = ..., removed: _Optional[_Iterable[_Union[_bundle_pb2.WorkloadId, _Mapping]]] = ..., approved_prunes: _Optional[_Iterable[str]] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("epoch", "generation", "manifest", "objects", "last")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    manifest: bytes
    objects: bytes
    last: bool
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., manifest: _Optional[bytes] = ..., objects: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class ObjectBatch(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[ObjectPart]
    def __init__(self, parts: _Optional[_Iterable[_Union[ObjectPart, _Mapping]]] = ...) -> None: ...

class ObjectPart(_message.Message):
    __slots__ = ("digest", "offset", "size", "data")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    offset: int
    size: int
    data: bytes
    def __init__(self, digest: _Optional[bytes] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Need(_message.Message):
    __slots__ = ("generation", "wants")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    WANTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    wants: _containers.RepeatedCompositeFieldContainer[Want]
    def __init__(self, generation: _Optional[int] = ..., wants: _Optional[_Iterable[_Union[Want, _Mapping]]] = ...) -> None: ...

class Want(_message.Message):
    __slots__ = ("digest", "offset")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    offset: int
    def __init__(self, digest: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("epoch", "generation", "root")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    root: bytes
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., root: _Optional[bytes] = ...) -> None: ...

class Nack(_message.Message):
    __slots__ = ("generation", "root", "digest", "message")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    root: bytes
    digest: bytes
    message: str
    def __init__(self, generation: _Optional[int] = ..., root: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., message: _Optional[str] = ...) -> None: ...

class StatusReceived(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("id", "name", "timeout", "credit")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    timeout: float
    credit: int
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., timeout: _Optional[float] = ..., credit: _Optional[int] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("id", "data", "whole")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    id: int
    data: bytes
    whole: bool
    def __init__(self, id: _Optional[int] = ..., data: _Optional[bytes] = ..., whole: _Optional[bool] = ...) -> None: ...

class AnswerCredit(_message.Message):
    __slots__ = ("id", "bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    bytes: int
    def __init__(self, id: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class QueryCancel(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class AnswerEnd(_message.Message):
    __slots__ = ("id", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    error: str
    def __init__(self, id: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...
