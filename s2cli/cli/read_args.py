"""What read and tail take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs, FilterArgs, StreamConfigArgs
from s2cli.cli.record_args import RecordArgs
from s2cli.errors import UsageError
from s2cli.values import URI_PREFIX, parse_delimiter, parse_print_format, parse_speed, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal, NoReturn

    from s2cli.cli.shared_options import Compression, EncryptionKeyFile, Follow, Uri, operand, option, u64_option
    from s2cli.values import delimiter_text, speed_text


class FormArgs(CommonArgs):
    """In which form records are printed."""

    format: Annotated[
        str,
        option(
            "--format FORMAT",
            "The same as -o FORMAT",
            heading="Other spellings",
            in_resume_command=True,
            parser=parse_print_format,
        ),
    ] = "text"
    template: Annotated[
        str | None,
        option(
            "-t, --template TEXT",
            "Print each record as in '%o %d %v\\n'; see s2 help formats",
            heading="How records are printed",
            in_resume_command=True,
        ),
    ] = None
    parse_json: Annotated[
        bool,
        option(
            "--parse-json",
            "As jsonl, with a body that is a JSON object or array shown as that",
            heading="How records are printed",
            in_resume_command=True,
        ),
    ] = False
    raw: Annotated[
        bool,
        option(
            "--raw", "The bodies, with nothing between them", heading="How records are printed", in_resume_command=True
        ),
    ] = False
    delimiter: Annotated[
        bytes | None,
        option(
            "--delimiter TEXT",
            "Ends each body, instead of a newline; \\t, \\0 and \\xNN are escapes",
            heading="How records are printed",
            in_resume_command=True,
            written=delimiter_text,
            parser=parse_delimiter,
        ),
    ] = None
    zero: Annotated[
        bool,
        option(
            "-0, --zero",
            "NUL bytes end records, instead of newlines",
            heading="How records are printed",
            in_resume_command=True,
        ),
    ] = False

    def combine(self) -> None:
        super().combine()
        endings = [
            option
            for option, is_given in (
                ("--template", self.template is not None),
                ("--raw", self.raw),
                ("--delimiter", self.delimiter is not None),
                ("-0", self.zero),
            )
            if is_given
        ]
        if len(endings) > 1:
            raise UsageError(f"{endings[0]} and {endings[1]} both say how a record ends: give one of them")
        if self.parse_json:
            self._imply("--parse-json", "json")
        if endings and endings[0] != "-0":
            self._imply(endings[0], "text")

    def _imply(self, option: str, wanted: str) -> None:
        """The option goes with one format alone."""
        if "format" in vars(self) and self.format != wanted:
            raise UsageError(f"{option} is for the format {wanted}, not {self.format}")
        self.format = wanted


class SelectionArgs(FormArgs, FilterArgs):
    """Which of the records that are read are printed."""

    jq: Annotated[
        str | None,
        option(
            "--jq FILTER",
            "The results of a jq filter on the JSON of each record; needs s2cli[jq]",
            heading="Which records are printed",
            in_resume_command=True,
        ),
    ] = None

    def combine(self) -> None:
        if self.jq is not None:
            self._imply("--jq", "json")
        super().combine()


class PrintArgs(RecordArgs, SelectionArgs):
    """What prints records."""

    uri: Uri = None
    more: Annotated[
        tuple[str, ...],
        operand("[URI]…", "More streams, merged by time; s2://BASIN/PREFIX* is all whose names begin so"),
    ] = ()
    output: Annotated[
        str | None,
        option("-o, --output FORMAT", "text (bodies), jsonl, json-base64 or pretty (on a terminal) [default: text]"),
    ] = None
    output_file: Annotated[str | None, option("-O, --output-file FILE", "Write to FILE, not to stdout")] = None
    encryption_key_file: EncryptionKeyFile = None
    transport: Annotated[
        Literal["auto", "s2s", "sse", "unary"],
        option(
            "--transport HOW",
            "s2s: one session; sse: events; unary: single calls; auto: what works",
            heading="Connection",
        ),
    ] = "auto"
    compression: Compression = None
    skip_damaged: Annotated[
        bool,
        option("--skip-damaged", "Leave out records that are damaged on disk, and end with 8", in_resume_command=True),
    ] = False
    follow: bool

    @property
    def uris(self) -> tuple[str, ...]:
        """The operands, as they were written; none where another option or the environment names the stream."""
        return () if self.uri is None else (self.uri, *self.more)

    def combine(self) -> None:
        """`-o` is a format or, as in the official tool, a file: a value with a dot or a slash, or `-`."""
        if not all(word.startswith(URI_PREFIX) for word in self.uris if self.more):
            self._refuse_operands()
        value, self.output = self.output, None  # which would say how errors are shown
        if value is not None:
            self._combine_output(value)
        super().combine()

    def _refuse_operands(self) -> NoReturn:
        from s2cli.cli import suggestions

        command, extra = self.command.rpartition(" ")[2], " ".join(self.more)
        hint = suggestions.operand_hint(command, self.uris, extra)
        raise UsageError(
            f"s2 {self.command}: unexpected argument: {extra}",
            hint=hint or f"s2 {self.command} --help shows the usage",
        )

    def _combine_output(self, value: str) -> None:
        if value == "-" or "." in value or "/" in value:
            if self.output_file is not None:
                raise UsageError(f"--output {value} and --output-file {self.output_file} name two files")
            self.output_file = value
            return
        try:
            wanted = parse_print_format(value)
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
    seq_num: Annotated[
        int | None, u64_option("-s, --seq-num N", "Start at this sequence number", heading="Other spellings")
    ] = None
    timestamp: Annotated[int | None, u64_option("--timestamp MS", "Start at this time", heading="Other spellings")] = (
        None
    )
    ago: Annotated[str | None, option("--ago DURATION", "Start this long ago", heading="Other spellings")] = None
    tail_offset: Annotated[
        int | None, u64_option("--tail-offset N", "Start N records before the tail", heading="Other spellings")
    ] = None
    until: Annotated[
        int | None, u64_option("--until MS", "Stop at this time, exclusive", heading="Other spellings")
    ] = None


class ReadArgs(PrintArgs, PositionArgs, StreamConfigArgs):
    r"""Print the records of a stream from its beginning to its current end, like cat.

    Examples:
      s2 read s2://logs-prod/web
      s2 read s2://logs-prod/web --from -100 --follow
      s2 read s2://logs-prod/web --from '1h ago' --to '30m ago' -o json
      s2 read s2://logs-prod/web --from 2026-01-31T12:00:00Z -n 10
      s2 read s2://logs-prod/web -t '%d %o %v\n'
      s2 read --follow 's2://logs-prod/app/*' --grep ERROR
      s2 read s2://logs-prod/web --state nightly -O web.log

    A POSITION is a sequence number, -N (N before the tail), start or end; or a
    time: now, 5m or '5m ago', an RFC 3339 time, a date, today, yesterday, 10:00,
    'yesterday 10:00', or @EPOCH in seconds or milliseconds.
    A start at the tail prints nothing and exits with 0; a start beyond it, with 5.
    The text format prints the body of each record, byte for byte, and a newline.
    With --follow, --max-outage has no default.
    With -n, --grep and the like count the records that are printed. SIGUSR1 makes
    it say how far it is; Ctrl-C ends it, and says how to resume.
    """

    from_: Annotated[str | None, option("--from POSITION", "Where to start [default: start]")] = None
    to: Annotated[str | None, option("--to POSITION", "Where to stop, exclusive [default: end]")] = None
    follow: Follow = False
    count: Annotated[int | None, u64_option("-n, --count N", "At most N records")] = None
    state: Annotated[
        str | None,
        option(
            "--state NAME",
            "Print what came since the last run with this NAME or ./FILE",
            heading="Which records are printed",
        ),
    ] = None
    speed: Annotated[
        float | None,
        option(
            "--speed SPEED",
            "Print records in the rhythm of their times: 1x, or 10x, 0.5x as fast [default: max]",
            heading="How records are printed",
            in_resume_command=True,
            written=speed_text,
            parser=parse_speed,
        ),
    ] = None
    exec: Annotated[
        str | None,
        option(
            "--exec CMD",
            "Run sh -c CMD for each record: the body on its stdin; at least once",
            heading="A command for each record",
            in_resume_command=True,
        ),
    ] = None
    parallel: Annotated[
        int,
        option(
            "--parallel N",
            "Run so many at a time [default: 1]",
            heading="A command for each record",
            in_resume_command=True,
            least=1,
            most=64,
        ),
    ] = 1
    exec_retries: Annotated[
        int,
        option(
            "--exec-retries N",
            "Run a command that fails so many times again [default: 3]",
            heading="A command for each record",
            in_resume_command=True,
            least=0,
            most=100,
        ),
    ] = 3
    dead_letter: Annotated[
        str | None,
        option(
            "--dead-letter URI",
            "Append a record whose command keeps failing here, and continue",
            heading="A command for each record",
            in_resume_command=True,
        ),
    ] = None

    def combine(self) -> None:
        if self.exec is None:
            others = [name for name in ("parallel", "exec_retries", "dead_letter") if name in vars(self)]
            if others:
                raise UsageError(f"--{others[0].replace('_', '-')} is for --exec")
        else:
            self._refuse_forms()
        super().combine()
        if self.state is not None and (self.more or (self.uri or "").endswith("*")):
            raise UsageError("--state is for one stream")

    def _refuse_forms(self) -> None:
        """A record goes to the command as it is, and not to stdout."""
        given = vars(self)
        for name, flag in _FORMS:
            if name in given:
                raise UsageError(f"{flag} is for what is printed; --exec prints nothing")
        if self.more or (self.uri or "").endswith("*"):
            raise UsageError("--exec is for one stream")


# What says how records are printed: parameter and flag
_FORMS = (
    ("output", "--output"), ("output_file", "--output-file"), ("format", "--format"), ("template", "--template"),
    ("parse_json", "--parse-json"), ("raw", "--raw"), ("delimiter", "--delimiter"), ("zero", "-0"),
    ("speed", "--speed"),
)  # fmt: skip


class TailArgs(PrintArgs):
    """Print the last records of a stream.

    Examples:
      s2 tail s2://logs-prod/web
      s2 tail -f s2://logs-prod/web
      s2 tail -100 s2://logs-prod/web
      s2 tail -n 100 -o json s2://logs-prod/web
      s2 tail -f 's2://logs-prod/app/*'
    """

    lines: Annotated[int, u64_option("-n, --lines N", "How many records")] = 10
    follow: Follow = False
