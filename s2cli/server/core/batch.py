"""A batch as it comes from an append, before a stream gives it its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.wire.record_rules import check_batch

if TYPE_CHECKING:
    # Its own timestamp or None, its headers as fields of the record that is stored, its body.
    Record = tuple[int | None, bytes, bytes]


class Batch:
    """A batch that keeps all rules which do not depend on the stream. Either `bodies`, where the records are bodies
    alone, or `records`; `commands` are those among the latter: which record, FENCE or TRIM, body."""

    __slots__ = ("bodies", "commands", "count", "fencing_token", "match_seq_num", "metered_bytes", "records")

    def __init__(
        self,
        bodies: list[bytes] | None,
        records: list[Record],
        commands: list[tuple[int, bytes, bytes]],
        metered_bytes: int,
        match_seq_num: int | None,
        fencing_token: str | None,
    ) -> None:
        self.bodies = bodies
        self.records = records
        self.commands = commands
        self.count = len(records) if bodies is None else len(bodies)
        self.metered_bytes = metered_bytes
        self.match_seq_num = match_seq_num
        self.fencing_token = fencing_token
        check_batch(self.count, metered_bytes)
