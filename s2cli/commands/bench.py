"""`s2 bench`: makes streams, measures how they are written and read, and deletes them."""

from __future__ import annotations

import os

from s2cli.bench.measure import Plan, Run
from s2cli.bench.payload import LEAST_RECORD_BYTES
from s2cli.bench.plot import check_plot, draw
from s2cli.bench.result import compare, read_result, result
from s2cli.cli import console
from s2cli.client import api
from s2cli.client.api import ApiClient
from s2cli.client.retry import Interrupted, Interrupts
from s2cli.client.sockets import LostError
from s2cli.client.stream_client import StreamClient
from s2cli.commands.append import inflight_bytes
from s2cli.commands.append_report import OUTCOMES
from s2cli.commands.bench_output import Display, checked_text, print_differences, print_run
from s2cli.commands.connect import open_settings
from s2cli.commands.resource_options import new_request_token
from s2cli.errors import ApiError, ExitCode, IncompleteError, MismatchError, PreconditionError, S2Error, UsageError
from s2cli.values import S2Uri, parse_resource
from s2cli.wire.names import check_basin_name, check_stream_name
from s2cli.wire.protobuf import MAX_RECORD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s2cli.bench.result import Fields
    from s2cli.cli.bench_args import BenchArgs

# A stream that cannot be deleted removes itself: its records expire after an hour, and then the empty stream is
# deleted.
CONFIG = {"retention_policy": {"age": 3600}, "delete_on_empty": {"min_age_secs": 60}}
# The defaults are those of the official tool.
RECORD_BYTES, BYTES_PER_S, DURATION_S, CATCH_UP_DELAY_S = 8192, 1 << 20, 60.0, 20.0
LEAST_EVERY_S = 1e-5  # between two batches
BUSY = 0.9  # of a core: above it the bench itself may be the bottleneck


def bench(args: BenchArgs) -> int:
    record_bytes = RECORD_BYTES if args.record_size_bytes is None else args.record_size_bytes
    uri = _checked_uri(args, record_bytes)
    settings = open_settings(args)
    target, key = settings.target(), settings.encryption_key(args.encryption_key_file)
    client = ApiClient(target, settings.timeout_s, console.notice)
    made = MadeStreams(client, uri.basin, args)
    names = made.names if uri.stream is None else [uri.stream]
    streams = [StreamClient(target, uri.basin, name, settings.timeout_s, key) for name in names]
    inflight = inflight_bytes(streams[0]) if args.inflight_bytes is None else args.inflight_bytes
    plan = _plan(args, record_bytes, inflight)
    old = None if args.compare is None else read_result(args.compare, plan)
    if args.plot is not None:
        check_plot(args.plot)
    place = str(S2Uri(uri.basin, uri.stream or made.prefix))
    display = Display(place)
    run: Run | None = None
    code: int = ExitCode.OK
    failure: S2Error | None = None
    with Interrupts() as interrupts:
        try:
            if uri.stream is None:
                made.create(interrupts)
            run = Run(plan, streams, interrupts, display.show, are_empty=uri.stream is None)
            run.run()
        except Interrupted:
            code = interrupts.exit_code
        except S2Error as error:
            failure = streams[0].explain(error)
            if run is not None and isinstance(failure, LostError):
                failure = failure.reworded(
                    f"the bench ends early, with what it has measured: {failure.message}",
                    hint="figures with an outage in them would say nothing: run it again",
                )
            code = failure.exit_code
        finally:
            console.status("")
            left = made.delete(interrupts)
    client.close()
    worse = None
    if run is not None:
        outcome = "mismatch" if isinstance(failure, MismatchError) else OUTCOMES.get(code, "failed")
        worse = _report(args, run, place, outcome, old)
    failure = failure or (None if code else left or worse)
    if failure is not None:
        raise failure
    return code


def _checked_uri(args: BenchArgs, record_bytes: int) -> S2Uri:
    """The basin or stream of the command line. Raises UsageError for every option that is out of its bounds."""
    uri = parse_resource(args.uri)
    check_basin_name(uri.basin)
    if uri.stream is not None:
        check_stream_name(uri.stream)
        if args.streams > 1:
            raise UsageError(f"{args.uri} is one stream: --streams {args.streams} needs a basin")
        if args.storage_class is not None:
            raise UsageError(f"--storage-class is for streams that the bench makes, and {args.uri} is there already")
    if not LEAST_RECORD_BYTES <= record_bytes <= MAX_RECORD_BYTES:
        raise UsageError(f"--record-size {record_bytes} is not from {LEAST_RECORD_BYTES} B to 1 MiB")
    if args.duration_s == 0:
        raise UsageError("--duration 0 would measure nothing")
    if args.inflight_bytes == 0:
        raise UsageError("--inflight 0 would never send anything", hint="give a size, for example --inflight 4MiB")
    return uri


