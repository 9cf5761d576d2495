"""The format `text`: a record is a line, byte for byte. Headers, sequence numbers and timestamps are not shown."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s2cli.wire.s2_pb2 import SequencedRecord


def format_bodies(bodies: list[bytes], separator: bytes) -> bytes:
    """The bodies, each followed by the separator. The caller must not use `bodies` afterwards."""
    bodies.append(b"")
    return separator.join(bodies)


def without_commands(records: Sequence[SequencedRecord], tell: Callable[[str], None]) -> list[SequencedRecord]:
    """The records without command records. `tell` gets a line for people about each of those instead."""
    shown = []
    for record in records:
        if len(record.headers) == 1 and not record.headers[0].name:
            command = describe_command(record.headers[0].value, record.body)
            tell(f"{command} // {record.seq_num} @ {record.timestamp}")
        else:
            shown.append(record)
    return shown


def describe_command(command: bytes, body: bytes) -> str:
    if command == b"trim" and len(body) == 8:
        return f"trim to {int.from_bytes(body, 'big')}"
    if command == b"fence":
        return f'new fencing token "{body.decode("utf-8", "replace")}"'
    return f"unknown command {command.decode('utf-8', 'replace')!r}"
