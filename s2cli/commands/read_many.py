"""`read` and `tail` of several streams, or of all whose names begin alike (`s2://b/app/*`): one view in the order of
the records' times, with a label for each stream; with `--follow`, also of streams that appear later."""

from __future__ import annotations

import select
import threading
import time
from functools import partial

from s2cli.amounts import format_bytes, format_count, format_rate, format_seconds
from s2cli.cli import console
from s2cli.client import api
from s2cli.client.merge_loop import MergeLoop, MergeSource
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import DEFAULT_LIMIT_S, Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient, is_missing
from s2cli.commands.connect import open_settings
from s2cli.commands.progress import with_share
from s2cli.commands.read_formats import choose_format
from s2cli.commands.read_output import goes_to_file, open_output
from s2cli.commands.read_pace import MAX_SPEED, Pacer
from s2cli.commands.read_plan import ReadPlan, find_tail
from s2cli.commands.read_report import QUIET_S, TICK_S, watch_signals
from s2cli.commands.read_selection import choose_selection
from s2cli.errors import ApiError, ExitCode, NotFoundError, S2Error, UsageError
from s2cli.positions import Position
from s2cli.values import URI_PREFIX, parse_uri, shell_word
from s2cli.wire.names import check_basin_name, check_stream_name, check_stream_prefix
from s2cli.wire.read_session import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.read_args import PrintArgs
    from s2cli.commands.read_formats import RecordFormat
    from s2cli.wire.s2_pb2 import SequencedRecord

    Run = tuple[MergeSource, list[SequencedRecord]]

# Each stream takes a thread, a connection and up to a few MiB for records that wait for those of the others.
MAX_STREAMS = 100
# The colours of the labels, used in turn: those that can be read on dark terminals and on light ones
LABEL_STYLES = ("35", "32", "31", "1")
# How often to look for new streams.
LIST_S = 1.0


def is_pattern(uri: str) -> bool:
    return uri.endswith("*")


def print_merged(args: PrintArgs, plan: ReadPlan, config: str | None, speed: float | None) -> int:
    """Prints the records of all streams that the command line names. Raises UsageError for options that need one
    stream."""
    if plan.bytes_limit is not None:
        raise UsageError("--bytes is for one stream")
    if args.stream is not None:
        raise UsageError(f"--stream {args.stream} is for one stream: write all of them as operands")
    merged = _MergedRead(args, plan, config, speed)
    try:
        merged.run()
    except KeyboardInterrupt:
        merged.interrupted()
        return ExitCode.INTERRUPTED
    merged.complete()
    return ExitCode.OK


