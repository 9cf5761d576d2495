"""The schemas of the OpenAPI document: what the routes take and give as JSON, and their parameters."""

from __future__ import annotations

from typing import Any

from s2cli.server.api.read_query import MAX_U64
from s2cli.wire.configs import MAX_STORAGE_CLASS_BYTES, STREAM_CIPHERS, TIMESTAMPING_MODES
from s2cli.wire.names import OPERATIONS

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
U64: Schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_U64}
TIME: Schema = {"type": "string", "format": "date-time"}
BASIN_NAME: Schema = {**STRING, "minLength": 8, "maxLength": 48}
STREAM_NAME: Schema = {**STRING, "minLength": 1, "maxLength": 512}
TOKEN_ID: Schema = {**STRING, "minLength": 1, "maxLength": 96}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def record(required: str = "", /, **members: Schema) -> Schema:
    """The schema of an object with these members. `required` names those that must be there, separated by blanks."""
    schema: Schema = {"type": "object", "properties": members}
    if required:
        schema["required"] = required.split()
    return schema


def page(name: str, item: str) -> Schema:
    return record(f"{name} has_more", **{name: array(ref(item)), "has_more": BOOL})


_TIMESTAMPING = record(mode=nullable({"enum": list(TIMESTAMPING_MODES)}), uncapped=nullable(BOOL))
_RETENTION = {
    "oneOf": [
        record("age", age={**U64, "minimum": 1, "description": "Seconds."}),
        record("infinite", infinite=record()),
    ]
}
_STREAM_MEMBERS = {
    "storage_class": nullable(
        {**STRING, "minLength": 1, "maxLength": MAX_STORAGE_CLASS_BYTES, "description": "Any text of 1 to 64 bytes."}
    ),
    "retention_policy": nullable(_RETENTION),
    "timestamping": nullable(_TIMESTAMPING),
    "delete_on_empty": nullable(record(min_age_secs=nullable(U64))),
}
_HEADERS = array({"type": "array", "items": STRING, "minItems": 2, "maxItems": 2})
_RESOURCES = nullable({"oneOf": [record("exact", exact=STRING), record("prefix", prefix=STRING)]})
_RIGHTS = nullable(record(read=nullable(BOOL), write=nullable(BOOL)))
_POINTS = array({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})

