from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("data", "format", "masked")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    data: str
    format: str
    masked: bool
    def __init__(self, data: _Optional[str] = ..., format: _Optional[str] = ..., masked: _Optional[bool] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: bool
    def __init__(self, secret: _Optional[bool] = ...) -> None: ...

class SetRequest(_message.Message):
    __slots__ = ("namespace", "path", "value", "options", "if_version", "replace", "plain")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    PLAIN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    value: Value
    options: Options
    if_version: int
    replace: bool
    plain: bool
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., if_version: _Optional[int] = ..., replace: _Optional[bool] = ..., plain: _Optional[bool] = ...) -> None: ...

class SetResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("namespace", "path", "if_version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    if_version: int
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("namespace", "path", "options", "version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    options: Options
    version: int
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("value", "version")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    value: Value
    version: int
    def __init__(self, value: _Optional[_Union[Value, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("namespace", "path")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("namespace", "path", "changeSet")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHANGESET_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    changeSet: ChangeSet
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., changeSet: _Optional[_Union[ChangeSet, _Mapping]] = ...) -> None: ...

class ChangeSet(_message.Message):
    __slots__ = ("data", "checksum", "format", "source", "timestamp")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    data: str
    checksum: str
    format: str
    source: str
    timestamp: int
    def __init__(self, data: _Optional[str] = ..., checksum: _Optional[str] = ..., format: _Optional[str] = ..., source: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("namespace", "path", "options")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    options: Options
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., options: _Optional[_Union[Options, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("value", "version", "deleted")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    value: Value
    version: int
    deleted: bool
    def __init__(self, value: _Optional[_Union[Value, _Mapping]] = ..., version: _Optional[int] = ..., deleted: _Optional[bool] = ...) -> None: ...

class HistoryRequest(_message.Message):
    __slots__ = ("namespace", "path", "options", "limit", "before")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    path: str
    options: Options
    limit: int
    before: int
    def __init__(self, namespace: _Optional[str] = ..., path: _Optional[str] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., limit: _Optional[int] = ..., before: _Optional[int] = ...) -> None: ...

class HistoryResponse(_message.Message):
    __slots__ = ("versions", "more")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    more: bool
    def __init__(self, versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("number", "time", "account", "issuer", "action", "path", "target", "differences")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    number: int
    time: int
    account: str
    issuer: str
    action: str
    path: str
    target: int
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    def __init__(self, number: _Optional[int] = ..., time: _Optional[int] = ..., account: _Optional[str] = ..., issuer: _Optional[str] = ..., action: _Optional[str] = ..., path: _Optional[str] = ..., target: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("path", "before", "after")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    path: str
    before: Value
    after: Value
    def __init__(self, path: _Optional[str] = ..., before: _Optional[_Union[Value, _Mapping]] = ..., after: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("namespace", "version", "if_version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    version: int
    if_version: int
    def __init__(self, namespace: _Optional[str] = ..., version: _Optional[int] = ..., if_version: _Optional[int] = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...