class _MergedRead:
    def __init__(self, args: PrintArgs, plan: ReadPlan, config: str | None, speed: float | None) -> None:
        self._args = args
        self._count = plan.count
        self._selection = choose_selection(args, plan.count)
        plan.count, plan.clamp = None, True  # the selection counts all of them; one may end before the start
        self._plan = plan
        # A stream that appears later is read from its first record, unless the start is a time.
        start = plan.start if plan.start.kind == "timestamp" else Position("start", 0)
        self._later_plan = ReadPlan(start, plan.end, follow=plan.follow, clamp=True)
        self._config = config
        self._named = [text for text in dict.fromkeys(args.uris) if not is_pattern(text)]
        self._patterns = [_parse_pattern(text) for text in args.uris if is_pattern(text)]
        for uri in map(parse_uri, self._named):
            check_basin_name(uri.basin)
            check_stream_name(uri.stream)
        self._basins = {uri.split("/")[2] for uri in args.uris}
        choose_format(args, "", label=b"")  # raises for a wrong template before any request is sent
        self._settings = open_settings(args)
        self._target = self._settings.target()
        self._key = self._settings.encryption_key(args.encryption_key_file)
        self._file = open_output(args.output_file, in_place=args.follow)
        self._pacer = Pacer(speed, -1 if self._file else 1) if speed is not None and speed < MAX_SPEED else None
        self._loop = MergeLoop(self._write, self._tick, grows=plan.follow and bool(self._patterns))
        self._formats: dict[str, RecordFormat] = {}
        self._label_width = 0
        self._written_bytes = 0
        self._ends_line = True
        self._last_ms: int | None = None  # timestamp of the record that was written last
        self._started = self._last_written = time.monotonic()
        self._hints = plan.follow and console.stderr_is_terminal()
        self._live = goes_to_file(args.output_file) and console.stderr_is_terminal()
        self._next_tick = 0.0
        self._shown = False

    def run(self) -> None:
        found = self._find_streams()
        if not found and not (self._args.follow and self._patterns):
            raise NotFoundError(f"no stream's name begins so: {', '.join(self._args.uris)}")
        if len(found) > MAX_STREAMS:
            raise UsageError(f"{len(found)} streams are too many to read at once: {MAX_STREAMS} at most")
        self._label_width = max((len(self._label(uri)) for uri in found), default=0)
        watch_signals(self._status)
        if self._count == 0:
            return
        for uri in found:
            self._add(uri, self._plan)
        if self._args.follow and self._patterns:
            threading.Thread(target=self._look_for_more, daemon=True).start()
        self._loop.run(self._on_failure)

    # The streams

    def _find_streams(self) -> list[str]:
        """The URIs of the streams to read: those that were named, then those that match a pattern now."""
        client = api.ApiClient(self._target, self._settings.timeout_s, console.notice)
        try:
            found = list(self._named)
            for basin, prefix in self._patterns:
                pages = api.pages(partial(api.list_streams, client, basin, prefix), "", None)
                items = (item for page in pages for item in page if not item.get("deleted_at"))
                found += [f"{URI_PREFIX}{basin}/{item['name']}" for item in items]
        finally:
            client.close()
        return list(dict.fromkeys(found))

    def _add(self, uri: str, plan: ReadPlan) -> None:
        self._formats[uri] = choose_format(self._args, uri, label=self._prefix(uri))

        def read(source: MergeSource) -> None:
            self._read(source, plan)

        self._loop.add(MergeSource(uri, read))

    def _label(self, uri: str) -> str:
        """The name of a stream, with its basin if streams of several basins are read."""
        basin, _, stream = uri.removeprefix(URI_PREFIX).partition("/")
        return console.printable(stream if len(self._basins) == 1 else f"{basin}/{stream}")

    def _prefix(self, uri: str) -> bytes:
        """What a line begins with: a coloured column on a terminal, a field elsewhere."""
        label = self._label(uri)
        if not console.stdout_is_terminal():
            return label.encode() + b"\t"
        style = LABEL_STYLES[len(self._formats) % len(LABEL_STYLES)]
        return console.paint(label.ljust(self._label_width), style, 1).encode() + b"  "

    def _read(self, source: MergeSource, plan: ReadPlan) -> None:
        """Reads one stream, in the thread of its source."""
        args, settings, uri = self._args, self._settings, parse_uri(source.uri)
        codings = settings.codings(args.compression)
        stream = StreamClient(self._target, uri.basin, uri.stream, settings.timeout_s, self._key, self._config, codings)
        waiter = Waiter(Interrupts())
        limit_s = DEFAULT_LIMIT_S if args.max_outage_s is None and not args.follow else args.max_outage_s

        def notice(text: str) -> None:
            console.notice(f"{source.uri}: {text}")

        tail = find_tail(stream, waiter, RetryPolicy(limit_s, notice))
        source.session = plan.new_session(tail, bodies_only=False)
        source.tail = tail
        loop = ReadLoop(
            stream,
            source.session,
            source.put,
            -1,
            waiter,
            RetryPolicy(limit_s, notice),
            notice,
            args.transport,
            skips_damaged=args.skip_damaged,
        )
        loop.run()
        loop.check_complete()

    def _look_for_more(self) -> None:
        """Adds streams that appear. Runs in a thread of its own until the command ends."""
        known = {source.uri for source in self._loop.sources}
        told = False
        while True:
            time.sleep(LIST_S)
            try:
                new = [uri for uri in self._find_streams() if uri not in known]
            except S2Error as error:
                console.detail(f"cannot look for new streams: {error.message}")
                continue
            for uri in new[: MAX_STREAMS - len(known)]:
                known.add(uri)
                console.detail(f"{uri} has appeared")
                self._add(uri, self._later_plan)
            if new and len(known) >= MAX_STREAMS and not told:
                told = True
                console.warn(f"{MAX_STREAMS} streams are read, and no more: {new[-1]} is not")

    def _on_failure(self, source: MergeSource, error: S2Error) -> None:
        if source.uri not in self._named and (is_missing(error) or _is_ending(error)):
            console.notice(f"{source.uri} has been deleted")
            return
        raise error.reworded(f"{source.uri}: {error.message}") from error

    # Records

    def _write(self, runs: list[Run]) -> None:
        pieces = []
        for source, records in runs:
            batch = Delivered(records[0].seq_num, None, records)
            parts = [([batch], 0)] if self._pacer is None else self._pacer.parts([batch])
            for batches, _ in parts:
                chosen = self._selection.choose(batches, source.uri)
                data = self._formats[source.uri].format(chosen) if chosen else b""
                self._last_ms = batches[0].records[-1].timestamp
                if self._pacer is None:
                    pieces.append(data)
                else:
                    self._put(data)
                if self._selection.end is not None:
                    self._loop.stop()
                    break
            if self._selection.end is not None:
                break
        self._put(b"".join(pieces))

    def _put(self, data: bytes) -> None:
        if not data:
            return
        if not self._live:
            self._clear()
        if self._file is None:
            console.write(data)
        else:
            self._file.write(data)
        self._written_bytes += len(data)
        self._ends_line = data.endswith(b"\n")
        self._last_written = time.monotonic()
        if self._live and self._last_written >= self._next_tick:
            self._next_tick = self._last_written + TICK_S
            self._shown = True
            console.status(*self._progress())

    # Reports

    def _progress(self) -> list[str]:
        selection, seconds = self._selection, time.monotonic() - self._started
        read = selection.chosen + selection.skipped
        rate = format_rate(read, seconds, "records")
        records = format_count(selection.chosen, "record", "records")
        parts = [records, format_bytes(self._written_bytes), rate, self._streams()]
        sizes = [source.size for source in self._loop.sources]
        if None in sizes:
            return parts
        return with_share(parts, read, sum(size or 0 for size in sizes), seconds)

    def _tick(self) -> None:
        """Nothing has come for a moment: shows that. Raises console.ClosedOutput if the reader of stdout has gone."""
        if self._file is None:
            poll = select.poll()
            poll.register(1, 0)
            if poll.poll(0):
                raise console.ClosedOutput
        if self._hints and self._ends_line and not self._shown and time.monotonic() > self._last_written + QUIET_S:
            self._shown = True
            console.status(f"waiting for new records of {self._streams()}", f"{self._selection.chosen} so far")

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            console.status("")

    def _streams(self) -> str:
        return format_count(len(self._loop.sources), "stream", "streams")

    def _amount(self) -> str:
        seconds = time.monotonic() - self._started
        selection = self._selection
        rate = format_rate(selection.chosen + selection.skipped, seconds, "records")
        skipped = f", {selection.skipped} skipped" if selection.chooses else ""
        to = f" to {self._file.path}" if self._file is not None else ""
        amount = f"{format_bytes(self._written_bytes)}, {format_seconds(seconds)}, {rate}"
        return f"{self._streams()}: {format_count(selection.chosen, 'record', 'records')} read{to}{skipped} ({amount})"

    def _status(self) -> None:
        console.notice(self._amount())

    def complete(self) -> None:
        """To be called at the end of the read. Raises IncompleteError if the jq filter has failed on a record."""
        if self._file is not None:
            self._file.complete()
        self._tell_amount()
        self._selection.check()

    def _tell_amount(self) -> None:
        self._clear()
        if goes_to_file(self._args.output_file) or self._selection.chooses:
            console.notice(self._amount())

    def interrupted(self) -> None:
        """To be called if the read was interrupted. Says how to resume: from the time of the last record, the only
        position that all streams share."""
        console.begin_row(after_line=self._ends_line)
        self._tell_amount()
        if self._last_ms is None:
            return
        if self._file is not None and self._file.is_partial:
            console.notice(f"{self._file.path} is as it was; what was read is in {self._file.place}")
        words = ["read", *self._args.uris, "--from", f"@{self._last_ms}", *self._args.words_to_resume()]
        line = " ".join([self._target.command, *map(shell_word, words)])
        console.notice(f"stopped; to resume (records of that millisecond come again): {line}")


def _is_ending(error: S2Error) -> bool:
    """Whether a stream is being deleted."""
    return isinstance(error, ApiError) and error.code == "stream_deletion_pending"


def _parse_pattern(text: str) -> tuple[str, str]:
    """The basin and the prefix of `s2://BASIN/PREFIX*`. Raises BadValueError."""
    parse_uri(text)
    basin, _, prefix = text.removeprefix(URI_PREFIX).removesuffix("*").partition("/")
    check_basin_name(basin)
    check_stream_prefix(prefix, "prefix")
    return basin, prefix
