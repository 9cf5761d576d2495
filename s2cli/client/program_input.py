"""The input of an append that runs a program: the lines that it writes to stdout and stderr, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

from s2cli.client.input_files import INPUT_BYTES, InputFiles
from s2cli.client.retry import SIGINT, Interrupts
from s2cli.client.waking_queue import WakingQueue
from s2cli.errors import UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Protocol

    from s2cli.errors import S2Error
    from s2cli.wire.append_input import Records

    class StreamInput(Protocol):
        """See formats/stream_input.py."""

        error: S2Error | None

        def feed_stream(self, name: str, data: bytes) -> list[Records]: ...
        def finish_streams(self, exit_code: int, how: str) -> list[Records]: ...


# Bytes of its output that are read ahead of the append. Beyond them the program waits, as it would for any pipe.
MAX_QUEUED_BYTES = 1024 * 1024
STREAMS = ("stdout", "stderr")


class ProgramInput(InputFiles):
    """start() runs the program. The input ends when all processes that have its output open have ended. `exit_code` is
    then that of the program, as a shell counts it: 128 and more for a signal."""

    __slots__ = ("_process", "_program", "_queue", "exit_code", "streams")

    def __init__(self, program: tuple[str, ...]) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._queue: WakingQueue[tuple[str, bytes]] = WakingQueue(MAX_QUEUED_BYTES, writers=len(STREAMS))
        self.streams: StreamInput
        self.exit_code = 0
        super().__init__((f"the output of {program[0]}",), fd=self._queue.fd)

    def start(self) -> None:
        """Runs the program. Raises UsageError if it cannot be run."""
        try:
            self._process = subprocess.Popen(  # noqa: S603 - that it is run is what was asked for
                self._program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except (OSError, ValueError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            raise UsageError(f"cannot run {self._program[0]}: {why}") from error
        for name, pipe in zip(STREAMS, (self._process.stdout, self._process.stderr), strict=True):
            threading.Thread(target=self._pump, args=(name, pipe), daemon=True).start()

    def send_signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _pump(self, name: str, pipe: IO[bytes]) -> None:
        while data := os.read(pipe.fileno(), INPUT_BYTES):
            self._queue.put([(name, data)], len(data))
        if name == STREAMS[0]:
            assert self._process is not None
            self._process.wait()
        self._queue.close()

    def read(self) -> list[Records]:
        pieces, self.ended = self._queue.take()
        batches: list[Records] = []
        for name, data in pieces:
            batches += self.streams.feed_stream(name, data)
        if self.ended and self.streams.error is None:
            assert self._process is not None
            status = self._process.wait()
            self.exit_code = status if status >= 0 else 128 - status
            batches += self.streams.finish_streams(self.exit_code, _describe_end(status))
        return batches


class PassedOnInterrupts(Interrupts):
    """Signals go to the program, which decides how it ends. From the second on they stop the append, too."""

    __slots__ = ("_has_terminal", "_is_first", "_program")

    def __init__(self, program: ProgramInput, *, has_terminal: bool) -> None:
        super().__init__()
        self._program = program
        self._has_terminal = has_terminal
        self._is_first = True

    def _on_signal(self, number: int, frame: object) -> None:
        if number != SIGINT or not self._has_terminal:  # a terminal sends Ctrl-C to the program, too
            self._program.send_signal(number)
        if self._is_first:
            self._is_first = False
            return
        super()._on_signal(number, frame)


def _describe_end(status: int) -> str:
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
