"""Sessions over a plain socket: HTTP/1.1 with chunks, as old clients and curl speak it."""

import contextlib
import json
import socket

from support.waiting import TIMEOUT_S

from s2cli.wire.frames import FrameReader, encode_frame
from s2cli.wire.s2_pb2 import AppendAck, AppendInput, ReadBatch


def append_input(*records, match_seq_num=None, fencing_token=None):
    """Records are bodies, or (timestamp, headers, body)."""
    message = AppendInput(match_seq_num=match_seq_num, fencing_token=fencing_token)
    for record in records:
        timestamp, headers, body = (None, [], record) if isinstance(record, bytes) else record
        added = message.records.add(body=body)
        if timestamp is not None:
            added.timestamp = timestamp
        for name, value in headers:
            added.headers.add(name=name, value=value)
    return message.SerializeToString()


class Session:
    """One exchange. `status`, `headers` and, where the status is no 200, `body` are there once `open` returns."""

    def __init__(self, server, method, stream, basin, query="", headers=None):
        self._socket = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"{method} /v1/streams/{stream}/records{query} HTTP/1.1", "host: test", f"s2-basin: {basin}"]
        lines += ["content-type: s2s/proto", *[f"{name}: {value}" for name, value in (headers or {}).items()]]
        if method == "POST":
            lines.append("transfer-encoding: chunked")
        self._buffer = b""
        self._frames = FrameReader()
        self._received = []
        try:
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self):
        head = self._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.body = None
        if self.status != 200:
            size = int(self.headers["content-length"])
            while len(self._buffer) < size:
                self._more()
            self.body = json.loads(self._buffer[:size])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def _more(self):
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the connection ended")
        self._buffer += data

    def _until(self, mark):
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def send_bytes(self, data):
        self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def send(self, *inputs, compression=None):
        """Inputs as messages, each in a frame, all in one chunk."""
        self.send_bytes(b"".join(encode_frame(message, compression) for message in inputs))

    def append(self, *records, **conditions):
        self.send(append_input(*records, **conditions))

    def half_close(self):
        self._socket.sendall(b"0\r\n\r\n")

    def frame(self):
        """The next frame, or None at the end of the body."""
        while not self._received:
            size = int(self._until(b"\r\n"), 16)
            while len(self._buffer) < size + 2:
                self._more()
            data, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
            if not size:
                assert self._frames.at_boundary
                return None
            self._received += self._frames.feed(data)
        return self._received.pop(0)

    def ack(self):
        """The next frame as (start, end, tail) of an acknowledgement."""
        frame = self.frame()
        assert frame is not None, "the session ended"
        assert frame.status is None, frame.message
        ack = AppendAck.FromString(frame.message)
        return ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num

    def batch(self):
        """The next frame as (records, tail): sequence numbers and bodies, and the tail's sequence number or None."""
        frame = self.frame()
        assert frame is not None, "the session ended"
        assert frame.status is None, frame.message
        batch = ReadBatch.FromString(frame.message)
        tail = batch.tail.seq_num if batch.HasField("tail") else None
        return [(record.seq_num, record.body) for record in batch.records], tail

    def records(self):
        """All records to the end of the session."""
        found = []
        while (frame := self.frame()) is not None:
            assert frame.status is None, frame.message
            found += [(record.seq_num, record.body) for record in ReadBatch.FromString(frame.message).records]
        return found

    def terminal(self):
        """The next frame, which must be a terminal one: its status and JSON. Nothing may come after it."""
        frame = self.frame()
        assert frame is not None, "the session ended cleanly"
        assert frame.status is not None, "not a terminal frame"
        assert self.frame() is None
        return frame.status, json.loads(frame.message)


def open_append(server, basin, stream="stream", **options):
    return contextlib.closing(Session(server, "POST", stream, basin, **options))


def open_read(server, basin, query="", stream="stream", **options):
    return contextlib.closing(Session(server, "GET", stream, basin, query=f"?{query}" if query else "", **options))


def append(server, basin, *records, stream="stream"):
    """Appends one batch, and returns its ack as Session.ack() does."""
    with open_append(server, basin, stream) as session:
        session.append(*records)
        return session.ack()