def _plan(args: BenchArgs, record_bytes: int, inflight: int) -> Plan:
    delay_s = CATCH_UP_DELAY_S if args.catchup_delay_s is None else args.catchup_delay_s
    plan = Plan(
        record_bytes=record_bytes,
        bytes_per_s=_bytes_per_s(args, record_bytes),
        duration_s=DURATION_S if args.duration_s is None else args.duration_s,
        streams=args.streams,
        writers=args.writers,
        readers=args.readers,
        batch_records=args.batch_records,
        inflight_bytes=inflight,
        catch_up_delay_s=None if args.no_catchup else delay_s,
    )
    if plan.batch_every_s is not None and plan.batch_every_s < LEAST_EVERY_S:
        per_s = round(1 / plan.batch_every_s)
        raise UsageError(f"that rate is {per_s} batches a second, and {round(1 / LEAST_EVERY_S)} is the most")
    return plan


def _bytes_per_s(args: BenchArgs, record_bytes: int) -> float | None:
    """The rate of all streams together, in metered bytes a second; None with --max."""
    if args.max:
        return None
    if args.rate is not None:
        return args.rate.amount * (record_bytes if args.rate.unit == "records" else 1)
    return float(BYTES_PER_S if args.target_mibps is None else args.target_mibps << 20)


class MadeStreams:
    """The streams that a bench creates and deletes."""

    def __init__(self, client: ApiClient, basin: str, args: BenchArgs) -> None:
        self._client = client
        self._basin = basin
        self._config: dict[str, object] = dict(CONFIG)
        if args.storage_class is not None:
            self._config["storage_class"] = args.storage_class
        self.prefix = f"bench/{os.urandom(8).hex()}"
        self.names = [self.prefix]
        if args.streams > 1:
            self.names = [f"{self.prefix}/{number:04}" for number in range(args.streams)]
        self._made: list[str] = []

    def create(self, interrupts: Interrupts) -> None:
        """Creates all of them. Raises Interrupted at a signal, and the error that the server answers."""
        for number, name in enumerate(self.names, 1):
            console.status(f"making streams: {number} of {len(self.names)}", f"s2://{self._basin}/{self.prefix}")
            self._made.append(name)  # beforehand: the answer may be lost
            try:
                api.create_stream(self._client, self._basin, name, self._config, new_request_token())
            except S2Error as error:
                if error.no_side_effect:
                    self._made.pop()
                raise
            if interrupts.count > interrupts.seen:
                raise Interrupted

    def delete(self, interrupts: Interrupts) -> S2Error | None:
        """Deletes the streams that create() may have created. If some are left, prints which, and returns the error of
        that. Another signal stops it."""
        interrupts.seen = interrupts.count
        left: list[str] = []
        why = ""
        for number, name in enumerate(self._made, 1):
            if why:
                left.append(name)
                continue
            console.status(f"deleting streams: {number} of {len(self._made)}", f"s2://{self._basin}/{self.prefix}")
            try:
                api.delete_stream(self._client, self._basin, name, new_request_token())
            except S2Error as error:
                if not isinstance(error, ApiError) or error.code != "stream_not_found":
                    left.append(name)
                    why = error.message
            if interrupts.count > interrupts.seen and number < len(self._made):
                why = "interrupted"
        console.status("")
        if not left:
            return None
        others = f" and {len(left) - 1} more" if len(left) > 1 else ""
        text = f"not deleted: s2://{self._basin}/{left[0]}{others} ({why}); what it has expires within an hour"
        console.warn(text)
        return IncompleteError(text)


def _report(args: BenchArgs, run: Run, uri: str, outcome: str, old: Mapping[str, object] | None) -> S2Error | None:
    """Prints what was measured. Returns an error if a figure is worse than in the result `old`."""
    if run.client_cpu > BUSY:
        percent = round(run.client_cpu * 100)
        console.warn(f"the bench itself kept {percent} % of a core busy: the server may take more than this shows")
    if outcome == "ok":
        console.done(checked_text(run), told=args.output is None)
    fields: Fields = result(run, uri, outcome)
    differences = compare(old, fields, args.tolerance_percent) if old is not None and outcome == "ok" else []
    if args.output is None:
        if run.write.records:
            print_run(run)
        print_differences(differences)
    else:
        if args.compare is not None:
            fields["compared"] = [difference.fields() for difference in differences]
        console.print_json(fields)
    if args.plot is not None:
        draw(run, uri, args.plot)
    worse = [difference.name for difference in differences if difference.is_worse]
    if not worse:
        return None
    return PreconditionError(f"worse than {args.compare} by more than {args.tolerance_percent} %: {', '.join(worse)}")
