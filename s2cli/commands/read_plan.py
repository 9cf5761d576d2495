"""Where a read starts and ends: what the options say, and the sequence numbers that follow from the tail of a
stream."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client.stream_client import StreamClient, is_forbidden, keep_trying
from s2cli.errors import S2Error, UsageError
from s2cli.positions import Position, parse_position
from s2cli.values import parse_duration_ms, parse_option
from s2cli.wire.read_session import FIRST_LIKELY_TIME, ReadSession, beyond_tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.read_args import ReadArgs, TailArgs
    from s2cli.client.retry import RetryPolicy, Waiter


class ReadPlan:
    """Where a read starts and ends in any stream, and its other limits. An `end` of None is the current tail, or with
    `follow` no end at all. `count` is None if it is not limited, or if something else counts the records."""

    __slots__ = ("bytes_limit", "clamp", "count", "end", "follow", "start")

    def __init__(
        self,
        start: Position,
        end: Position | None,
        *,
        follow: bool,
        clamp: bool,
        count: int | None = None,
        bytes_limit: int | None = None,
    ) -> None:
        self.start = start
        self.end = end
        self.follow = follow
        self.clamp = clamp
        self.count = count
        self.bytes_limit = bytes_limit

    def open(self, stream: StreamClient, waiter: Waiter, retry: RetryPolicy, *, bodies_only: bool) -> ReadSession:
        """The read session of one stream. Asks for the tail if anything depends on it. That is looked up once, so that
        a reconnect does not move the start or the end. Raises what new_session() raises, and errors of the call."""
        tail = None
        if not self.follow or _needs_tail(self.start) or (self.end is not None and _needs_tail(self.end)):
            tail = find_tail(stream, waiter, retry)
        return self.new_session(tail, bodies_only=bodies_only)

    def new_session(self, tail: int | None, *, bodies_only: bool) -> ReadSession:
        """The read session of a stream with this tail; None if it is not known. Raises PreconditionError if the start
        is beyond the tail, unless it is to be clamped."""
        end, count = self.end, self.count
        name, value = _counted(self.start)
        if name == "tail_offset" and tail is not None:
            name, value = "seq_num", max(0, tail - value)
        if name == "seq_num" and tail is not None and value > tail:
            if not self.clamp:
                raise beyond_tail(value, tail)
            value = tail
        until = end.value if end is not None and end.kind == "timestamp" else None
        end_seq_num = None if self.follow else tail
        if end is not None and end.kind != "timestamp":
            wanted = _end_seq_num(end, tail)
            if tail is not None and wanted > tail and wanted >= FIRST_LIKELY_TIME:
                console.notice(
                    f"--to {wanted} is a sequence number, far beyond the tail; a time is written --to @{wanted}"
                )
            end_seq_num = wanted if end_seq_num is None else min(wanted, end_seq_num)
        if name == "timestamp" and until is not None and value >= until:
            count = 0  # the server would refuse an empty range
        session = ReadSession(
            (name, value),
            follow=self.follow,
            # A time after that of the last record means the tail.
            clamp=(self.clamp and tail is None) or name == "timestamp",
            count=count,
            bytes_limit=self.bytes_limit,
            until=until,
            end_seq_num=end_seq_num,
            bodies_only=bodies_only,
        )
        session.tail = tail
        return session


def plan_read(args: ReadArgs) -> ReadPlan:
    """The plan for the options of `s2 read`. Raises UsageError if two of them contradict each other."""
    now_ms = time.time_ns() // 1_000_000
    start = _start(args, now_ms)
    end = _position("--to", args.to, now_ms) if args.to is not None else None
    if args.until is not None:
        if end is not None:
            raise UsageError("--to and --until name two ends: give one of them")
        end = Position("timestamp", args.until)
    if end is not None:
        _refuse_backwards(start, end)
    return ReadPlan(start, end, follow=args.follow, clamp=args.clamp, count=args.count, bytes_limit=args.bytes)


def plan_tail(args: TailArgs) -> ReadPlan:
    return ReadPlan(Position("tail_offset", args.lines), None, follow=args.follow, clamp=True)


def _start(args: ReadArgs, now_ms: int) -> Position:
    given: list[tuple[str, Position]] = []
    if args.from_ is not None:
        given.append(("--from", _position("--from", args.from_, now_ms)))
    if args.seq_num is not None:
        given.append(("--seq-num", Position("seq_num", args.seq_num)))
    if args.timestamp is not None:
        given.append(("--timestamp", Position("timestamp", args.timestamp)))
    if args.ago is not None:
        ago_ms = parse_option("--ago", parse_duration_ms, args.ago)
        given.append(("--ago", Position("timestamp", max(0, now_ms - ago_ms))))
    if args.tail_offset is not None:
        given.append(("--tail-offset", Position("tail_offset", args.tail_offset)))
    if len(given) > 1:
        raise UsageError(f"{given[0][0]} and {given[1][0]} name two starts: give one of them")
    return given[0][1] if given else Position("start", 0)


def _position(option: str, text: str, now_ms: int) -> Position:
    return parse_option(option, lambda text: parse_position(text, now_ms), text)


def _refuse_backwards(start: Position, end: Position) -> None:
    """Raises UsageError if the end is before the start, as far as that shows without knowing the stream."""
    (kind, first), (end_kind, last) = map(_counted, (start, end))
    if kind != end_kind:
        backwards = (end_kind, last) == ("seq_num", 0)  # nothing is before it
    elif kind == "tail_offset":  # counted backwards
        backwards = first < last
    else:
        backwards = first > last
    if backwards:
        raise UsageError("the read would end before it starts", hint="give the earlier position to --from")


def _counted(position: Position) -> tuple[str, int]:
    """A position as kind and value, where `start` is sequence number 0 and `end` the tail offset 0."""
    kind = {"start": "seq_num", "end": "tail_offset"}.get(position.kind, position.kind)
    return kind, position.value


def _needs_tail(position: Position) -> bool:
    return position.kind in ("tail_offset", "end")


def find_tail(stream: StreamClient, waiter: Waiter, retry: RetryPolicy) -> int | None:
    """The tail; None if the access token does not allow check-tail. Raises S2Error."""
    try:
        return keep_trying(stream, waiter, retry, stream.check_tail)[0]
    except S2Error as error:
        if is_forbidden(error):
            return None
        raise


def _end_seq_num(end: Position, tail: int | None) -> int:
    if end.kind == "start":
        return 0
    if end.kind == "seq_num":
        return end.value
    if tail is None:
        raise UsageError("--to counts from the tail, but the access token does not allow check-tail")
    return max(0, tail - end.value)
