import datetime

from felloe.v1 import bundle_pb2 as _bundle_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConditionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONDITION_STATUS_UNSPECIFIED: _ClassVar[ConditionStatus]
    CONDITION_STATUS_TRUE: _ClassVar[ConditionStatus]
    CONDITION_STATUS_FALSE: _ClassVar[ConditionStatus]
CONDITION_STATUS_UNSPECIFIED: ConditionStatus
CONDITION_STATUS_TRUE: ConditionStatus
CONDITION_STATUS_FALSE: ConditionStatus

class ClusterStatus(_message.Message):
    __slots__ = ("epoch", "generation", "root", "full", "workloads", "removed", "events", "facts", "traceparent", "sequence")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    root: bytes
    full: bool
    workloads: _containers.RepeatedCompositeFieldContainer[WorkloadStatus]
    removed: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.WorkloadId]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    facts: _containers.ScalarMap[str, str]
    traceparent: str
    sequence: int
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., root: _Optional[bytes] = ..., full: _Optional[bool] = ..., workloads: _Optional[_Iterable[_Union[WorkloadStatus, _Mapping]]] = ..., removed: _Optional[_Iterable[_Union[_bundle_pb2.WorkloadId, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., facts: _Optional[_Mapping[str, str]] = ..., traceparent: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("type", "status", "reason", "message", "last_transition_time")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRANSITION_TIME_FIELD_NUMBER: _ClassVar[int]
    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: _timestamp_pb2.Timestamp
    def __init__(self, type: _Optional[str] = ..., status: _Optional[_Union[ConditionStatus, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., last_transition_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkloadStatus(_message.Message):
    __slots__ = ("id", "digest", "applied_digest", "healthy_digest", "conditions", "objects", "problems", "problem_count", "received_at", "applied_at", "healthy_at", "healed", "pending_prune")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPLIED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    APPLIED_AT_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_AT_FIELD_NUMBER: _ClassVar[int]
    HEALED_FIELD_NUMBER: _ClassVar[int]
    PENDING_PRUNE_FIELD_NUMBER: _ClassVar[int]
    id: _bundle_pb2.WorkloadId
    digest: bytes
    applied_digest: bytes
    healthy_digest: bytes
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    objects: int
    problems: _containers.RepeatedCompositeFieldContainer[ObjectProblem]
    problem_count: int
    received_at: _timestamp_pb2.Timestamp
    applied_at: _timestamp_pb2.Timestamp
    healthy_at: _timestamp_pb2.Timestamp
    healed: int
    pending_prune: PendingPrune
    def __init__(self, id: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., digest: _Optional[bytes] = ..., applied_digest: _Optional[bytes] = ..., healthy_digest: _Optional[bytes] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., objects: _Optional[int] = ..., problems: _Optional[_Iterable[_Union[ObjectProblem, _Mapping]]] = ..., problem_count: _Optional[int] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., applied_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., healthy_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., healed: _Optional[int] = ..., pending_prune: _Optional[_Union[PendingPrune, _Mapping]] = ...) -> None: ...

class PendingPrune(_message.Message):
    __slots__ = ("name", "count", "total", "objects")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    total: int
    objects: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.ObjectId]
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ..., total: _Optional[int] = ..., objects: _Optional[_Iterable[_Union[_bundle_pb2.ObjectId, _Mapping]]] = ...) -> None: ...

class ObjectProblem(_message.Message):
    __slots__ = ("id", "reason", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: _bundle_pb2.ObjectId
    reason: str
    message: str
    def __init__(self, id: _Optional[_Union[_bundle_pb2.ObjectId, _Mapping]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("time", "type", "reason", "workload", "object", "message")
    TIME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    type: str
    reason: str
    workload: _bundle_pb2.WorkloadId
    object: _bundle_pb2.ObjectId
    message: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., type: _Optional[str] = ..., reason: _Optional[str] = ..., workload: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., object: _Optional[_Union[_bundle_pb2.ObjectId, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...
