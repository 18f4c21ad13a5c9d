from felloe.v1 import bundle_pb2 as _bundle_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordHead(_message.Message):
    __slots__ = ("format", "hub", "highest_epoch", "epoch", "generation", "root", "traceparent", "received_at", "packs", "rest")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    format: int
    hub: bytes
    highest_epoch: int
    epoch: int
    generation: int
    root: bytes
    traceparent: str
    received_at: float
    packs: _containers.RepeatedCompositeFieldContainer[RecordPackName]
    rest: _bundle_pb2.Bundle
    def __init__(self, format: _Optional[int] = ..., hub: _Optional[bytes] = ..., highest_epoch: _Optional[int] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., root: _Optional[bytes] = ..., traceparent: _Optional[str] = ..., received_at: _Optional[float] = ..., packs: _Optional[_Iterable[_Union[RecordPackName, _Mapping]]] = ..., rest: _Optional[_Union[_bundle_pb2.Bundle, _Mapping]] = ...) -> None: ...

class RecordPackName(_message.Message):
    __slots__ = ("name", "pieces")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pieces: int
    def __init__(self, name: _Optional[str] = ..., pieces: _Optional[int] = ...) -> None: ...

class RecordPack(_message.Message):
    __slots__ = ("workloads", "objects")
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    workloads: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.Workload]
    objects: _containers.RepeatedCompositeFieldContainer[RecordedObject]
    def __init__(self, workloads: _Optional[_Iterable[_Union[_bundle_pb2.Workload, _Mapping]]] = ..., objects: _Optional[_Iterable[_Union[RecordedObject, _Mapping]]] = ...) -> None: ...

class RecordedObject(_message.Message):
    __slots__ = ("workload", "entry", "data")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    workload: _bundle_pb2.WorkloadId
    entry: _bundle_pb2.Entry
    data: bytes
    def __init__(self, workload: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., entry: _Optional[_Union[_bundle_pb2.Entry, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
