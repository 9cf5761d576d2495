from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MergedAppendRecords(_message.Message):
    __slots__ = ("timestamp", "body")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    timestamp: _containers.RepeatedScalarFieldContainer[int]
    body: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, timestamp: _Optional[_Iterable[int]] = ..., body: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MergedAppendInput(_message.Message):
    __slots__ = ("records", "match_seq_num", "fencing_token")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    MATCH_SEQ_NUM_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    records: MergedAppendRecords
    match_seq_num: int
    fencing_token: str
    def __init__(self, records: _Optional[_Union[MergedAppendRecords, _Mapping]] = ..., match_seq_num: _Optional[int] = ..., fencing_token: _Optional[str] = ...) -> None: ...

class MergedSequencedRecords(_message.Message):
    __slots__ = ("seq_num", "timestamp", "headers", "body")
    SEQ_NUM_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    seq_num: int
    timestamp: int
    headers: _containers.RepeatedScalarFieldContainer[bytes]
    body: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, seq_num: _Optional[int] = ..., timestamp: _Optional[int] = ..., headers: _Optional[_Iterable[bytes]] = ..., body: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MergedReadBatch(_message.Message):
    __slots__ = ("records", "tail")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    records: MergedSequencedRecords
    tail: bytes
    def __init__(self, records: _Optional[_Union[MergedSequencedRecords, _Mapping]] = ..., tail: _Optional[bytes] = ...) -> None: ...

class TimedSequencedRecords(_message.Message):
    __slots__ = ("seq_num", "timestamp", "headers", "body")
    SEQ_NUM_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    seq_num: int
    timestamp: _containers.RepeatedScalarFieldContainer[int]
    headers: _containers.RepeatedScalarFieldContainer[bytes]
    body: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, seq_num: _Optional[int] = ..., timestamp: _Optional[_Iterable[int]] = ..., headers: _Optional[_Iterable[bytes]] = ..., body: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TimedReadBatch(_message.Message):
    __slots__ = ("records", "tail")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    records: TimedSequencedRecords
    tail: bytes
    def __init__(self, records: _Optional[_Union[TimedSequencedRecords, _Mapping]] = ..., tail: _Optional[bytes] = ...) -> None: ...

class RawAppendInput(_message.Message):
    __slots__ = ("records", "match_seq_num", "fencing_token")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    MATCH_SEQ_NUM_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedScalarFieldContainer[bytes]
    match_seq_num: int
    fencing_token: str
    def __init__(self, records: _Optional[_Iterable[bytes]] = ..., match_seq_num: _Optional[int] = ..., fencing_token: _Optional[str] = ...) -> None: ...

class RawRecords(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, records: _Optional[_Iterable[bytes]] = ...) -> None: ...
