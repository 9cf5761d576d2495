"""The record commands: append, read, tail, check-tail, trim, fence."""

from typing import Annotated, Literal

import typer

from s2cli.cli.declared.shared_options import (
    Compression,
    DeleteOnEmptyMinAge,
    EncryptionKeyFile,
    FencingToken,
    JsonOutput,
    MatchSeqNum,
    MaxOutage,
    OutputFile,
    ReadFormat,
    ReadOutput,
    RecordFormat,
    RetentionPolicy,
    StorageClass,
    Stream,
    TimestampingMode,
    TimestampingUncapped,
    Uri,
    Yes,
    Zero,
)
from s2cli.values import U64_MAX


def append(
    uri: Uri = None,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]…", help="Read these in order; - is standard input [default: -]"),
    ] = None,
    stream: Stream = None,
    input: Annotated[  # noqa: A002 - the name of the option
        list[str] | None, typer.Option("-i", "--input", metavar="FILE", help="The same as the operand; repeatable")
    ] = None,
    format: Annotated[  # noqa: A002
        RecordFormat, typer.Option("--format", metavar="FORMAT", help="Of the input: text, json or json-base64")
    ] = "text",
    commands: Annotated[
        Literal["skip", "send"],
        typer.Option(
            "--commands",
            metavar="HOW",
            help="What becomes of command records in the input: skip leaves them out, or send",
        ),
    ] = "skip",
    zero: Zero = False,
    header: Annotated[
        list[str] | None,
        typer.Option("-H", "--header", metavar="NAME=VALUE", help="A header for every record; repeatable"),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the basin and the stream where they are missing")
    ] = False,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
    match_seq_num: MatchSeqNum = None,
    fencing_token: FencingToken = None,
    encryption_key_file: EncryptionKeyFile = None,
    on_lost_ack: Annotated[
        Literal["check", "resend", "stop"],
        typer.Option(
            "--on-lost-ack",
            metavar="HOW",
            help="When a connection breaks before an ack: check what is durable, resend all, or stop",
        ),
    ] = "check",
    linger: Annotated[
        str | None,
        typer.Option("--linger", metavar="DURATION", help="Wait so long for more lines before a batch leaves"),
    ] = None,
    inflight: Annotated[
        str | None,
        typer.Option("--inflight", metavar="SIZE", help="Bytes sent and not acked [default: 4MiB nearby, else 8MiB]"),
    ] = None,
    max_outage: MaxOutage = None,
    transport: Annotated[
        Literal["auto", "s2s", "unary"],
        typer.Option("--transport", metavar="HOW", help="s2s: one session; unary: single calls; auto: what works"),
    ] = "auto",
    compression: Compression = None,
    output: JsonOutput = None,
) -> None:
    """Append records to a stream, by default one for each line of standard input.

    Examples:
      cat access.log | s2 append s2://logs-prod/web
      s2 --local append --create s2://quickstart/numbers numbers.txt
      find . -print0 | s2 append -0 s2://backup-jobs/files
      s2 read s2://logs-prod/a -o json | s2 append s2://logs-copy/a --format json

    A line becomes one record, byte for byte, without its newline. No record is
    lost or repeated in silence: when a connection breaks, the tail is asked what
    became durable before anything is sent again. Every ending prints an account:
    what was read, what is durable, and at which line to go on.

    --format json takes one object a line: {"body": …, "headers": [[…, …]],
    "timestamp": …}, each member optional; in json-base64, or with "base64": true,
    texts are Base64. So a copy of what read -o json prints is exact, but for its
    command records: fence and trim would act on the copy, and are left out.
    The options for a stream hold where this append creates it: by --create, or
    since its basin lets appends create streams.
    """


