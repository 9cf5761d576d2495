"""A server that is a script: what it does at which moment is up to the test."""

import socket
import threading

from support.waiting import TIMEOUT_S

from s2cli.client.stream_client import StreamClient
from s2cli.endpoints import Target
from s2cli.wire.frames import FrameReader, encode_frame
from s2cli.wire.protobuf import encode_ack
from s2cli.wire.s2_pb2 import AppendInput


class Exchange:
    """One connection of the client, as the server sees it: requests are read and answers sent step by step."""

    def __init__(self, connection):
        self._socket = connection
        self._socket.settimeout(TIMEOUT_S)
        self._buffer = b""
        self._frames = FrameReader()
        self.inputs = []  # AppendInputs that have come

    def _fill(self):
        data = self._socket.recv(1 << 16)
        self._buffer += data
        return bool(data)

    def head(self):
        """The first line of the next request."""
        while b"\r\n\r\n" not in self._buffer:
            assert self._fill(), "the client left"
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0].decode()

    def answer(self, body, status=200):
        self.send(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))

    def answer_tail(self, seq_num):
        assert self.head().startswith("GET /v1/streams/s/records/tail ")
        self.answer(b'{"tail":{"seq_num":%d,"timestamp":1}}' % seq_num)

    def open_session(self):
        line = self.head()
        self.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        return line

    def chunk(self):
        """The next chunk of the request's body; empty at its end."""
        while True:
            size, end, rest = self._buffer.partition(b"\r\n")
            if end and len(rest) >= int(size, 16) + 2:
                length = int(size, 16)
                self._buffer = rest[length + 2 :]
                return rest[:length]
            assert self._fill(), "the client left in the middle"

    def wait_for_inputs(self, count):
        while len(self.inputs) < count:
            self.inputs += [AppendInput.FromString(frame.message) for frame in self._frames.feed(self.chunk())]

    def say(self, data):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def ack(self, number, **options):
        """Acknowledges the input with that number, as if it had been put where it demands."""
        message = self.inputs[number]
        start, end = message.match_seq_num, message.match_seq_num + len(message.records)
        self.say(encode_frame(encode_ack(start, 1, end, 1, end, 1), **options))

    def end(self):
        self.send(b"0\r\n\r\n")

    def send(self, data):
        self._socket.sendall(data)

    def is_left(self):
        """Whether the client closes now, with nothing more to say."""
        self._buffer = b""
        return not self._fill()

    def close(self):
        self._socket.close()


class ScriptedServer:
    """Runs a script in a thread, which accepts connections one by one; its failure is the test's."""

    def __init__(self):
        self._address = ("127.0.0.1", 0)
        self.listen()
        self._address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        self._failures = []
        self._open = []
        self._thread = None

    def listen(self):
        self._listener = socket.create_server(self._address)
        self._listener.settimeout(TIMEOUT_S)

    def stop_listening(self):
        self._listener.close()

    def accept(self):
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(Exchange(connection))
        return self._open[-1]

    def run(self, script):
        def guarded():
            try:
                script(self)
            except BaseException as failure:
                self._failures.append(failure)

        self._thread = threading.Thread(target=guarded, daemon=True)
        self._thread.start()

    def finish(self):
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()
        if self._failures:
            raise self._failures[0]

    def client(self):
        target = Target(account_url=self.url, basin_url=self.url)
        return StreamClient(target, "basin-name", "s", TIMEOUT_S)

    def close(self):
        self.stop_listening()
        for exchange in self._open:
            exchange.close()
