"""What an append is answered with (protocol section 4.3): where its records are, and where the stream ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.server.api.media import JSON, PROTOBUF
from s2cli.wire.protobuf import encode_ack

if TYPE_CHECKING:
    from s2cli.server.api.media import Media
    from s2cli.server.core.stream import Admitted

    Positions = tuple[int, int, int, int, int, int]

_JSON_ACK = (
    b'{"start":{"seq_num":%d,"timestamp":%d},"end":{"seq_num":%d,"timestamp":%d},"tail":{"seq_num":%d,"timestamp":%d}}'
)


def positions(admitted: Admitted) -> Positions:
    """Start, end and tail of an acknowledgement, each with its timestamp."""
    chunk, stream = admitted.chunk, admitted.stream
    return (
        chunk.first_seq_num,
        admitted.first_timestamp,
        chunk.end_seq_num,
        chunk.last_timestamp,
        stream.tail_seq_num,
        stream.tail_timestamp,
    )


def ack(media: Media, positions: Positions) -> tuple[bytes, bytes]:
    """The answer to a unary append: its content type, and its body."""
    if media.wants_protobuf:
        return PROTOBUF, encode_ack(*positions)
    return JSON, _JSON_ACK % positions


def json_ack(admitted: Admitted) -> bytes:
    """The body of the answer to an append in JSON that is durable."""
    return _JSON_ACK % positions(admitted)
