"""Chooses which records `read` and `tail` print: by regular expressions, by headers, by a jq filter, by their
number."""

from __future__ import annotations

from s2cli.amounts import format_count
from s2cli.cli import console
from s2cli.errors import IncompleteError
from s2cli.wire.read_session import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.cli.read_args import PrintArgs
    from s2cli.formats.jq_filter import JqFilter
    from s2cli.formats.record_filter import RecordFilter


def choose_selection(args: PrintArgs, count: int | None) -> Selection:
    """The selection that the options ask for, of at most `count` records (not 0; None for no limit). Raises UsageError
    for a pattern, header or filter that is not valid."""
    wanted = jq = None
    if args.grep is not None or args.grep_not is not None or args.header:
        from s2cli.formats.record_filter import RecordFilter, parse_header

        wanted = RecordFilter(args.grep, args.grep_not, map(parse_header, args.header))
    if args.jq is not None:
        from s2cli.formats.jq_filter import JqFilter

        jq = JqFilter(args.jq)
    return Selection(wanted, jq, parse_json=args.parse_json, count=count)


class Selection:
    """Chooses records, and counts those that were chosen and skipped. `wanted` and `jq` are None where they leave
    nothing out."""

    def __init__(
        self,
        wanted: RecordFilter | None = None,
        jq: JqFilter | None = None,
        *,
        parse_json: bool = False,
        count: int | None = None,
    ) -> None:
        self._filter = wanted
        self._jq = jq
        self._parse_json = parse_json
        self.left = count  # how many more are wanted
        self.chosen = 0
        self.skipped = 0
        self.failed = 0  # records on which the jq filter failed; they are skipped
        self.end: int | None = None  # the sequence number at which to stop reading, once `left` is 0

    @property
    def chooses(self) -> bool:
        """Whether records may be left out because of what is in them."""
        return self._filter is not None or self._jq is not None

    @property
    def bodies_only(self) -> bool:
        """Whether only the bodies of records are needed."""
        return self._jq is None and (self._filter is None or self._filter.bodies_only)

    def check(self) -> None:
        """To be called at the end. Raises IncompleteError if the jq filter has failed on a record."""
        if self.failed:
            raise IncompleteError(f"the jq filter failed on {format_count(self.failed, 'record', 'records')}")

    def choose(self, batches: list[Delivered], stream: str | None = None) -> list[Delivered]:
        """The chosen records. If there is a jq filter, its results are their bodies; `stream` is a member of the JSON
        that the filter gets, unless it is None."""
        chosen = []
        for batch in batches:
            if self.end is not None:
                break
            indexes = range(len(batch)) if self._filter is None else self._filter.indexes(batch)
            results = None
            if self._jq is not None and indexes:
                indexes, results = self._transform(self._jq, batch, indexes, stream)
            read = len(batch)
            if self.left is not None:
                indexes = indexes[: self.left]
                self.left -= len(indexes)
                if not self.left:
                    read = indexes[-1] + 1
                    self.end = _seq_num(batch, indexes[-1]) + 1
            self.chosen += len(indexes)
            self.skipped += read - len(indexes)
            if indexes:
                chosen.append(_pick(batch, indexes) if results is None else _pick(results, range(len(indexes))))
        return chosen

    def _transform(
        self, jq: JqFilter, batch: Delivered, indexes: Sequence[int], stream: str | None
    ) -> tuple[list[int], Delivered]:
        """Applies the jq filter. Returns the indexes of the records that have results, and these results, one body for
        each record."""
        from s2cli.escapes import encode_json_text
        from s2cli.formats import json_output

        records = [batch.records[index] for index in indexes]
        encode_body = json_output.encode_json_body if self._parse_json else None
        lines = json_output.format_records(records, "\n", base64=False, stream=stream, encode_body=encode_body)
        kept, bodies = [], []
        for index, results in zip(indexes, jq.run(lines, len(records)), strict=True):
            if isinstance(results, str):
                if not self.failed:
                    console.notice(f"--jq fails on record {_seq_num(batch, index)}: {results}")
                self.failed += 1
            elif results:
                kept.append(index)
                bodies.append(encode_json_text("\n".join(results)))
        return kept, Delivered(batch.first_seq_num, bodies)


def _pick(batch: Delivered, indexes: Sequence[int]) -> Delivered:
    if len(indexes) == len(batch):
        return batch
    if batch.bodies is not None:
        return Delivered(batch.first_seq_num, [batch.bodies[index] for index in indexes])
    return Delivered(batch.first_seq_num, None, [batch.records[index] for index in indexes])


def _seq_num(batch: Delivered, index: int) -> int:
    return batch.first_seq_num + index if batch.bodies is not None else batch.records[index].seq_num
