from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ObjectId(_message.Message):
    __slots__ = ("group", "kind", "namespace", "name")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    group: str
    kind: str
    namespace: str
    name: str
    def __init__(self, group: _Optional[str] = ..., kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class WorkloadId(_message.Message):
    __slots__ = ("kind", "namespace", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("id", "version", "digest", "wave", "size", "template", "ignore")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WAVE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_FIELD_NUMBER: _ClassVar[int]
    id: ObjectId
    version: str
    digest: bytes
    wave: int
    size: int
    template: bool
    ignore: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[_Union[ObjectId, _Mapping]] = ..., version: _Optional[str] = ..., digest: _Optional[bytes] = ..., wave: _Optional[int] = ..., size: _Optional[int] = ..., template: _Optional[bool] = ..., ignore: _Optional[_Iterable[str]] = ...) -> None: ...

class HealthCheck(_message.Message):
    __slots__ = ("api_version", "kind", "namespace", "name")
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    kind: str
    namespace: str
    name: str
    def __init__(self, api_version: _Optional[str] = ..., kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("id", "ready_expr")
    ID_FIELD_NUMBER: _ClassVar[int]
    READY_EXPR_FIELD_NUMBER: _ClassVar[int]
    id: WorkloadId
    ready_expr: str
    def __init__(self, id: _Optional[_Union[WorkloadId, _Mapping]] = ..., ready_expr: _Optional[str] = ...) -> None: ...

class HealthCheckExpr(_message.Message):
    __slots__ = ("api_version", "kind", "current", "failed", "in_progress")
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    IN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    kind: str
    current: str
    failed: str
    in_progress: str
    def __init__(self, api_version: _Optional[str] = ..., kind: _Optional[str] = ..., current: _Optional[str] = ..., failed: _Optional[str] = ..., in_progress: _Optional[str] = ...) -> None: ...

class ApplyOptions(_message.Message):
    __slots__ = ("prune", "wait", "suspend", "timeout", "interval", "retry_interval", "depends_on", "health_checks", "requested_at", "force", "deletion_policy", "service_account", "health_check_exprs", "drift", "prune_limit", "force_prune", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    SUSPEND_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    HEALTH_CHECKS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    DELETION_POLICY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    HEALTH_CHECK_EXPRS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    PRUNE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FORCE_PRUNE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    prune: bool
    wait: bool
    suspend: bool
    timeout: float
    interval: float
    retry_interval: float
    depends_on: _containers.RepeatedCompositeFieldContainer[Dependency]
    health_checks: _containers.RepeatedCompositeFieldContainer[HealthCheck]
    requested_at: str
    force: bool
    deletion_policy: str
    service_account: str
    health_check_exprs: _containers.RepeatedCompositeFieldContainer[HealthCheckExpr]
    drift: str
    prune_limit: float
    force_prune: bool
    labels: _containers.ScalarMap[str, str]
    def __init__(self, prune: _Optional[bool] = ..., wait: _Optional[bool] = ..., suspend: _Optional[bool] = ..., timeout: _Optional[float] = ..., interval: _Optional[float] = ..., retry_interval: _Optional[float] = ..., depends_on: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., health_checks: _Optional[_Iterable[_Union[HealthCheck, _Mapping]]] = ..., requested_at: _Optional[str] = ..., force: _Optional[bool] = ..., deletion_policy: _Optional[str] = ..., service_account: _Optional[str] = ..., health_check_exprs: _Optional[_Iterable[_Union[HealthCheckExpr, _Mapping]]] = ..., drift: _Optional[str] = ..., prune_limit: _Optional[float] = ..., force_prune: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("id", "options", "variables", "entries")
    class VariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    id: WorkloadId
    options: ApplyOptions
    variables: _containers.ScalarMap[str, str]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, id: _Optional[_Union[WorkloadId, _Mapping]] = ..., options: _Optional[_Union[ApplyOptions, _Mapping]] = ..., variables: _Optional[_Mapping[str, str]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class Bundle(_message.Message):
    __slots__ = ("workloads", "approved_prunes")
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    APPROVED_PRUNES_FIELD_NUMBER: _ClassVar[int]
    workloads: _containers.RepeatedCompositeFieldContainer[Workload]
    approved_prunes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workloads: _Optional[_Iterable[_Union[Workload, _Mapping]]] = ..., approved_prunes: _Optional[_Iterable[str]] = ...) -> None: ...
