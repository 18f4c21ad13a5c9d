from felloe.v1 import bundle_pb2 as _bundle_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Change(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_UNSPECIFIED: _ClassVar[Change]
    CHANGE_CREATE: _ClassVar[Change]
    CHANGE_UPDATE: _ClassVar[Change]
    CHANGE_DELETE: _ClassVar[Change]
    CHANGE_SKIPPED: _ClassVar[Change]
    CHANGE_FAILED: _ClassVar[Change]
    CHANGE_RECREATE: _ClassVar[Change]
CHANGE_UNSPECIFIED: Change
CHANGE_CREATE: Change
CHANGE_UPDATE: Change
CHANGE_DELETE: Change
CHANGE_SKIPPED: Change
CHANGE_FAILED: Change
CHANGE_RECREATE: Change

class DiffQuestion(_message.Message):
    __slots__ = ("workload", "instead")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    INSTEAD_FIELD_NUMBER: _ClassVar[int]
    workload: _bundle_pb2.WorkloadId
    instead: Instead
    def __init__(self, workload: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., instead: _Optional[_Union[Instead, _Mapping]] = ...) -> None: ...

class Instead(_message.Message):
    __slots__ = ("base_root", "changed", "removed", "blobs")
    BASE_ROOT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    base_root: bytes
    changed: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.Workload]
    removed: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.WorkloadId]
    blobs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, base_root: _Optional[bytes] = ..., changed: _Optional[_Iterable[_Union[_bundle_pb2.Workload, _Mapping]]] = ..., removed: _Optional[_Iterable[_Union[_bundle_pb2.WorkloadId, _Mapping]]] = ..., blobs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("object", "workload")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    object: ObjectDifference
    workload: WorkloadDifference
    def __init__(self, object: _Optional[_Union[ObjectDifference, _Mapping]] = ..., workload: _Optional[_Union[WorkloadDifference, _Mapping]] = ...) -> None: ...

class ObjectDifference(_message.Message):
    __slots__ = ("workload", "id", "api_version", "change", "diff", "message")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    workload: _bundle_pb2.WorkloadId
    id: _bundle_pb2.ObjectId
    api_version: str
    change: Change
    diff: str
    message: str
    def __init__(self, workload: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., id: _Optional[_Union[_bundle_pb2.ObjectId, _Mapping]] = ..., api_version: _Optional[str] = ..., change: _Optional[_Union[Change, str]] = ..., diff: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class WorkloadDifference(_message.Message):
    __slots__ = ("id", "objects", "same", "left_out", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: _bundle_pb2.WorkloadId
    objects: int
    same: int
    left_out: int
    message: str
    def __init__(self, id: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., objects: _Optional[int] = ..., same: _Optional[int] = ..., left_out: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
