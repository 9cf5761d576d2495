"""AppendInput, ReadBatch and AppendAck encoded and decoded by hand, for the common case, without the protobuf runtime.

The common case is a batch of bodies without headers, appended with timestamps or without. The protobuf runtime makes
an object for each record (210 ns); these functions make a few list items (50 to 100 ns), and give the same bytes, or
where stated the same meaning. tests/wire/test_protobuf.py proves both; tests/bench/ measures the speed.
"""

from __future__ import annotations

from itertools import groupby

from s2cli.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Protocol section 14.2.
MAX_BATCH_RECORDS = 1000
MAX_BATCH_BYTES = 1024 * 1024  # metered
MAX_RECORD_BYTES = MAX_BATCH_BYTES  # metered
RECORD_OVERHEAD_BYTES = 8
HEADER_OVERHEAD_BYTES = 2

# A prefix is kept for bodies up to this size; the table of longer ones would outgrow what it saves.
_REMEMBERED_BYTES = 4096
_REMEMBERED_HEADERS = 4096
# An AppendInput has two fields beside its records, and a record two beside its headers.
_MAX_OTHER_FIELDS = 64
_REMEMBERED_HEADER_BYTES = 256


def encode_varint(value: int) -> bytes:
    """A non-negative integer of at most 64 bits as protobuf writes it."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# The low 14 bits of a number as the first two bytes of a varint of three or more, for every number from 0 up: padding
# with continuation bits is as valid as the shortest form, and a constant width lets slices do the work. Before them the
# key of field 1: `seq_num` of a SequencedRecord, `timestamp` of an AppendRecord, a varint.
_LOW_BITS = 14
_LOW_SIZE = 1 << _LOW_BITS
_lows: list[bytes] = []


def _low_bytes() -> list[bytes]:
    if not _lows:
        _lows.extend(bytes((0x08, low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(_LOW_SIZE))
    return _lows


class _Varints(dict[int, bytes]):
    """A number -> encode_varint() of it, for the lengths of records, which come again and again."""

    def __missing__(self, value: int) -> bytes:
        encoded = encode_varint(value)
        if value <= _REMEMBERED_BYTES:
            self[value] = encoded
        return encoded


_length_of = _Varints().__getitem__


class _AppendPrefixes(dict[int, bytes]):
    """Body size -> what precedes that body in an AppendInput whose records begin with the field `stamp`."""

    def __init__(self, stamp: bytes = b"") -> None:
        super().__init__()
        self._stamp = stamp

    def __missing__(self, size: int) -> bytes:
        prefix = _append_prefix(self._stamp, size)
        if size <= _REMEMBERED_BYTES:
            self[size] = prefix
        return prefix


def _append_prefix(stamp: bytes, size: int) -> bytes:
    # records = 1 and body = 3, both length-delimited; an empty body is left out.
    field = b"\x1a" + _length_of(size) if size else b""
    return b"\x0a" + _length_of(len(stamp) + len(field) + size) + stamp + field


_append_prefix_of = _AppendPrefixes().__getitem__


def _timed_prefixes(bodies: list[bytes], timestamps: list[int]) -> Iterable[bytes]:
    """What precedes each of these bodies in an AppendInput."""
    first = timestamps[0]
    if timestamps.count(first) == len(timestamps):
        return map(_AppendPrefixes(b"\x08" + encode_varint(first)).__getitem__, map(len, bodies))
    return map(_append_prefix, _append_stamps(timestamps), map(len, bodies))


def _append_stamps(timestamps: list[int]) -> list[bytes]:
    """Each as a field of an AppendRecord. The high bits of times that lie close together are the same."""
    if min(timestamps) < _LOW_SIZE:
        return [b"\x08" + encode_varint(timestamp) for timestamp in timestamps]
    lows = _low_bytes()
    highs = {high: encode_varint(high) for high in {timestamp >> _LOW_BITS for timestamp in timestamps}}
    return [lows[timestamp & _LOW_SIZE - 1] + highs[timestamp >> _LOW_BITS] for timestamp in timestamps]


def metered_bodies_bytes(bodies: list[bytes]) -> int:
    """The metered size of records that are bodies alone (protocol section 4.4)."""
    return RECORD_OVERHEAD_BYTES * len(bodies) + sum(map(len, bodies))


def append_parts(bodies: list[bytes], timestamps: list[int] | None = None) -> list[bytes]:
    """An AppendInput of bodies alone, or of bodies with their timestamps, in parts to be joined: the bodies themselves,
    and what precedes each."""
    parts = bodies * 2
    parts[1::2] = bodies
    if timestamps:
        parts[::2] = _timed_prefixes(bodies, timestamps)
    else:
        parts[::2] = map(_append_prefix_of, map(len, bodies))
    return parts


def encode_append(
    bodies: list[bytes],
    match_seq_num: int | None = None,
    fencing_token: bytes | None = None,
    timestamps: list[int] | None = None,
) -> bytes:
    """The same in one piece, byte for byte as protobuf writes it, with its conditions."""
    parts = append_parts(bodies, timestamps)
    if match_seq_num is not None:
        parts.append(b"\x10" + encode_varint(match_seq_num))
    if fencing_token is not None:
        parts.append(b"\x1a" + encode_varint(len(fencing_token)) + fencing_token)
    return b"".join(parts)


class _RecordPrefixes(dict[int, bytes]):
    """Body size -> what precedes that body in a ReadBatch, where the fields after it take `suffix_bytes`."""

    def __init__(self, suffix_bytes: int) -> None:
        super().__init__()
        self._suffix_bytes = suffix_bytes

    def __missing__(self, size: int) -> bytes:
        # records = 1 and body = 4, both length-delimited.
        field = b"\x22" + encode_varint(size)
        prefix = b"\x0a" + encode_varint(len(field) + size + self._suffix_bytes) + field
        if size <= _REMEMBERED_BYTES:
            self[size] = prefix
        return prefix


_record_prefixes: dict[int, _RecordPrefixes] = {}


class _TimestampFields(dict[int, bytes]):
    """A timestamp as the field of a record. Small appends come by the dozen in a millisecond."""

    def __missing__(self, timestamp: int) -> bytes:
        if len(self) >= 8:
            self.clear()
        self[timestamp] = field = b"\x10" + encode_varint(timestamp)  # timestamp = 2, varint
        return field


_timestamp_fields = _TimestampFields()


def encode_records(bodies: list[bytes], first_seq_num: int, timestamp: int) -> bytes:
    """A ReadBatch of bodies alone that all have one timestamp: protobuf reads it, though it would write other bytes.

    In each record the body is first, then the sequence number: its low 14 bits from a table, the rest, with the
    timestamp, from a suffix that is the same until those bits run over.
    """
    lows = _low_bytes()
    low, high = first_seq_num & (_LOW_SIZE - 1), first_seq_num >> _LOW_BITS
    count = len(bodies)
    if low + count > _LOW_SIZE:
        split = _LOW_SIZE - low
        return encode_records(bodies[:split], first_seq_num, timestamp) + encode_records(
            bodies[split:], first_seq_num + split, timestamp
        )
    suffix = encode_varint(high) + _timestamp_fields[timestamp]
    suffix_bytes = 3 + len(suffix)
    prefixes = _record_prefixes.get(suffix_bytes)
    if prefixes is None:
        prefixes = _record_prefixes[suffix_bytes] = _RecordPrefixes(suffix_bytes)
    if count == 1:
        return b"".join((prefixes[len(bodies[0])], bodies[0], lows[low], suffix))
    parts = [suffix] * (4 * count)
    parts[::4] = map(prefixes.__getitem__, map(len, bodies))
    parts[1::4] = bodies
    parts[2::4] = lows[low : low + count]
    return b"".join(parts)


def encode_timed_records(bodies: list[bytes], first_seq_num: int, timestamps: list[int]) -> bytes:
    """A ReadBatch like that of `encode_records`, of at least one body, whose timestamps differ and never fall."""
    if timestamps[0] == timestamps[-1]:
        return encode_records(bodies, first_seq_num, timestamps[0])
    found: list[bytes] = []
    at = 0
    for timestamp, equal in groupby(timestamps):
        end = at + len(list(equal))
        found.append(encode_records(bodies[at:end], first_seq_num + at, timestamp))
        at = end
    return b"".join(found)


class _Headers(dict[tuple[bytes, bytes], bytes]):
    """Name and value -> the header as a field of a SequencedRecord. The same few come again and again."""

    def __missing__(self, header: tuple[bytes, bytes]) -> bytes:
        name, value = header
        fields = b"\x0a" + encode_varint(len(name)) + name if name else b""
        if value:
            fields += b"\x12" + encode_varint(len(value)) + value
        encoded = b"\x1a" + encode_varint(len(fields)) + fields
        if len(encoded) <= _REMEMBERED_HEADER_BYTES:
            if len(self) >= _REMEMBERED_HEADERS:
                self.clear()
            self[header] = encoded
        return encoded


# A header, a pair of name and value, as a field of a SequencedRecord, as protobuf writes it.
encode_header = _Headers().__getitem__


def encode_record(seq_num: int, timestamp: int, headers: bytes, body: bytes) -> bytes:
    """One record of a ReadBatch; `headers` are those that `encode_header` gives, joined. Protobuf reads it, though it
    would leave out what is 0 or empty."""
    head = b"\x08" + encode_varint(seq_num) + _timestamp_fields[timestamp]
    size = b"\x22" + encode_varint(len(body))
    whole = encode_varint(len(head) + len(headers) + len(size) + len(body))
    return b"".join((b"\x0a", whole, head, headers, size, body))


def _encode_position(field: int, seq_num: int, timestamp: int) -> bytes:
    position = b"\x08" + encode_varint(seq_num) + b"\x10" + encode_varint(timestamp)
    return bytes((field << 3 | 2, len(position))) + position


def encode_tail(seq_num: int, timestamp: int) -> bytes:
    """The field `tail` of a ReadBatch: to be put after its records, or a heartbeat by itself."""
    return _encode_position(2, seq_num, timestamp)


def encode_ack(
    start_seq_num: int,
    start_timestamp: int,
    end_seq_num: int,
    end_timestamp: int,
    tail_seq_num: int,
    tail_timestamp: int,
) -> bytes:
    """An AppendAck: protobuf reads it, though it would leave out the fields that are 0."""
    return b"".join(
        (
            _encode_position(1, start_seq_num, start_timestamp),
            _encode_position(2, end_seq_num, end_timestamp),
            _encode_position(3, tail_seq_num, tail_timestamp),
        )
    )


Ack = tuple[int, int, int, int, int, int]


def decode_ack(message: bytes) -> Ack:
    """An AppendAck as (start, its timestamp, end, timestamp of the last record, tail, its timestamp); end is exclusive.

    Raises ProtocolError for anything that is not an AppendAck. Unknown fields are skipped.
    """
    values = [0] * 6
    try:
        at = 0
        while at < len(message):
            key, at = _decode_varint(message, at)
            if key not in (0x0A, 0x12, 0x1A):
                at = _skip(message, at, key)
                continue
            size, at = _decode_varint(message, at)
            end = at + size
            if end > len(message):
                raise ProtocolError("an acknowledgement is cut short")
            base = (key >> 3) * 2 - 2
            while at < end:
                key, at = _decode_varint(message, at)
                if key in (0x08, 0x10):
                    values[base + (key >> 4)], at = _decode_varint(message, at)
                else:
                    at = _skip(message, at, key)
            if at != end:
                raise ProtocolError("an acknowledgement is garbled")
    except IndexError as error:
        raise ProtocolError("an acknowledgement is cut short") from error
    return (values[0], values[1], values[2], values[3], values[4], values[5])


def count_records(data: bytes, most: int) -> int:
    """The number of records in an AppendInput or a ReadBatch, found without an object for each. Counting ends at one
    beyond `most`, or where the bytes are not a valid message. Raises ProtocolError if there are groups, or more of
    other fields than any client sends."""
    count = others = at = 0
    try:
        while at < len(data) and count <= most:
            key, at = _decode_varint(data, at)
            if key == 0x0A:
                size, at = _decode_varint(data, at)
                at += size
                count += 1
                continue
            at = _skip(data, at, key)
            others += 1
            if others > _MAX_OTHER_FIELDS:
                raise ProtocolError(f"an append has more than {_MAX_OTHER_FIELDS} fields beside its records")
    except IndexError:
        pass
    return count


def runs_of_field(data: bytes, key: int, most: int) -> Iterator[tuple[int, int, bool]]:
    """Where the fields of a message lie: (begin, end, True) of up to `most` in a row whose key is `key`, a byte, and
    that have a length; (begin, end, False) of each other one. Raises ProtocolError for one that is cut short, and if
    there are more others than anybody sends."""
    at = others = 0
    end = len(data)
    try:
        while at < end:
            begin, count = at, 0
            while at < end and data[at] == key and count < most:
                size = data[at + 1]
                if size < 0x80:
                    at += 2
                else:
                    size, at = _decode_varint(data, at + 1)
                at += size
                count += 1
            if at > end:
                raise IndexError
            if count:
                yield begin, at, True
                continue
            other, at = _decode_varint(data, at)
            at = _skip(data, at, other)
            others += 1
            if others > _MAX_OTHER_FIELDS or other == key:
                raise ProtocolError("a record has fields that no client sends")
            yield begin, at, False
    except IndexError as error:
        raise ProtocolError("a record is cut short") from error


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ProtocolError("a number in a message does not end")


def _skip(data: bytes, at: int, key: int) -> int:
    wire_type = key & 7
    if wire_type == 0:
        return _decode_varint(data, at)[1]
    if wire_type == 1:
        at += 8
    elif wire_type == 2:
        size, at = _decode_varint(data, at)
        at += size
    elif wire_type == 5:
        at += 4
    else:
        raise ProtocolError("a message has a field of an unknown kind")
    if at > len(data):
        raise IndexError
    return at
