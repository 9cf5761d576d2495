"""What append, check-tail, trim and fence take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs, StreamConfigArgs
from s2cli.errors import UsageError
from s2cli.values import URI_PREFIX, parse_record_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import (
        Compression,
        EncryptionKeyFile,
        JsonOutput,
        Uri,
        Yes,
        operand,
        option,
        u64_option,
    )
    from s2cli.values import Rate, parse_delimiter, parse_duration_ms, parse_rate, parse_seconds, parse_size_bytes


class RecordArgs(CommonArgs):
    """Which stream, and how long an outage may last."""

    help_has_headings = True

    uri: Uri = None
    stream: Annotated[
        str | None, option("--stream URI", "The stream, if no operand names it", heading="Other spellings")
    ] = None
    max_outage_s: Annotated[
        float | None,
        option(
            "--max-outage DURATION",
            "Give up after this long without progress [default: 60s]",
            heading="Connection",
            parser=parse_seconds,
        ),
    ] = None


class ConditionArgs(RecordArgs):
    """What the commands take that append only if a condition holds."""

    match_seq_num: Annotated[
        int | None,
        u64_option("-m, --match-seq-num N", "Only if the next record gets this sequence number", heading="Conditions"),
    ] = None
    fencing_token: Annotated[
        str | None,
        option(
            "-f, --fencing-token TOKEN",
            "Only if this is the stream's fencing token",
            heading="Conditions",
            in_resume_command=True,
        ),
    ] = None
    encryption_key_file: EncryptionKeyFile = None


class AppendArgs(ConditionArgs, StreamConfigArgs):
    """Append records to a stream, by default one for each line of standard input.

    Examples:
      cat access.log | s2 append s2://logs-prod/web
      s2 --local append --create s2://quickstart/numbers numbers.txt
      find . -print0 | s2 append -0 s2://backup-jobs/files
      s2 read s2://logs-prod/a -o json | s2 append s2://logs-copy/a --format json
      s2 append s2://photos-prod/raw --raw *.jpg
      s2 append s2://logs-prod/web --timestamp-from time --on-error bad.log app.log
      s2 append s2://logs-prod/web --follow-file /var/log/app.log --state app
      s2 append s2://logs-prod/job -- make -j4 all

    Each line becomes one record, byte for byte, without its newline. No record is
    silently lost or repeated: after a lost connection, the command checks which
    records are durable before it sends any again. It always prints an account:
    what was read, what is durable, and at which line to resume.

    --format json takes one object a line: {"body": …, "headers": [[…, …]],
    "timestamp": …}, each member optional; in json-base64, or with "base64": true,
    strings are Base64. It copies exactly what read -o json prints, except for
    command records (fence, trim), which would act again on the copy.
    """

    uri: Uri = None
    inputs: Annotated[tuple[str, ...], operand("[FILE]…", "Read these in order; - is standard input [default: -]")] = ()
    input: Annotated[
        tuple[str, ...],
        option("-i, --input FILE", "The same as the operand FILE; repeatable", heading="Other spellings"),
    ] = ()
    format: Annotated[
        str,
        option(
            "--format FORMAT",
            "Format of the input: text, json or json-base64",
            in_resume_command=True,
            parser=parse_record_format,
        ),
    ] = "text"
    commands: Annotated[
        Literal["skip", "send"],
        option("--commands HOW", "skip or send the command records (fence, trim) in the input", in_resume_command=True),
    ] = "skip"
    zero: Annotated[bool, option("-0, --zero", "NUL bytes end records, instead of newlines")] = False
    delimiter: Annotated[
        bytes | None,
        option(
            "--delimiter TEXT",
            "TEXT ends records, instead of newlines; \\n \\t \\r \\0 \\xNN are escapes",
            parser=parse_delimiter,
        ),
    ] = None
    raw: Annotated[bool, option("--raw", "Each input is one record, byte for byte", in_resume_command=True)] = False
    header: Annotated[
        tuple[str, ...],
        option("-H, --header NAME=VALUE", "A header for every record; repeatable", in_resume_command=True),
    ] = ()
    timestamp_from: Annotated[
        str | None,
        option(
            "--timestamp-from FIELD",
            "A record's time is in this field of its body, which is JSON",
            in_resume_command=True,
        ),
    ] = None
    # Not repeated to resume: FILE would be emptied.
    on_error: Annotated[
        str,
        option(
            "--on-error HOW",
            "At a line that is not a valid record: stop, skip it, or write it to a FILE; then end with 7",
        ),
    ] = "stop"
    rate: Annotated[Rate | None, option("--rate RATE", "No faster than 500/s, or 2MiB/s", parser=parse_rate)] = None
    dry_run: Annotated[bool, option("--dry-run", "Read and check the input; send nothing")] = False
    follow_file: Annotated[
        bool, option("--follow-file", "Follow the file as it grows, like tail -F, also when it is replaced or cut")
    ] = False
    exactly_once: Annotated[
        bool,
        option(
            "--exactly-once",
            "End with 5 if anybody else appends, instead of continuing beside them",
            in_resume_command=True,
        ),
    ] = False
    state: Annotated[
        str | None,
        option("--state NAME", "Resume where the last run with this NAME or ./FILE ended, with --exactly-once"),
    ] = None
    create: Annotated[bool, option("--create", "Create the basin and the stream if they are missing")] = False
    on_lost_ack: Annotated[
        Literal["check", "resend", "stop"],
        option(
            "--on-lost-ack HOW",
            "After a connection lost before an ack: check what is durable, resend all, or stop",
            heading="Connection",
            in_resume_command=True,
        ),
    ] = "check"
    linger_ms: Annotated[
        int | None,
        option(
            "--linger DURATION",
            "Wait this long for more lines before sending a batch",
            heading="Connection",
            parser=parse_duration_ms,
        ),
    ] = None
    inflight_bytes: Annotated[
        int | None,
        option(
            "--inflight SIZE",
            "Most bytes sent but not acked [default: 4MiB on this machine, else 8MiB]",
            heading="Connection",
            parser=parse_size_bytes,
        ),
    ] = None
    transport: Annotated[
        Literal["auto", "s2s", "unary"],
        option("--transport HOW", "s2s: one session; unary: single calls; auto: what works", heading="Connection"),
    ] = "auto"
    compression: Compression = None
    output: JsonOutput = None

    program: tuple[str, ...] = ()  # a command line to run, whose output is the input

    def combine(self) -> None:
        """The operand that begins with s2:// is the URI, wherever it stands; the others are inputs, as `-i` names
        them."""
        super().combine()
        operands = [word for word in (self.uri, *self.inputs) if word is not None]
        uris = [operand for operand in operands if operand.startswith(URI_PREFIX)]
        inputs = tuple(operand for operand in operands if not operand.startswith(URI_PREFIX))
        if len(uris) > 1:
            raise UsageError(f"two streams were given: {uris[0]} and {uris[1]}")
        if inputs and self.input:
            # In which order they are meant cannot be told.
            raise UsageError(f"--input and the operand {inputs[0]} both name inputs: use one or the other")
        self.uri = uris[0] if uris else None
        self.inputs = inputs or self.input
        self._check_separators()
        self._check_exactness()
        self._check_followed()
        if self.format == "text" and "commands" in vars(self):
            raise UsageError("--commands needs --format json or json-base64: a line of text cannot be a command record")

    @property
    def separator(self) -> bytes | None:
        """What ends a record in the input; None where only the end of an input does."""
        if self.raw:
            return None
        return self.delimiter or (b"\0" if self.zero else b"\n")

    def run_program(self, program: tuple[str, ...]) -> None:
        """Takes the words behind `--`. Raises UsageError where something else is the input."""
        for word, given in (
            (f"the input {(*self.inputs, '')[0]}", bool(self.inputs)),
            ("--follow-file", self.follow_file),
            ("--raw", self.raw),
            (f"--format {self.format}", self.format != "text"),
            ("--dry-run", self.dry_run),
        ):
            if given:
                raise UsageError(
                    f"the output of the command behind -- is appended: {word} cannot be combined with it",
                    hint="a file whose name begins with a dash is written ./-name",
                )
        if self.state is not None:
            raise UsageError(
                "a command that is run again prints other output: there is no line at which --state could resume",
                hint="--exactly-once alone ends if anybody else appends; to resume, have the command write a file, and "
                "append that with --follow-file --state NAME",
            )
        self.program = program

    def _check_followed(self) -> None:
        if not self.follow_file:
            return
        if len(self.inputs) != 1 or self.inputs == ("-",):
            raise UsageError("--follow-file follows one file: name it, and no other input")
        for word, given in (("--raw", self.raw), ("--dry-run", self.dry_run)):
            if given:
                raise UsageError(f"--follow-file has no end: {word} cannot be combined with it")

    def _check_exactness(self) -> None:
        if self.state is not None:
            self.exactly_once = True
            if self.match_seq_num is not None:
                raise UsageError(
                    "--state knows where the next record belongs: it cannot be combined with --match-seq-num"
                )
            if self.dry_run:
                raise UsageError("--dry-run appends nothing: there is no --state to keep")
        if self.exactly_once and "on_lost_ack" in vars(self):
            option = "--state" if self.state is not None else "--exactly-once"
            raise UsageError(f"{option} always resolves lost acks: --on-lost-ack cannot be combined with it")

    def _check_separators(self) -> None:
        given = [
            option
            for option, is_given in (
                ("--raw", self.raw),
                ("-0", self.zero),
                ("--delimiter", self.delimiter is not None),
            )
            if is_given
        ]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} each say where a record ends: give one of them")
        if self.raw and self.format != "text":
            raise UsageError(f"--raw takes an input as it is: it cannot be --format {self.format} too")


class CheckTailArgs(RecordArgs):
    """Print where the next record of a stream will be: SEQ_NUM @ TIMESTAMP.

    Examples:
      s2 check-tail s2://logs-prod/web
      s2 check-tail s2://logs-prod/web -o json

    The timestamp is that of the last record, in milliseconds since the epoch.
    """

    max_outage_s: Annotated[
        float | None,
        option(
            "--max-outage DURATION",
            "Keep trying for this long [default: three times, within --timeout]",
            heading="Connection",
            parser=parse_seconds,
        ),
    ] = None
    output: JsonOutput = None


class CommandArgs(ConditionArgs):
    """What the commands take that append a command record. Their second operand is the `value` of that record."""

    value: str | None
    value_name: str
    output: JsonOutput = None

    def combine(self) -> None:
        """The operand that begins with s2:// is the URI, wherever it stands; the other one is the value."""
        super().combine()
        verb, what = self.command.rpartition(" ")[2], self.value_name
        operands = [operand for operand in (self.uri, self.value) if operand is not None]
        uris = [operand for operand in operands if operand.startswith(URI_PREFIX)]
        others = [operand for operand in operands if not operand.startswith(URI_PREFIX)]
        if len(uris) > 1:
            raise UsageError(f"two streams were given, and no {what}: {uris[0]} and {uris[1]}")
        if len(others) > 1:
            raise UsageError(f'neither "{others[0]}" nor "{others[1]}" is a stream: it must begin with {URI_PREFIX}')
        if not others:
            raise UsageError(f"{what} is missing", hint=f"s2 {verb} s2://BASIN/STREAM {what}")
        self.uri = uris[0] if uris else None
        self.value = others[0]


class TrimArgs(CommandArgs):
    """Delete the records of a stream before TRIM_POINT; they are gone for good.

    Examples:
      s2 trim s2://logs-prod/web 5000
      S2_STREAM=s2://logs-prod/web s2 trim 5000

    On a terminal it asks first. A TRIM_POINT beyond the tail would delete
    every record: without --force the command exits with 5.
    """

    value_name = "TRIM_POINT"

    uri: Uri = None
    value: Annotated[str | None, operand("TRIM_POINT", "The first sequence number that stays")] = None
    yes: Yes = False
    force: Annotated[bool, option("--force", "Allow a TRIM_POINT beyond the tail")] = False


class FenceArgs(CommandArgs):
    """Set the fencing token of a stream; appends with another token are refused.

    Examples:
      s2 fence s2://logs-prod/web writer-7
      s2 fence s2://logs-prod/web writer-8 --fencing-token writer-7
      s2 append s2://logs-prod/web --fencing-token writer-8

    An append without a token is never refused for it.
    """

    value_name = "NEW_TOKEN"

    uri: Uri = None
    value: Annotated[str | None, operand("NEW_TOKEN", "At most 36 bytes; '' removes the fence")] = None