def read(
    uri: Uri = None,
    stream: Stream = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="POSITION", help="Where to start [default: start]")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="POSITION", help="Where to stop, exclusive [default: end]")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="At the end, wait for more")] = False,
    count: Annotated[
        int | None, typer.Option("-n", "--count", metavar="N", min=0, max=U64_MAX, help="At most so many records")
    ] = None,
    output: ReadOutput = None,
    output_file: OutputFile = None,
    format: ReadFormat = None,  # noqa: A002 - the name of the option
    zero: Zero = False,
    encryption_key_file: EncryptionKeyFile = None,
    clamp: Annotated[bool, typer.Option("--clamp", help="A start beyond the tail is a start at the tail")] = False,
    max_outage: MaxOutage = None,
    transport: Annotated[
        Literal["auto", "s2s", "sse", "unary"],
        typer.Option(
            "--transport", metavar="HOW", help="s2s: one session; sse: events; unary: single calls; auto: what works"
        ),
    ] = "auto",
    compression: Compression = None,
    seq_num: Annotated[
        int | None,
        typer.Option("-s", "--seq-num", metavar="N", min=0, max=U64_MAX, help="Start at this sequence number"),
    ] = None,
    timestamp: Annotated[
        int | None, typer.Option("--timestamp", metavar="MS", min=0, max=U64_MAX, help="Start at this time")
    ] = None,
    ago: Annotated[str | None, typer.Option("--ago", metavar="DURATION", help="Start so long ago")] = None,
    tail_offset: Annotated[
        int | None,
        typer.Option("--tail-offset", metavar="N", min=0, max=U64_MAX, help="Start so many records before the tail"),
    ] = None,
    until: Annotated[
        int | None, typer.Option("--until", metavar="MS", min=0, max=U64_MAX, help="Stop at this time, exclusive")
    ] = None,
    bytes: Annotated[  # noqa: A002
        int | None, typer.Option("-b", "--bytes", metavar="N", min=0, max=U64_MAX, help="At most so many metered bytes")
    ] = None,
    storage_class: StorageClass = None,
    retention_policy: RetentionPolicy = None,
    timestamping_mode: TimestampingMode = None,
    timestamping_uncapped: TimestampingUncapped = None,
    delete_on_empty_min_age: DeleteOnEmptyMinAge = None,
) -> None:
    """Print the records of a stream from its beginning to its current end, like cat.

    Examples:
      s2 read s2://logs-prod/web
      s2 read s2://logs-prod/web --from -100 --follow
      s2 read s2://logs-prod/web --from '1h ago' --to '30m ago' -o json
      s2 read s2://logs-prod/web --from 2026-01-31T12:00:00Z -n 10

    A POSITION is a sequence number, -N (N before the tail), start or end; or a
    time: now, 5m or '5m ago', an RFC 3339 time, a date, today, yesterday, 10:00,
    'yesterday 10:00', or @EPOCH in seconds or milliseconds.
    A start at the tail prints nothing and succeeds; one beyond it fails with 5.
    The text format prints the body of each record, byte for byte, and a newline.
    The options for a stream hold where its basin lets reads create it.
    """


def tail(
    uri: Uri = None,
    stream: Stream = None,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, max=U64_MAX, help="How many records")] = 10,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Then wait for more")] = False,
    output: ReadOutput = None,
    output_file: OutputFile = None,
    format: ReadFormat = None,  # noqa: A002 - the name of the option
    zero: Zero = False,
    encryption_key_file: EncryptionKeyFile = None,
    max_outage: MaxOutage = None,
    transport: Annotated[
        Literal["auto", "s2s", "sse", "unary"],
        typer.Option(
            "--transport", metavar="HOW", help="s2s: one session; sse: events; unary: single calls; auto: what works"
        ),
    ] = "auto",
    compression: Compression = None,
) -> None:
    """Print the last records of a stream.

    Examples:
      s2 tail s2://logs-prod/web
      s2 tail -f s2://logs-prod/web
      s2 tail -100 s2://logs-prod/web
      s2 tail -n 100 -o json s2://logs-prod/web
    """


def check_tail(
    uri: Uri = None,
    stream: Stream = None,
    max_outage: Annotated[
        str | None,
        typer.Option("--max-outage", metavar="DURATION", help="Try so long [default: three times, within --timeout]"),
    ] = None,
    output: JsonOutput = None,
) -> None:
    """Print where the next record of a stream will be: SEQ_NUM @ TIMESTAMP.

    Examples:
      s2 check-tail s2://logs-prod/web
      s2 check-tail s2://logs-prod/web -o json

    The timestamp is that of the last record, in milliseconds since the epoch.
    """


def trim(
    uri: Uri = None,
    trim_point: Annotated[
        str | None, typer.Argument(metavar="TRIM_POINT", help="The first sequence number that stays")
    ] = None,
    stream: Stream = None,
    match_seq_num: MatchSeqNum = None,
    fencing_token: FencingToken = None,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Take a TRIM_POINT beyond the tail, too")] = False,
    encryption_key_file: EncryptionKeyFile = None,
    max_outage: MaxOutage = None,
    output: JsonOutput = None,
) -> None:
    """Delete the records of a stream before TRIM_POINT; they are gone for good.

    Examples:
      s2 trim s2://logs-prod/web 5000
      S2_STREAM=s2://logs-prod/web s2 trim 5000

    The operand that begins with s2:// is the stream. On a terminal you are asked
    before, and without one it is done at once. A TRIM_POINT beyond the tail would
    delete every record: it ends with 5.
    """


def fence(
    uri: Uri = None,
    new_token: Annotated[
        str | None, typer.Argument(metavar="NEW_TOKEN", help="At most 36 bytes; '' lifts the fence")
    ] = None,
    stream: Stream = None,
    match_seq_num: MatchSeqNum = None,
    fencing_token: FencingToken = None,
    encryption_key_file: EncryptionKeyFile = None,
    max_outage: MaxOutage = None,
    output: JsonOutput = None,
) -> None:
    """Set the fencing token of a stream: appends that name another one are refused.

    Examples:
      s2 fence s2://logs-prod/web writer-7
      s2 fence s2://logs-prod/web writer-8 --fencing-token writer-7
      s2 append s2://logs-prod/web --fencing-token writer-8

    An append that names no token is always let in.
    """
