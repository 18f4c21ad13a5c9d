from felloe.v1 import bundle_pb2 as _bundle_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FluxAdoption(_message.Message):
    __slots__ = ("action", "leftovers", "frozen")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[FluxAdoption.Action]
        ACTION_PLAN: _ClassVar[FluxAdoption.Action]
        ACTION_ADOPT: _ClassVar[FluxAdoption.Action]
        ACTION_UNDO_PLAN: _ClassVar[FluxAdoption.Action]
        ACTION_UNDO: _ClassVar[FluxAdoption.Action]
    ACTION_UNSPECIFIED: FluxAdoption.Action
    ACTION_PLAN: FluxAdoption.Action
    ACTION_ADOPT: FluxAdoption.Action
    ACTION_UNDO_PLAN: FluxAdoption.Action
    ACTION_UNDO: FluxAdoption.Action
    class Leftovers(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEFTOVERS_UNSPECIFIED: _ClassVar[FluxAdoption.Leftovers]
        LEFTOVERS_KEEP: _ClassVar[FluxAdoption.Leftovers]
        LEFTOVERS_PRUNE: _ClassVar[FluxAdoption.Leftovers]
    LEFTOVERS_UNSPECIFIED: FluxAdoption.Leftovers
    LEFTOVERS_KEEP: FluxAdoption.Leftovers
    LEFTOVERS_PRUNE: FluxAdoption.Leftovers
    ACTION_FIELD_NUMBER: _ClassVar[int]
    LEFTOVERS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    action: FluxAdoption.Action
    leftovers: FluxAdoption.Leftovers
    frozen: bool
    def __init__(self, action: _Optional[_Union[FluxAdoption.Action, str]] = ..., leftovers: _Optional[_Union[FluxAdoption.Leftovers, str]] = ..., frozen: _Optional[bool] = ...) -> None: ...

class FluxRow(_message.Message):
    __slots__ = ("namespace", "name", "fate", "why", "revision", "workloads", "moving", "left", "own")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    MOVING_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    fate: str
    why: str
    revision: str
    workloads: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.WorkloadId]
    moving: int
    left: _containers.RepeatedCompositeFieldContainer[_bundle_pb2.ObjectId]
    own: int
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., fate: _Optional[str] = ..., why: _Optional[str] = ..., revision: _Optional[str] = ..., workloads: _Optional[_Iterable[_Union[_bundle_pb2.WorkloadId, _Mapping]]] = ..., moving: _Optional[int] = ..., left: _Optional[_Iterable[_Union[_bundle_pb2.ObjectId, _Mapping]]] = ..., own: _Optional[int] = ...) -> None: ...

class FluxAnswer(_message.Message):
    __slots__ = ("row", "unmatched", "done")
    ROW_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    row: FluxRow
    unmatched: _bundle_pb2.WorkloadId
    done: str
    def __init__(self, row: _Optional[_Union[FluxRow, _Mapping]] = ..., unmatched: _Optional[_Union[_bundle_pb2.WorkloadId, _Mapping]] = ..., done: _Optional[str] = ...) -> None: ...
