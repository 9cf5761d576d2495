"""Reads the headers of a record request: media types, formats, and options (protocol sections 4.2, 4.7, 5.7 and
6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.json_bodies import JsonError, decode_json
from s2cli.server.api.request import is_json
from s2cli.server.core.encryption import check_key_material
from s2cli.server.http.content_coding import accepted_coding
from s2cli.wire.configs import parse_stream_config

if TYPE_CHECKING:
    from s2cli.server.http.exchange import Exchange
    from s2cli.wire.configs import Layer

JSON = b"application/json"
PROTOBUF = b"application/protobuf"
SESSION = b"s2s/proto"
EVENT_STREAM = b"text/event-stream"

_USUAL_TYPES = frozenset((JSON, PROTOBUF, SESSION, b"*/*", b""))
_PROTOBUF_TYPES = frozenset((PROTOBUF, b"application/x-protobuf"))
_FORMATS = {b"raw": False, b"json": False, b"base64": True, b"json-binsafe": True}

SESSION_HEADERS = (
    (b"content-type", SESSION),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Media:
    """The formats of one exchange. Raises ApiError for headers that it does not understand."""

    __slots__ = (
        "_accept_encoding",
        "_stream_config",
        "as_base64",
        "encryption_key",
        "is_session",
        "request_token",
        "sends_json",
        "sends_protobuf",
        "wants_events",
        "wants_protobuf",
    )

    def __init__(self, exchange: Exchange) -> None:
        given = exchange.fields.get
        content_type = given(b"content-type", b"")
        sent = content_type if content_type in _USUAL_TYPES else _media_type(content_type)
        self.is_session = sent == SESSION
        self.sends_protobuf = sent in _PROTOBUF_TYPES
        self.sends_json = sent == JSON or (sent not in _USUAL_TYPES and is_json(sent))
        # Of the media types that it names only the first counts.
        accept = given(b"accept", b"")
        wanted = accept if accept in _USUAL_TYPES else _media_type(accept.partition(b",")[0])
        self.wants_events = wanted == EVENT_STREAM
        self.wants_protobuf = wanted in _PROTOBUF_TYPES
        self.request_token = given(b"s2-request-token")
        self.as_base64 = False
        record_format = given(b"s2-format")
        if record_format is not None:
            as_base64 = _FORMATS.get(record_format.strip())
            if as_base64 is None:
                raise ApiError("bad_header", "Invalid header `s2-format`: must be `raw` or `base64`")
            self.as_base64 = as_base64
        key = given(b"s2-encryption-key")
        self.encryption_key = None if key is None else check_key_material(key)
        self._accept_encoding = given(b"accept-encoding", b"")
        self._stream_config = given(b"s2-stream-config")

    @property
    def stream_layer(self) -> Layer | None:
        """What the stream is to be like if this request makes it (protocol section 17.1); checked also where it is not
        used. None without the header."""
        if self._stream_config is None:
            return None
        if not self._stream_config.isascii():
            raise _bad_stream_config("not ASCII: write other characters as \\uXXXX")
        try:
            value = decode_json(self._stream_config, "StreamConfig")
        except JsonError as error:
            raise _bad_stream_config(f"invalid JSON: {error}") from error
        try:
            return parse_stream_config(value)
        except BadValueError as error:
            raise _bad_stream_config(error.message) from error

    @property
    def compression(self) -> str | None:
        """How the frames to the client may be compressed: "zstd", "gzip" or not."""
        return accepted_coding(self._accept_encoding)


def _bad_stream_config(why: str) -> ApiError:
    return ApiError("bad_header", f"Invalid header `s2-stream-config`: {why}")


def _media_type(value: bytes) -> bytes:
    return value.split(b";", 1)[0].strip().lower()
