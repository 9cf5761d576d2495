"""A load of `s2 append` and `s2 read --follow` on one stream, for faults of processes and networks."""

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from faults.load import BASIN, Acked, Ledger, ask, body_of, read_stream
from faults.tally import Tally

STREAM = "commands"
URI = f"s2://{BASIN}/{STREAM}"
LINES = 100  # fed at once
PAUSE_S = 0.005
WAIT_S = 90.0
LOOK_S = 0.2
RAISED = 5  # the exit code of an append whose condition failed
LINES_BETWEEN = 300  # printed between two faults
MOST_WAIT_S = 0.3  # then a fault comes, at any moment


class CommandLoad:
    """Feeds lines to `s2 append` at a steady pace, and collects what `s2 read --follow` prints. Both connect to `port`,
    which may be that of a proxy; `direct` is the server itself."""

    def __init__(self, port: int, direct) -> None:
        self.ledger = Ledger(STREAM)
        self.complaints: list[str] = []
        self.longest_stall_s = 0.0
        self.faults = 0
        self._url = f"http://127.0.0.1:{port}"
        self._direct = direct
        self._account: dict = {}
        self._stop = threading.Event()
        self._printed = bytearray()
        self._printed_lines = 0
        self._changed = threading.Condition()
        self._append = self._start("append", URI, "--create", "-o", "json", "--max-outage", f"{WAIT_S:.0f}s")
        self._feeder = threading.Thread(target=self._feed, args=(self._append, 0), daemon=True)
        self._feeder.start()
        self._read: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        env = {"S2_ACCOUNT_ENDPOINT": self._url, "S2_BASIN_ENDPOINT": self._url, "S2_ACCESS_TOKEN": "ignored"}
        return subprocess.Popen(
            [sys.executable, "-m", "s2cli", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **env},
        )

    @property
    def append_pid(self) -> int:
        return self._append.pid

    def _feed(self, append, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            while not self._stop.is_set() or number < self.ledger.sent:
                end = max(min(number + LINES, self.ledger.sent), number + LINES if not self._stop.is_set() else 0)
                self.ledger.sent = max(self.ledger.sent, end)
                append.stdin.write(b"".join(body_of(STREAM, line) + b"\n" for line in range(number, end)))
                append.stdin.flush()
                number = end
                time.sleep(PAUSE_S)

    def follow(self) -> None:
        """Starts the follower. The stream must exist."""
        while self.tail() is None:
            time.sleep(PAUSE_S)
        self._read = self._start("read", "--follow", URI, "--max-outage", f"{WAIT_S:.0f}s")
        self._listener = threading.Thread(target=self._listen, args=(self._read,), daemon=True)
        self._listener.start()

    def _listen(self, read) -> None:
        since_s = time.monotonic()
        while piece := os.read(read.stdout.fileno(), 1 << 18):
            now_s = time.monotonic()
            with self._changed:
                self.longest_stall_s = max(self.longest_stall_s, now_s - since_s)
                since_s = now_s
                self._printed += piece
                self._printed_lines += piece.count(b"\n")
                self._changed.notify_all()

    def wait_for(self, lines: int) -> bool:
        """Waits until the follower has printed so many more lines; False if that takes too long."""
        goal = self._printed_lines + lines
        deadline_s = time.monotonic() + WAIT_S
        while self._printed_lines < goal and time.monotonic() < deadline_s:
            with self._changed:
                self._changed.wait_for(lambda: self._printed_lines >= goal, LOOK_S)
            if self._append.poll() == RAISED:
                self._resume()
        return self._printed_lines >= goal

    def run(self, dice: random.Random, turns: int, fault: Callable[[], None]) -> Tally:
        """Lets the fault happen so many times, at random moments, and returns the result."""
        self.follow()
        for _ in range(turns):
            if not self.wait_for(LINES_BETWEEN):
                self.complaints.append("the follower prints nothing more")
                break
            time.sleep(dice.uniform(0, MOST_WAIT_S))
            fault()
            self.faults += 1
        self.wait_for(LINES_BETWEEN)
        return self.end()

    def tail(self) -> int | None:
        """The tail of the stream; None if the server does not answer."""
        with contextlib.suppress(OSError):
            status, _, body = ask(self._direct, "GET", f"/v1/streams/{STREAM}/records/tail")
            if status == 200:
                seq_num: int = json.loads(body)["tail"]["seq_num"]
                return seq_num
        return None

    def kill_append(self) -> None:
        """Kills the append with SIGKILL, and starts another one that continues where the stream ends."""
        self._append.kill()
        self._resume()

    def _resume(self) -> None:
        """Appends what the stream does not have yet. A late batch of a killed append may move the tail meanwhile: then
        the condition fails, and this is done again."""
        self._end_append()
        while (tail := self.tail()) is None:
            time.sleep(PAUSE_S)
        self._append = self._start("append", URI, "-o", "json", "-m", str(tail), "--max-outage", f"{WAIT_S:.0f}s")
        self._feeder = threading.Thread(target=self._feed, args=(self._append, tail), daemon=True)
        self._feeder.start()

    def _end_append(self) -> int:
        self._feeder.join(WAIT_S)
        output = self._append.communicate()[0]
        self._account = json.loads(output) if output else {}
        return self._append.returncode

    def end(self) -> Tally:
        """Ends the input, waits for the commands, and returns the result."""
        self._stop.set()
        while (code := self._end_append()) == RAISED:
            self._resume()
        if code:
            self.complaints.append(f"append exits with {code}: {self._account}")
        else:
            self.ledger.ack(Acked(0, 0, self.ledger.sent, 0))
        found = read_stream(self._direct, STREAM)
        tally = self.ledger.compare(found, 0)
        if tally.lost or tally.duplicated or tally.reordered:
            tally.silent += not code
        with self._changed:
            self._changed.wait_for(lambda: self._printed_lines >= len(found), WAIT_S)
        self.close()
        if self._printed.splitlines() != [body for _, body in found]:
            tally.complaints.append("the follower printed something else than the stream has")
            tally.silent += 1
        tally.complaints += self.complaints
        tally.runs, tally.faults, tally.stall_s = 1, self.faults, self.longest_stall_s
        return tally

    def close(self) -> None:
        """Kills all processes."""
        self._stop.set()
        for process in (self._append, self._read):
            if process is not None:
                process.kill()
                process.wait()
        if self._listener is not None:
            self._listener.join(WAIT_S)
