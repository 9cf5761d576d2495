"""What read and tail take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs, StreamConfigArgs
from s2cli.cli.record_args import RecordArgs
from s2cli.errors import UsageError
from s2cli.values import parse_record_format, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import Compression, EncryptionKeyFile, Follow, Zero, option, u64_option


class PrintArgs(RecordArgs):
    """What prints records."""

    output: Annotated[
        str | None, option("-o, --output FORMAT", "text (the bodies), json or json-base64 [default: text]")
    ] = None
    output_file: Annotated[str | None, option("-O, --output-file FILE", "Write to FILE, not to stdout")] = None
    format: Annotated[
        str, option("--format FORMAT", "text, json or json-base64; the same as -o FORMAT", parser=parse_record_format)
    ] = "text"
    zero: Zero = False
    encryption_key_file: EncryptionKeyFile = None
    transport: Annotated[
        Literal["auto", "s2s", "sse", "unary"],
        option("--transport HOW", "s2s: one session; sse: events; unary: single calls; auto: what works"),
    ] = "auto"
    compression: Compression = None
    skip_damaged: Annotated[
        bool, option("--skip-damaged", "Leave out records that are damaged on disk, and end with 8")
    ] = False
    follow: bool

    def combine(self) -> None:
        """`-o` is a format or, as in the official tool, a file: a value with a dot or a slash, or `-`."""
        super().combine()
        value, self.output = self.output, None  # which would say how errors are shown
        if value is None:
            return
        if value == "-" or "." in value or "/" in value:
            if self.output_file is not None:
                raise UsageError(f"--output {value} and --output-file {self.output_file} name two files")
            self.output_file = value
            return
        try:
            wanted = parse_record_format(value)
        except UsageError as error:
            hint = f"to write to a file of that name: -O {shell_word(value)}"
            raise UsageError(f"--output: {error.message}", hint=hint) from None
        if "format" in vars(self) and self.format != wanted:
            raise UsageError(f"--format {self.format} and --output {value} ask for two formats")
        self.format = wanted


class PositionArgs(CommonArgs):
    """Where a read starts and ends, as the official tool says it."""

    bytes: Annotated[int | None, u64_option("-b, --bytes N", "At most N metered bytes")] = None
    clamp: Annotated[bool, option("--clamp", "A start beyond the tail is a start at the tail")] = False
    seq_num: Annotated[int | None, u64_option("-s, --seq-num N", "Start at this sequence number")] = None
    timestamp: Annotated[int | None, u64_option("--timestamp MS", "Start at this time")] = None
    ago: Annotated[str | None, option("--ago DURATION", "Start this long ago")] = None
    tail_offset: Annotated[int | None, u64_option("--tail-offset N", "Start N records before the tail")] = None
    until: Annotated[int | None, u64_option("--until MS", "Stop at this time, exclusive")] = None


class ReadArgs(PrintArgs, PositionArgs, StreamConfigArgs):
    """Print the records of a stream from its beginning to its current end, like cat.

    Examples:
      s2 read s2://logs-prod/web
      s2 read s2://logs-prod/web --from -100 --follow
      s2 read s2://logs-prod/web --from '1h ago' --to '30m ago' -o json
      s2 read s2://logs-prod/web --from 2026-01-31T12:00:00Z -n 10

    A POSITION is a sequence number, -N (N before the tail), start or end; or a
    time: now, 5m or '5m ago', an RFC 3339 time, a date, today, yesterday, 10:00,
    'yesterday 10:00', or @EPOCH in seconds or milliseconds.
    A start at the tail prints nothing and exits with 0; a start beyond it, with 5.
    The text format prints the body of each record, byte for byte, and a newline.
    With --follow, --max-outage has no default.
    """

    from_: Annotated[str | None, option("--from POSITION", "Where to start [default: start]")] = None
    to: Annotated[str | None, option("--to POSITION", "Where to stop, exclusive [default: end]")] = None
    follow: Follow = False
    count: Annotated[int | None, u64_option("-n, --count N", "At most N records")] = None


class TailArgs(PrintArgs):
    """Print the last records of a stream.

    Examples:
      s2 tail s2://logs-prod/web
      s2 tail -f s2://logs-prod/web
      s2 tail -100 s2://logs-prod/web
      s2 tail -n 100 -o json s2://logs-prod/web
    """

    lines: Annotated[int, u64_option("-n, --lines N", "How many records")] = 10
    follow: Follow = False