SCHEMAS: dict[str, Schema] = {
    "Error": record("code message error", code=STRING, message=STRING, error=STRING),
    "AppendConditionFailed": {
        "oneOf": [
            record("seq_num_mismatch", seq_num_mismatch=U64),
            record("fencing_token_mismatch", fencing_token_mismatch=STRING),
        ]
    },
    "StreamConfig": record(**_STREAM_MEMBERS),
    "BasinConfig": {
        **record(
            default_stream_config=nullable(ref("StreamConfig")),
            stream_cipher=nullable({"enum": list(STREAM_CIPHERS)}),
            create_stream_on_append=nullable(BOOL),
            create_stream_on_read=nullable(BOOL),
            **_STREAM_MEMBERS,
        ),
        "description": "In requests the members of a StreamConfig may stand at the top level, for those of"
        " `default_stream_config`, which win. Responses have the nested form.",
    },
    "BasinInfo": record(
        "name location created_at deleted_at state",
        name=BASIN_NAME,
        location=nullable(STRING),
        created_at=TIME,
        deleted_at=nullable(TIME),
        state={"enum": ["active", "deleting"]},
    ),
    "BasinPage": page("basins", "BasinInfo"),
    "CreateBasin": record(
        "basin", basin=BASIN_NAME, config=nullable(ref("BasinConfig")), location=nullable(ref("LocationName"))
    ),
    "EnsureBasin": record(config=nullable(ref("BasinConfig")), location=nullable(ref("LocationName"))),
    "StreamInfo": record(
        "name created_at deleted_at cipher",
        name=STREAM_NAME,
        created_at=TIME,
        deleted_at=nullable(TIME),
        cipher=nullable({"enum": list(STREAM_CIPHERS)}),
    ),
    "StreamPage": page("streams", "StreamInfo"),
    "CreateStream": record("stream", stream=STREAM_NAME, config=nullable(ref("StreamConfig"))),
    "Position": record("seq_num timestamp", seq_num=U64, timestamp=U64),
    "Tail": record("tail", tail=ref("Position")),
    "AppendRecord": record(timestamp=nullable(U64), headers=nullable(_HEADERS), body=STRING),
    "AppendInput": record(
        "records",
        records={**array(ref("AppendRecord")), "minItems": 1, "maxItems": 1000},
        match_seq_num=nullable(U64),
        fencing_token=nullable({**STRING, "maxLength": 36}),
    ),
    "AppendAck": record("start end tail", start=ref("Position"), end=ref("Position"), tail=ref("Position")),
    "SequencedRecord": record("seq_num timestamp", seq_num=U64, timestamp=U64, headers=_HEADERS, body=STRING),
    "ReadBatch": record("records", records=array(ref("SequencedRecord")), tail=ref("Position")),
    "AccessTokenScope": record(
        basins=_RESOURCES,
        streams=_RESOURCES,
        access_tokens=_RESOURCES,
        op_groups=nullable(record(account=_RIGHTS, basin=_RIGHTS, stream=_RIGHTS)),
        ops=nullable(array({**STRING, "enum": list(OPERATIONS)})),
    ),
    "AccessTokenInfo": record(
        "id expires_at auto_prefix_streams scope",
        id=TOKEN_ID,
        expires_at=nullable(TIME),
        auto_prefix_streams=BOOL,
        scope=ref("AccessTokenScope"),
    ),
    "AccessTokenPage": page("access_tokens", "AccessTokenInfo"),
    "IssueAccessToken": record(
        "id scope",
        id=TOKEN_ID,
        expires_at=nullable(TIME),
        auto_prefix_streams=nullable(BOOL),
        scope=ref("AccessTokenScope"),
    ),
    "IssuedAccessToken": record("access_token", access_token=STRING),
    "Document": {"type": "object"},
    "LocationName": STRING,
    "LocationInfo": record(
        "name is_private storage_classes default_storage_class",
        name=STRING,
        is_private=BOOL,
        storage_classes=array(STRING),
        default_storage_class=STRING,
    ),
    "LocationList": array(ref("LocationInfo")),
    "Metric": {
        "oneOf": [
            record("scalar", scalar=record("name unit value", name=STRING, unit=STRING, value={"type": "number"})),
            record(
                "accumulation",
                accumulation=record(
                    "name unit interval values", name=STRING, unit=STRING, interval=STRING, values=_POINTS
                ),
            ),
            record("gauge", gauge=record("name unit values", name=STRING, unit=STRING, values=_POINTS)),
            record("label", label=record("name values", name=STRING, values=array(STRING))),
        ]
    },
    "MetricSet": record("values", values=array(ref("Metric"))),
}

# Names in paths and queries -> what they are, and their schema.
PARAMETERS: dict[str, tuple[str, Schema]] = {
    "basin": ("The name of a basin.", BASIN_NAME),
    "stream": ("The name of a stream, percent-encoded.", STREAM_NAME),
    "token": ("The id of an access token, percent-encoded.", TOKEN_ID),
    "prefix": ("Only names that begin so.", {**STRING, "default": ""}),
    "start_after": ("Only names behind this one.", {**STRING, "default": ""}),
    "limit": ("At most so many; 0 and everything above 1000 mean 1000.", {**U64, "default": 1000}),
    "seq_num": ("Start at this sequence number.", U64),
    "timestamp": ("Start at the first record whose timestamp, in milliseconds, is not below this one.", U64),
    "tail_offset": ("Start so many records before the tail.", U64),
    "clamp": ("Start at the tail where the start is beyond it.", {**BOOL, "default": False}),
    "count": ("At most so many records.", U64),
    "bytes": ("At most so many metered bytes.", U64),
    "until": ("Only records whose timestamp, in milliseconds, is below this one.", U64),
    "wait": ("Wait so many seconds for records at the tail.", {**U64, "maximum": (1 << 32) - 1}),
    "set": ("Which metrics.", STRING),
    "start": ("The beginning of the time, in seconds since 1970.", {**U64, "maximum": (1 << 32) - 1}),
    "end": ("The end of the time, in seconds since 1970.", {**U64, "maximum": (1 << 32) - 1}),
    "interval": ("The length of an interval.", {"enum": ["minute", "hour", "day"]}),
}
HEADERS: dict[str, tuple[str, Schema]] = {
    "s2-basin": ("The basin, where neither the path nor the host names it.", STRING),
    "s2-request-token": (
        "What makes a repeated request the same one: it is executed once.",
        {**STRING, "minLength": 1, "maxLength": 36},
    ),
    "s2-format": ("How names, values and bodies stand in JSON.", {"enum": ["raw", "base64"], "default": "raw"}),
    "s2-encryption-key": ("The key of an encrypted stream, in Base64.", STRING),
    "s2-stream-config": ("A StreamConfig as JSON, for a stream that this request makes.", STRING),
}
