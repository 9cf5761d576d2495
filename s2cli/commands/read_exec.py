"""`read --exec`: runs a shell command for each record, at least once. The position of the read moves past a record only
when its command has succeeded, or the record was appended to the dead-letter stream."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from s2cli.cli import console
from s2cli.client.append_loop import AppendLoop, AppendOptions
from s2cli.client.retry import Interrupts
from s2cli.errors import S2Error, describe
from s2cli.formats.input import open_input
from s2cli.wire.append_input import encode_headers, encode_record, encoded_records
from s2cli.wire.append_session import AppendSession
from s2cli.wire.read_session import Delivered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.client.stream_client import StreamClient
    from s2cli.commands.read_selection import Selection
    from s2cli.wire.s2_pb2 import SequencedRecord

FIRST_DELAY_S, LAST_DELAY_S = 0.2, 30.0
# How many records may wait for an older one, for each command that runs in parallel
_AHEAD = 4
_INFLIGHT_BYTES = 4 * 1024 * 1024


class CommandRunner:
    """Runs `command` with `sh -c` for each record that `selection` chooses, at most `parallel` at a time. The body is
    its standard input; the rest of the record is in its environment. A command that fails is run again, up to `retries`
    times. Then the record goes to `dead_letter`; if that is None, the read ends."""

    def __init__(
        self,
        command: str,
        stream: str,
        selection: Selection,
        *,
        parallel: int,
        retries: int,
        dead_letter: StreamClient | None,
    ) -> None:
        self._command = command
        self._stream = stream
        self._selection = selection
        self._retries = retries
        self._dead_letter = dead_letter
        self._pool = ThreadPoolExecutor(parallel)
        self._stopped = threading.Event()
        self._most = parallel * _AHEAD if parallel > 1 else 1
        self.dead = 0  # records appended to the dead-letter stream

    def parts(self, batches: list[Delivered]) -> Iterator[tuple[list[Delivered], int]]:
        """Yields each record when its command and those of all records before it are done, with the sequence number
        after it. Raises S2Error if a command fails and there is no dead-letter stream."""
        try:
            yield from self._parts(batches)
        except BaseException:
            self._stopped.set()  # after Ctrl-C or a failure no further command is started
            raise

    def _parts(self, batches: list[Delivered]) -> Iterator[tuple[list[Delivered], int]]:
        running: deque[tuple[SequencedRecord, Future[str | None] | None]] = deque()
        for batch in batches:
            for record in batch.records:
                if self._selection.end is not None:
                    break
                one = Delivered(record.seq_num, None, [record])
                chosen = self._selection.choose([one], self._stream)
                future = None
                if chosen:
                    body = record.body if chosen[0].bodies is None else chosen[0].bodies[0]
                    future = self._pool.submit(self._run, record, body)
                running.append((record, future))
                while len(running) >= self._most:
                    yield self._finish(*running.popleft())
        while running:
            yield self._finish(*running.popleft())

    def _finish(self, record: SequencedRecord, future: Future[str | None] | None) -> tuple[list[Delivered], int]:
        failure = None if future is None else future.result()
        if failure is not None:
            failure = f"the command failed on record {record.seq_num}: {failure}"
            if self._dead_letter is None:
                raise S2Error(failure, hint=f"to resume with that record: --from {record.seq_num}")
            console.notice(f"{failure}; the record goes to s2://{self._dead_letter.basin}/{self._dead_letter.stream}")
            self._bury(self._dead_letter, record, failure)
            self.dead += 1
        return [Delivered(record.seq_num, None, [record])], record.seq_num + 1

    def _run(self, record: SequencedRecord, body: bytes) -> str | None:
        """Runs in a thread of the pool. None if the command has succeeded, else how it failed the last time."""
        environment = os.environ | _variables(record, self._stream)
        failure = ""
        for attempt in range(1 + self._retries):
            delay_s = min(FIRST_DELAY_S * 2 ** (attempt - 1), LAST_DELAY_S) if attempt else 0
            if self._stopped.wait(delay_s):
                return "stopped"
            try:
                words = ["/bin/sh", "-c", self._command]
                done = subprocess.run(words, input=body, env=environment, check=False)  # noqa: S603 - it is asked for
            except OSError as error:  # more headers than an environment may have, or no more processes
                failure = describe(error)
                continue
            if done.returncode == 0:
                return None
            code = done.returncode
            failure = f"exit code {code}" if code > 0 else f"signal {-code}"
        return failure if not self._retries else f"{failure}, {1 + self._retries} times"

    def _bury(self, stream: StreamClient, record: SequencedRecord, failure: str) -> None:
        """Appends the record to the dead-letter stream, with further headers: where it came from, and how its command
        failed. Returns when it is durable."""
        headers = [(header.name, header.value) for header in record.headers]
        headers += [
            (b"s2-source", self._stream.encode()),
            (b"s2-seq-num", b"%d" % record.seq_num),
            (b"s2-timestamp", b"%d" % record.timestamp),
            (b"s2-failure", failure.encode()),
        ]
        encoded = encode_record(record.body, encode_headers(headers))
        loop = AppendLoop(
            stream,
            AppendSession(),
            open_input("text", b"\n", []),
            None,
            AppendOptions(inflight_bytes=_INFLIGHT_BYTES),
            Interrupts(),  # never entered: a signal ends the read, and the next run gets the record again
            console.notice,
            console.detail,
        )
        loop.add(encoded_records([encoded], len(record.body)))
        loop.run()


def _variables(record: SequencedRecord, stream: str) -> dict[str, str]:
    """The variables that describe a record to its command. A header whose value has a NUL gets none of its own."""
    pairs = [
        (header.name.decode("utf-8", "surrogateescape"), header.value.decode("utf-8", "surrogateescape"))
        for header in record.headers
    ]
    shown = [[part.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for part in pair] for pair in pairs]
    variables = {
        "S2_RECORD_STREAM": stream,
        "S2_RECORD_SEQ_NUM": str(record.seq_num),
        "S2_RECORD_TIMESTAMP": str(record.timestamp),
        "S2_RECORD_HEADERS": json.dumps(shown),
    }
    for name, value in pairs:
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.upper())
        if "\0" not in value:
            variables.setdefault(f"S2_RECORD_HEADER_{letters}", value)
    return variables
