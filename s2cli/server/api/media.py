"""What a record request says about formats in its headers (protocol sections 4.2, 4.7, 5.7 and 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.errors import ApiError, BadValueError
from s2cli.server.api.json_bodies import JsonError, decode_json
from s2cli.server.api.request import is_json
from s2cli.server.core.encryption import check_key_material
from s2cli.server.http.content_coding import accepted_coding
from s2cli.wire.configs import parse_stream_config

if TYPE_CHECKING:
    from s2cli.server.http.asgi import Scope
    from s2cli.wire.configs import Layer

JSON = b"application/json"
PROTOBUF = b"application/protobuf"
SESSION = b"s2s/proto"
EVENT_STREAM = b"text/event-stream"

_USUAL_TYPES = frozenset((JSON, PROTOBUF, SESSION))
_PROTOBUF_TYPES = frozenset((PROTOBUF, b"application/x-protobuf"))
_FORMATS = {b"raw": False, b"json": False, b"base64": True, b"json-binsafe": True}

SESSION_HEADERS = (
    (b"content-type", SESSION),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Media:
    """The formats of one exchange."""

    __slots__ = (
        "_accept_encoding",
        "_content_type",
        "_media_type",
        "_stream_config",
        "accepts",
        "as_base64",
        "encryption_key",
        "request_token",
    )

    def __init__(self, scope: Scope) -> None:
        self._content_type = b""
        self._media_type = b""
        self._accept_encoding = b""
        self._stream_config: bytes | None = None
        self.request_token: bytes | None = None
        self.encryption_key: bytes | None = None
        self.as_base64 = False
        self.accepts = b""
        # In one pass: this is done for each append.
        for name, value in scope["headers"]:
            if name == b"content-type":
                self._content_type = value
                self._media_type = value if value in _USUAL_TYPES else _media_type(value)
            elif name == b"accept":
                # Of the media types that it names only the first counts.
                self.accepts = _media_type(value.split(b",", 1)[0])
            elif name == b"s2-format":
                as_base64 = _FORMATS.get(value.strip())
                if as_base64 is None:
                    raise ApiError("bad_header", "Invalid header `s2-format`: must be `raw` or `base64`")
                self.as_base64 = as_base64
            elif name == b"accept-encoding":
                self._accept_encoding = self._accept_encoding + b"," + value
            elif name == b"s2-request-token":
                self.request_token = value
            elif name == b"s2-stream-config":
                self._stream_config = value
            elif name == b"s2-encryption-key":
                self.encryption_key = check_key_material(value)

    @property
    def is_session(self) -> bool:
        return self._media_type == SESSION

    @property
    def wants_events(self) -> bool:
        return self.accepts == EVENT_STREAM

    @property
    def wants_protobuf(self) -> bool:
        return self.accepts in _PROTOBUF_TYPES

    @property
    def sends_protobuf(self) -> bool:
        return self._media_type in _PROTOBUF_TYPES

    @property
    def sends_json(self) -> bool:
        return self._content_type == JSON or is_json(self._content_type)

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
