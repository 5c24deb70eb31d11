from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Field(_message.Message):
    __slots__ = ("type", "value")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type: str
    value: str
    def __init__(self, type: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("key", "value", "expiry", "metadata", "version")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Field
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Field, _Mapping]] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    expiry: int
    metadata: _containers.MessageMap[str, Field]
    version: int
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., expiry: _Optional[int] = ..., metadata: _Optional[_Mapping[str, Field]] = ..., version: _Optional[int] = ...) -> None: ...

class ReadOptions(_message.Message):
    __slots__ = ("database", "table", "prefix", "suffix", "limit", "offset", "order", "after", "key_prefix", "key_suffix", "partial", "keys")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    KEY_PREFIX_FIELD_NUMBER: _ClassVar[int]
    KEY_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    database: str
    table: str
    prefix: bool
    suffix: bool
    limit: int
    offset: int
    order: str
    after: str
    key_prefix: str
    key_suffix: str
    partial: bool
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, database: _Optional[str] = ..., table: _Optional[str] = ..., prefix: _Optional[bool] = ..., suffix: _Optional[bool] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., order: _Optional[str] = ..., after: _Optional[str] = ..., key_prefix: _Optional[str] = ..., key_suffix: _Optional[str] = ..., partial: _Optional[bool] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("key", "options")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    key: str
    options: ReadOptions
    def __init__(self, key: _Optional[str] = ..., options: _Optional[_Union[ReadOptions, _Mapping]] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("records", "next")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[Record]
    next: str
    def __init__(self, records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class WriteOptions(_message.Message):
    __slots__ = ("database", "table", "if_version")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    database: str
    table: str
    if_version: int
    def __init__(self, database: _Optional[str] = ..., table: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("record", "options")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    record: Record
    options: WriteOptions
    def __init__(self, record: _Optional[_Union[Record, _Mapping]] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class DeleteOptions(_message.Message):
    __slots__ = ("database", "table", "if_version")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    database: str
    table: str
    if_version: int
    def __init__(self, database: _Optional[str] = ..., table: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "options")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    key: str
    options: DeleteOptions
    def __init__(self, key: _Optional[str] = ..., options: _Optional[_Union[DeleteOptions, _Mapping]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Act(_message.Message):
    __slots__ = ("put", "drop", "check", "table", "if_version")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    put: Record
    drop: str
    check: str
    table: str
    if_version: int
    def __init__(self, put: _Optional[_Union[Record, _Mapping]] = ..., drop: _Optional[str] = ..., check: _Optional[str] = ..., table: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class BatchOptions(_message.Message):
    __slots__ = ("database", "table")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    database: str
    table: str
    def __init__(self, database: _Optional[str] = ..., table: _Optional[str] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("acts", "options")
    ACTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    acts: _containers.RepeatedCompositeFieldContainer[Act]
    options: BatchOptions
    def __init__(self, acts: _Optional[_Iterable[_Union[Act, _Mapping]]] = ..., options: _Optional[_Union[BatchOptions, _Mapping]] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, versions: _Optional[_Iterable[int]] = ...) -> None: ...

class ListOptions(_message.Message):
    __slots__ = ("database", "table", "prefix", "suffix", "limit", "offset", "order", "after")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    database: str
    table: str
    prefix: str
    suffix: str
    limit: int
    offset: int
    order: str
    after: str
    def __init__(self, database: _Optional[str] = ..., table: _Optional[str] = ..., prefix: _Optional[str] = ..., suffix: _Optional[str] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., order: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: ListOptions
    def __init__(self, options: _Optional[_Union[ListOptions, _Mapping]] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("keys", "next")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    next: str
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., next: _Optional[str] = ...) -> None: ...

class DatabasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DatabasesResponse(_message.Message):
    __slots__ = ("databases",)
    DATABASES_FIELD_NUMBER: _ClassVar[int]
    databases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, databases: _Optional[_Iterable[str]] = ...) -> None: ...

class TablesRequest(_message.Message):
    __slots__ = ("database",)
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    database: str
    def __init__(self, database: _Optional[str] = ...) -> None: ...

class TablesResponse(_message.Message):
    __slots__ = ("tables",)
    TABLES_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tables: _Optional[_Iterable[str]] = ...) -> None: ...

class BlobOptions(_message.Message):
    __slots__ = ("namespace", "public", "contentType")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    CONTENTTYPE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    public: bool
    contentType: str
    def __init__(self, namespace: _Optional[str] = ..., public: _Optional[bool] = ..., contentType: _Optional[str] = ...) -> None: ...

class BlobInfo(_message.Message):
    __slots__ = ("key", "size", "digest", "contentType", "public", "modified")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTENTTYPE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    key: str
    size: int
    digest: str
    contentType: str
    public: bool
    modified: int
    def __init__(self, key: _Optional[str] = ..., size: _Optional[int] = ..., digest: _Optional[str] = ..., contentType: _Optional[str] = ..., public: _Optional[bool] = ..., modified: _Optional[int] = ...) -> None: ...

class BlobReadRequest(_message.Message):
    __slots__ = ("key", "options", "offset", "length", "digest")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    key: str
    options: BlobOptions
    offset: int
    length: int
    digest: str
    def __init__(self, key: _Optional[str] = ..., options: _Optional[_Union[BlobOptions, _Mapping]] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class BlobReadResponse(_message.Message):
    __slots__ = ("blob", "info")
    BLOB_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    blob: bytes
    info: BlobInfo
    def __init__(self, blob: _Optional[bytes] = ..., info: _Optional[_Union[BlobInfo, _Mapping]] = ...) -> None: ...

class BlobWriteRequest(_message.Message):
    __slots__ = ("key", "options", "blob", "digest")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    key: str
    options: BlobOptions
    blob: bytes
    digest: str
    def __init__(self, key: _Optional[str] = ..., options: _Optional[_Union[BlobOptions, _Mapping]] = ..., blob: _Optional[bytes] = ..., digest: _Optional[str] = ...) -> None: ...

class BlobWriteResponse(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: BlobInfo
    def __init__(self, info: _Optional[_Union[BlobInfo, _Mapping]] = ...) -> None: ...

class BlobDeleteRequest(_message.Message):
    __slots__ = ("key", "options")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    key: str
    options: BlobOptions
    def __init__(self, key: _Optional[str] = ..., options: _Optional[_Union[BlobOptions, _Mapping]] = ...) -> None: ...

class BlobDeleteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BlobListRequest(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: BlobListOptions
    def __init__(self, options: _Optional[_Union[BlobListOptions, _Mapping]] = ...) -> None: ...

class BlobListResponse(_message.Message):
    __slots__ = ("keys", "blobs", "next")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    blobs: _containers.RepeatedCompositeFieldContainer[BlobInfo]
    next: str
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., blobs: _Optional[_Iterable[_Union[BlobInfo, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class BlobListOptions(_message.Message):
    __slots__ = ("namespace", "prefix", "after", "limit")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    prefix: str
    after: str
    limit: int
    def __init__(self, namespace: _Optional[str] = ..., prefix: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...
