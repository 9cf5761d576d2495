"""A TCP proxy that does what networks do at their worst: it cuts connections, half-way through a frame if need be,
stalls and delays them, one direction or both, and delivers later what they carried."""

import contextlib
import socket
import struct
import threading
import time

from support.ports import stop_accepting
from support.waiting import TIMEOUT_S, unread_bytes, unsent_bytes

from s2cli.wire.frames import FrameReader
from s2cli.wire.s2_pb2 import AppendAck

PIECE_BYTES = 64 * 1024
ANSWERS_BYTES = 1024 * 1024


class Link:
    """One connection through the proxy. While it is `holding`, what the client sends is kept instead of passed on;
    while it is `mute`, what the server answers is dropped. While `up_open` (`down_open`) is not set, what the client
    (the server) sends waits; each piece is passed on `delay_s` later."""

    def __init__(self, client: socket.socket, server: socket.socket, refusals: list[bytes]) -> None:
        self._refusals = refusals
        self.client = client
        self.server = server
        self.held: list[bytes] = []
        self.holding = threading.Event()
        self.mute = threading.Event()
        self.passed = 0  # bytes of the client that were passed to the server
        self.session_passed = 0  # of these, what belongs to an append session
        self.answered = 0  # bytes of the server that were passed to the client
        self._answers = bytearray()  # these bytes, while there are few of them
        self.answer_at_most = 1 << 60  # then it is mute, in the middle of whatever it is saying
        self.reset_at = (1 << 60, 1 << 60)  # as many bytes passed or answered, and it breaks off there with a reset
        self.up_open, self.down_open = threading.Event(), threading.Event()
        self.up_open.set()
        self.down_open.set()
        self.delay_s = 0.0
        self._lock = threading.Lock()
        self._cut = False
        self._threads = [threading.Thread(target=way, daemon=True) for way in (self._pass_up, self._pass_down)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _pass_up(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.client.recv(PIECE_BYTES):
                if data.startswith(b"POST ") and self._refusals:
                    self.client.sendall(self._refusals.pop(0))
                    self.client.shutdown(socket.SHUT_WR)
                    continue
                with self._lock:
                    if self.holding.is_set():
                        self.held.append(data)
                        continue
                self._wait(self.up_open)
                data = data[: self.reset_at[0] - self.passed]
                self.server.sendall(data)
                self.passed += len(data)
                if self.passed == self.reset_at[0]:
                    self.reset()
                if self.session_passed or data.startswith(b"POST "):
                    self.session_passed += len(data)
        if not self._cut:
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)

    def _pass_down(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.server.recv(PIECE_BYTES):
                self._wait(self.down_open)
                if not self.mute.is_set():
                    data = data[: min(self.answer_at_most, self.reset_at[1]) - self.answered]
                    self.client.sendall(data)
                    if self.answered < ANSWERS_BYTES:
                        self._answers += data
                    self.answered += len(data)
                    if self.answered == self.answer_at_most:
                        self.mute.set()
                    if self.answered == self.reset_at[1]:
                        self.reset()
        if not self._cut:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)

    def _wait(self, gate: threading.Event) -> None:
        if self.delay_s:
            time.sleep(self.delay_s)
        gate.wait()

    def _open(self) -> None:
        """Nobody waits at it for anything any more."""
        self.up_open.set()
        self.down_open.set()

    def coming_bytes(self) -> int:
        """What the client has sent and has not been taken here, as the kernel tells it."""
        return unsent_bytes(self.client) + unread_bytes(self.client)

    @property
    def is_cut(self) -> bool:
        return self._cut

    @property
    def held_bytes(self) -> int:
        with self._lock:
            return sum(map(len, self.held))

    def acked_records(self) -> int:
        """How many records are covered by the acks that were passed to the client, of an append session in HTTP/1.1."""
        _, session, rest = bytes(self._answers).partition(b"transfer-encoding: chunked")
        chunks = rest.partition(b"\r\n\r\n")[2]
        frames, acked = FrameReader(), 0
        while session and b"\r\n" in chunks:
            size, _, chunks = chunks.partition(b"\r\n")
            for frame in frames.feed(chunks[: int(size, 16)]):
                ack = AppendAck.FromString(frame.message)
                acked += ack.end.seq_num - ack.start.seq_num
            chunks = chunks[int(size, 16) + 2 :]
        return acked

    def hold(self) -> None:
        with self._lock:
            self.holding.set()

    def cut(self, *, keep: bool) -> None:
        """The client's end breaks. With `keep` the server's end stays as it is, until deliver() or drop()."""
        self._cut = True
        self.mute.set()
        self._open()
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)
        if not keep:
            self.drop()

    def reset(self) -> None:
        """Both ends break off with a reset: what is under way is lost."""
        self._cut = True
        self.mute.set()
        self._open()
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Whoever waits there for bytes is woken, and nothing is sent by that.
                end.shutdown(socket.SHUT_RD)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(TIMEOUT_S)
        self.client.close()
        self.server.close()

    def deliver(self) -> int:
        """Passes what was held to the server, and then the end. Returns how many bytes that was."""
        with self._lock:
            data = b"".join(self.held)
            self.held.clear()
        with contextlib.suppress(OSError):
            self.server.sendall(data)
            self.server.shutdown(socket.SHUT_WR)
        return len(data)

    def close(self) -> None:
        self.cut(keep=False)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        self.client.close()
        self.server.close()

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)


class CuttingProxy:
    """Listens on a free port of its own and passes connections on to `port`. `open` False: nobody gets through."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = True
        self.refusals: list[bytes] = []  # the answers to the next POSTs, which do not get through
        self.links: list[Link] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.open:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream), TIMEOUT_S)
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Link(client, server, self.refusals)
                with self._changed:
                    self.links.append(link)
                    self._changed.notify_all()
                link.start()  # whoever has been given a byte by it finds it in the list

    def wait_for_link(self, count: int) -> Link:
        """The connection that was made as number `count`, counted from 1."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.links) >= count, TIMEOUT_S), "nobody connected"
            return self.links[count - 1]

    def env(self) -> dict[str, str]:
        return {"S2_ACCOUNT_ENDPOINT": self.url, "S2_BASIN_ENDPOINT": self.url, "S2_ACCESS_TOKEN": "ignored"}

    def close(self) -> None:
        stop_accepting(self._listener, self._thread)
        for link in self.links:
            link.close()
