"""Which records `s2 copy` copies, where options choose: by regular expressions, by headers, by a jq filter."""

from __future__ import annotations

from s2cli.amounts import format_count
from s2cli.cli import console
from s2cli.errors import IncompleteError
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.cli.copy_args import CopyArgs
    from s2cli.formats.jq_filter import JqFilter
    from s2cli.formats.record_filter import RecordFilter
    from s2cli.wire.read_session import Delivered


def choose_records(args: CopyArgs) -> CopyChoice | None:
    """What the options ask for; None where they ask for all records. Raises UsageError."""
    wanted = jq = None
    if args.grep is not None or args.grep_not is not None or args.header:
        from s2cli.formats.record_filter import RecordFilter, parse_header

        wanted = RecordFilter(args.grep, args.grep_not, map(parse_header, args.header))
    if args.jq is not None:
        from s2cli.formats.jq_filter import JqFilter

        jq = JqFilter(args.jq)
    return None if wanted is None and jq is None else CopyChoice(wanted, jq)


def describe_choice(args: CopyArgs) -> str | None:
    """The options that say which records are copied, as they are written; None where they say nothing."""
    words = ["--commands", args.commands] if args.commands != "skip" else []
    for option, value in (("--grep", args.grep), ("--grep-not", args.grep_not), ("--jq", args.jq)):
        if value is not None:
            words += [option, value]
    for header in sorted(args.header):
        words += ["--header", header]
    return " ".join(map(shell_word, words)) or None


class CopyChoice:
    """A record is copied as it is, or not at all: by a jq filter where one of its results is neither null nor false."""

    def __init__(self, wanted: RecordFilter | None, jq: JqFilter | None) -> None:
        self._filter = wanted
        self._jq = jq
        self._failed = 0  # records on which the jq filter failed; they are not copied

    @property
    def bodies_only(self) -> bool:
        """Whether only the bodies of records are needed."""
        return self._jq is None and (self._filter is None or self._filter.bodies_only)

    def check(self) -> None:
        """At the end: raises IncompleteError where the jq filter has failed."""
        if self._failed:
            failed = format_count(self._failed, "record", "records")
            raise IncompleteError(f"the jq filter failed on {failed}, and left out what it failed on")

    def choose(self, batch: Delivered) -> Sequence[int]:
        """Where in the batch those are that are copied."""
        indexes: Sequence[int] = range(len(batch))
        if self._filter is not None:
            indexes = self._filter.indexes(batch)
        if self._jq is not None and indexes:
            indexes = self._true(self._jq, batch, indexes)
        return indexes

    def _true(self, jq: JqFilter, batch: Delivered, indexes: Sequence[int]) -> list[int]:
        from s2cli.formats import json_output

        records = [batch.records[index] for index in indexes]
        lines = json_output.format_records(records, "\n", base64=False)
        found = []
        for index, results in zip(indexes, jq.run(lines, len(records)), strict=True):
            if isinstance(results, str):
                if not self._failed:
                    console.notice(f"--jq fails on record {batch.records[index].seq_num}: {results}")
                self._failed += 1
            elif any(result not in ("null", "false") for result in results):
                found.append(index)
        return found
