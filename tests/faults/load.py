"""A load of appends in which all records differ, and the comparison of a stream with what was appended."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from faults.tally import Tally
from support.s2s import Session, append_input

from s2cli.wire.s2_pb2 import AppendAck, ReadBatch

BASIN = "fault-basin"
MOST_IN_FLIGHT = 8  # batches
RETRY_S = 0.02
ANSWER_S = 60.0

LOST = (OSError, http.client.HTTPException)


class UnreadableError(Exception):
    """A read has failed."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body!r}")
        self.status = status


def body_of(stream: str, number: int) -> bytes:
    """The body of record `number` of a stream. It contains both, and its size differs from its neighbours'."""
    filler = b"%d." % (number * 7919)
    size = (number * 2654435761) % 900 if number % 50 else 20_000
    return b"%b %d " % (stream.encode(), number) + (filler * (size // len(filler) + 1))[:size]


@dataclass(frozen=True)
class Acked:
    """An ack: the records from `first` to `first + count`, exclusive, have the sequence numbers from `seq_num` on.
    `log_bytes`: how long the log of the disk was when the ack came."""

    seq_num: int
    first: int
    count: int
    log_bytes: int


class Ledger:
    """What one writer has sent to one stream, and which records were acked."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.sent = 0  # records
        self.acked: list[Acked] = []
        self.acked_count = 0
        self.created_log_bytes = 0

    def ack(self, acked: Acked) -> None:
        self.acked.append(acked)
        self.acked_count += acked.count

    def read(self, found: list[tuple[int, bytes]], log_bytes: int) -> None:
        """Counts the records that a read has shown as acked: a server shows only what is durable."""
        told = {each.seq_num + offset for each in self.acked for offset in range(each.count)}
        for seq_num, body in found:
            if seq_num not in told:
                self.ack(Acked(seq_num, int(body.split()[1]), 1, log_bytes))

    def acked_before(self, log_bytes: float) -> int:
        """How many records were acked before the log was longer than `log_bytes`."""
        return sum(each.count for each in self.acked if each.log_bytes <= log_bytes)

    def went_on(self, log_bytes: float) -> "Ledger":
        """The ledger as it was at that length of the log, for a disk with a new log. Later records may be there or
        not."""
        after = Ledger(self.stream)
        after.sent = self.sent
        for each in self.acked:
            if each.log_bytes <= log_bytes:
                after.ack(replace(each, log_bytes=0))
        return after

    def compare(self, found: list[tuple[int, bytes]], log_bytes: float) -> Tally:
        """Compares a stream with the ledger: what was acked before the log was longer than `log_bytes` must be there,
        nothing may be there twice, and nothing that was not sent."""
        acked = [each for each in self.acked if each.log_bytes <= log_bytes]
        tally = Tally(records=len(found), acked=sum(each.count for each in acked))
        there = dict(found)
        numbers = {body_of(self.stream, number): number for number in range(self.sent)}
        for each in acked:
            bodies = (body_of(self.stream, each.first + offset) for offset in range(each.count))
            tally.lost += sum(there.get(each.seq_num + offset) != body for offset, body in enumerate(bodies))
        sent_earlier = -1
        seen = set()
        for place, (seq_num, body) in enumerate(found):
            number = numbers.get(body)
            if number in seen:
                tally.duplicated += 1
            elif number is None or number < sent_earlier or seq_num != place:
                tally.reordered += 1
            else:
                seen.add(number)
                sent_earlier = number
        return tally


class Writer:
    """Appends to a stream of its own in a session, with several batches in flight, until it is stopped. It reconnects
    as often as needed. `log_bytes()` says how long the log of the disk is."""

    def __init__(self, server, ledger: Ledger, dice: random.Random, log_bytes=lambda: 0) -> None:
        self.ledger = ledger
        self._server, self._dice, self._log_bytes = server, dice, log_bytes
        self._in_flight: deque[tuple[int, int]] = deque()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._answered_s = time.monotonic()
        self.longest_stall_s = 0.0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops sending, and waits for the acks of what is in flight."""
        self._stop.set()
        self._thread.join(2 * ANSWER_S)
        assert not self._thread.is_alive(), f"an append to {self.ledger.stream} hangs"

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Waits for acks of so many more records; False if that takes too long."""
        goal = self.ledger.acked_count + count
        with self._changed:
            return self._changed.wait_for(lambda: self.ledger.acked_count >= goal, timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with contextlib.closing(Session(self._server, "POST", self.ledger.stream, BASIN)) as session:
                    if session.status != 200:
                        raise ConnectionError(session.body)
                    self._converse(session)
            except LOST:
                self.failures += 1
                self._in_flight.clear()
                self._note_answer()
                self._stop.wait(RETRY_S)

    def _converse(self, session) -> None:
        while not self._stop.is_set():
            while len(self._in_flight) < MOST_IN_FLIGHT:
                count = self._dice.choice([1, 1, 2, 5, 40])
                first = self.ledger.sent
                self.ledger.sent += count
                self._in_flight.append((first, count))
                session.append(*(body_of(self.ledger.stream, first + offset) for offset in range(count)))
            self._ack(session)
        while self._in_flight:
            self._ack(session)

    def _ack(self, session) -> None:
        frame = session.frame()
        # As early as possible: what is in the log now was done before the ack was seen.
        log_bytes = self._log_bytes()
        if frame is None or frame.status is not None:
            raise ConnectionError(frame and frame.message)
        ack = AppendAck.FromString(frame.message)
        first, count = self._in_flight.popleft()
        assert ack.end.seq_num - ack.start.seq_num == count, ack
        with self._changed:
            self.ledger.ack(Acked(ack.start.seq_num, first, count, log_bytes))
            self._changed.notify_all()
        self._note_answer()

    def _note_answer(self) -> None:
        now_s = time.monotonic()
        self.longest_stall_s = max(self.longest_stall_s, now_s - self._answered_s)
        self._answered_s = now_s


class Load:
    """Writers with their ledgers, one for each stream, which are created. With `ledgers` of an earlier load its streams
    are used again."""

    def __init__(self, server, dice, *, streams=3, log_bytes=lambda: 0, ledgers=None) -> None:
        if ledgers is None:
            post(server, "/v1/basins", {"basin": BASIN})
            ledgers = [Ledger(f"stream-{number}") for number in range(streams)]
            for ledger in ledgers:
                post(server, "/v1/streams", {"stream": ledger.stream})
                ledger.created_log_bytes = log_bytes()
        self.ledgers = ledgers
        self.writers = [Writer(server, ledger, random.Random(dice.random()), log_bytes) for ledger in ledgers]

    def wait_for(self, count: int, timeout_s: float = ANSWER_S) -> bool:
        """Waits until each writer has so many more records acked; False if that takes too long."""
        return all(writer.wait_for(count, timeout_s) for writer in self.writers)

    def stop(self) -> None:
        for writer in self.writers:
            writer.stop()

    @property
    def longest_stall_s(self) -> float:
        return max(writer.longest_stall_s for writer in self.writers)


def post(server, path: str, value: dict) -> None:
    """Makes a POST with JSON, which must succeed."""
    status, _, body = ask(server, "POST", path, json.dumps(value).encode(), {"content-type": "application/json"})
    assert status in (200, 201), (status, body)


def ask(server, method, path, body=None, headers=None):
    """Makes a request. Returns status, headers and body of the answer."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=ANSWER_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"s2-basin": BASIN} | (headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def read_stream(server, stream: str) -> list[tuple[int, bytes]]:
    """All records of a stream, with their sequence numbers. Raises UnreadableError if a read is answered with an
    error."""
    found: list[tuple[int, bytes]] = []
    headers = {"accept": "application/protobuf"}
    while True:
        seq_num = found[-1][0] + 1 if found else 0
        status, _, body = ask(
            server, "GET", f"/v1/streams/{stream}/records?seq_num={seq_num}&count=1000", headers=headers
        )
        if status == 416:
            return found
        if status != 200:
            raise UnreadableError(status, body)
        records = ReadBatch.FromString(body).records
        if not records:
            return found
        found += [(record.seq_num, record.body) for record in records]


def is_writable(server, stream: str) -> bool:
    """Whether an append to the stream succeeds."""
    headers = {"content-type": "application/protobuf", "accept": "application/protobuf"}
    status, _, _ = ask(server, "POST", f"/v1/streams/{stream}/records", append_input(b"last"), headers)
    return status == 200


def compare(server, ledgers: list[Ledger], log_bytes: float = float("inf")) -> Tally:
    """Compares all streams with their ledgers, and tests whether each takes an append, which is not in its ledger. A
    loss that the server does not report is silent."""
    tally = Tally()
    said = server.status() != 200
    for ledger in ledgers:
        if ledger.created_log_bytes > log_bytes:
            continue  # its creation was not acknowledged yet
        try:
            tally += ledger.compare(read_stream(server, ledger.stream), log_bytes)
        except UnreadableError as error:
            said = said or error.status >= 500  # "not found" does not report a loss
            tally += Tally(lost=ledger.acked_before(log_bytes), complaints=[f"{ledger.stream} cannot be read: {error}"])
        if not is_writable(server, ledger.stream):
            tally.complaints.append(f"{ledger.stream} takes no appends")
    if (tally.lost or tally.duplicated or tally.reordered) and not said:
        tally.silent += 1
    return tally
