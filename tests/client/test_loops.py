"""The poll loops against a server that is a script: what it does at which moment is up to the test."""

import os
import socket
import threading

import pytest
from support.waiting import TIMEOUT_S

from s2cli.client import append_loop
from s2cli.client.append_loop import AppendLoop, AppendOptions
from s2cli.client.input_files import InputFiles
from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import StreamClient, parse_tail
from s2cli.client.transports import SessionTransport
from s2cli.endpoints import Target
from s2cli.errors import BrokenAckError, ProtocolError, UnreachableError
from s2cli.formats.input import open_input
from s2cli.wire.append_session import AppendSession
from s2cli.wire.frames import FrameReader, encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_ack, encode_records, encode_tail
from s2cli.wire.read_session import ReadSession
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


@pytest.fixture
def server():
    """Runs a script in a thread, which accepts connections one by one; its failure is the test's."""

    class Server:
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

    server = Server()
    yield server
    server.close()


class Append:
    """An AppendLoop with an input that the test writes."""

    def __init__(self, server, **options):
        options.setdefault("inflight_bytes", 1 << 22)
        options.setdefault("max_outage_s", TIMEOUT_S)
        self.said = []
        self._says = threading.Condition()
        self.session = AppendSession()
        self.read_fd, self.write_fd = os.pipe()
        source = open_input("text", b"\n", [])
        inputs = InputFiles((f"/dev/fd/{self.read_fd}",))
        inputs.source = source
        self.loop = AppendLoop(
            server.client(),
            self.session,
            source,
            inputs,
            AppendOptions(**options),
            Interrupts(),
            self._say,
            self._say,
        )

    def _say(self, text):
        with self._says:
            self.said.append(text)
            self._says.notify_all()

    def wait_until_said(self, words):
        with self._says:
            assert self._says.wait_for(lambda: any(words in text for text in self.said), TIMEOUT_S)

    def write(self, data):
        os.write(self.write_fd, data)

    def end_input(self):
        os.close(self.write_fd)


@pytest.fixture
def append(server):
    append = Append(server)
    yield append
    os.close(append.read_fd)


def test_the_first_batch_leaves_after_the_tail_and_its_place_is_there(server, append):
    def script(server):
        exchange = server.accept()
        exchange.answer_tail(41)
        assert exchange.open_session() == "POST /v1/streams/s/records HTTP/1.1"
        append.write(b"a\nb\n")
        exchange.wait_for_inputs(1)
        exchange.ack(0)
        append.write(b"c\n")
        exchange.wait_for_inputs(2)
        append.end_input()
        assert exchange.chunk() == b""
        exchange.ack(1)
        assert [message.match_seq_num for message in exchange.inputs] == [41, 43]

    server.run(script)
    append.loop.run()
    server.finish()
    assert (append.session.durable, append.session.last_seq_num) == (3, 43)


def test_batches_grow_while_many_are_under_way(server, append):
    def script(server):
        exchange = server.accept()
        exchange.answer_tail(0)
        exchange.open_session()
        for number in range(SessionTransport.eager_batches):
            append.write(b"x\n")
            exchange.wait_for_inputs(number + 1)
        for _ in range(50):
            append.write(b"y\n")
        append.end_input()
        exchange.wait_for_inputs(SessionTransport.eager_batches + 1)
        for number in range(SessionTransport.eager_batches + 1):
            exchange.ack(number)
        assert [len(message.records) for message in exchange.inputs] == [1] * SessionTransport.eager_batches + [50]

    server.run(script)
    append.loop.run()
    server.finish()


def test_advice_to_reconnect_is_followed_without_a_loss(server, append):
    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        first.ack(0, advise_reconnect=True)
        assert first.chunk() == b""
        first.end()
        append.write(b"b\n")
        second = server.accept()
        second.open_session()
        second.wait_for_inputs(1)
        assert second.inputs[0].match_seq_num == 1
        second.ack(0, advise_reconnect=True)  # once in a while is enough
        append.write(b"c\n")
        second.wait_for_inputs(2)
        append.end_input()
        second.ack(1)

    server.run(script)
    append.loop.run()
    server.finish()
    assert append.session.durable == 3
    assert append.said == ["the server asked for a new connection"]


def test_a_clean_end_with_acknowledgements_missing_is_a_loss(server, append):
    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        first.end()
        second = server.accept()
        second.answer_tail(0)
        second.open_session()
        second.wait_for_inputs(1)
        append.end_input()
        second.ack(0)

    server.run(script)
    append.loop.run()
    server.finish()
    assert "before it acknowledged everything; trying again" in append.said[0]


def test_an_idle_connection_that_goes_away_is_nothing_to_talk_about(server, append):
    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        first.ack(0)
        first.say(encode_terminal(503, b'{"code":"unavailable","message":"idle"}'))
        first.close()
        append.write(b"b\n")
        second = server.accept()
        second.open_session()
        second.wait_for_inputs(1)
        append.end_input()
        second.ack(0)

    server.run(script)
    append.loop.run()
    server.finish()
    assert append.session.durable == 2


def test_an_outage_that_begins_while_there_is_no_input_is_told_once_there_is_some(server, append):
    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        first.ack(0)
        first.say(encode_terminal(503, b'{"code":"unavailable","message":"idle"}'))
        server.stop_listening()
        first.close()
        append.write(b"b\n")
        append.wait_until_said("cannot connect")
        server.listen()
        second = server.accept()
        second.open_session()
        second.wait_for_inputs(1)
        append.end_input()
        second.ack(0)

    server.run(script)
    append.loop.run()
    server.finish()
    assert append.session.durable == 2
    assert "trying again" in append.said[0]
    assert "connected again" in append.said[-1]


def test_an_input_that_ends_while_the_connection_is_gone_needs_no_other(server, append):
    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        first.ack(0)
        first.say(encode_terminal(503, b'{"code":"unavailable","message":"idle"}'))
        server.stop_listening()
        first.close()
        append.end_input()

    server.run(script)
    append.loop.run()
    server.finish()
    assert append.session.durable == 1
    assert not any("cannot connect" in text for text in append.said)


def test_a_server_that_takes_everything_and_says_nothing_is_silent(server, append, monkeypatch):
    monkeypatch.setattr(append_loop, "SILENCE_S", 0.3)

    def script(server):
        first = server.accept()
        first.answer_tail(0)
        first.open_session()
        append.write(b"a\n")
        first.wait_for_inputs(1)
        second = server.accept()
        monkeypatch.undo()
        second.answer_tail(0)
        second.open_session()
        second.wait_for_inputs(1)
        append.end_input()
        second.ack(0)

    server.run(script)
    append.loop.run()
    server.finish()
    assert append.said[0].startswith("no acknowledgement within 0.3 s; trying again")


def test_a_forbidden_tail_lets_the_first_ack_tell_the_place(server, append):
    def script(server):
        exchange = server.accept()
        exchange.head()
        exchange.answer(b'{"code":"permission_denied","message":"no"}', 403)
        exchange.open_session()
        append.write(b"a\n")
        exchange.wait_for_inputs(1)
        append.write(b"b\n")
        append.end_input()
        assert not exchange.inputs[0].HasField("match_seq_num")
        exchange.say(encode_frame(encode_ack(7, 1, 8, 1, 8, 1)))
        exchange.wait_for_inputs(2)
        assert exchange.inputs[1].match_seq_num == 8
        exchange.ack(1)

    server.run(script)
    append.loop.run()
    server.finish()
    assert (append.session.first_seq_num, append.session.last_seq_num) == (7, 8)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope"])
def test_a_server_that_speaks_something_else_ends_the_append(server, append, answer):
    def script(server):
        exchange = server.accept()
        exchange.head()
        exchange.send(answer)

    server.run(script)
    append.end_input()
    with pytest.raises(ProtocolError):
        append.loop.run()
    server.finish()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (encode_ack(0, 1, 7, 1, 7, 1), "acknowledged 7 records where 1 were sent"),
        (encode_ack(5, 1, 6, 1, 6, 1), "at sequence number 5 that demanded 0"),
        (encode_ack(0, 1, 1, 1, 0, 1), "a stream that ends before 0"),
        (b"\xff", "not a valid acknowledgement"),
    ],
)
def test_an_ack_that_no_server_may_give_ends_the_append_at_once(server, append, message, words):
    def script(server):
        exchange = server.accept()
        exchange.answer_tail(0)
        exchange.open_session()
        append.write(b"a\n")
        exchange.wait_for_inputs(1)
        exchange.say(encode_frame(message))
        assert exchange.is_left()  # and nobody connects again

    server.run(script)
    with pytest.raises(BrokenAckError, match=words):
        append.loop.run()
    append.end_input()
    server.finish()
    assert append.said == []
    assert append.session.unknown == [(1, 1)]


def test_a_server_that_never_takes_what_is_sent_is_given_up(server):
    append = Append(server, max_outage_s=0.5)

    def script(server):
        server.accept().close()
        server.close()  # and from now on nobody is there

    server.run(script)
    with pytest.raises(UnreachableError, match=r"gave up after 0\.5 s"):
        append.loop.run()
    server.finish()
    append.end_input()
    os.close(append.read_fd)


def read_everything(server, session, **options):
    said, bodies = [], []
    loop = ReadLoop(
        server.client(),
        session,
        lambda batches: bodies.extend(body for batch in batches for body in batch.bodies),
        -1,
        Waiter(Interrupts()),
        RetryPolicy(5, said.append),
        said.append,
    )
    loop.run()
    return bodies, said


def test_a_read_follows_advice_and_goes_on_where_it_was(server):
    def script(server):
        first = server.accept()
        assert "seq_num=0&count=3 " in first.open_session()
        first.say(encode_frame(encode_records([b"a", b"b"], 0, 1), advise_reconnect=True))
        second = server.accept()
        assert "seq_num=2&count=1 " in second.open_session()
        second.say(encode_frame(encode_records([b"c"], 2, 1) + encode_tail(3, 1)))

    server.run(script)
    bodies, said = read_everything(server, ReadSession(("seq_num", 0), end_seq_num=3, bodies_only=True))
    server.finish()
    assert (bodies, said) == ([b"a", b"b", b"c"], [])


def test_a_read_goes_on_after_a_terminal_error_that_passes(server):
    def script(server):
        first = server.accept()
        first.open_session()
        first.say(encode_frame(encode_records([b"a"], 0, 1)))
        first.say(encode_terminal(503, b'{"code":"unavailable","message":"moving"}'))
        second = server.accept()
        assert "seq_num=1" in second.open_session()
        second.say(encode_frame(encode_records([b"b"], 1, 1)))

    server.run(script)
    bodies, said = read_everything(server, ReadSession(("seq_num", 0), end_seq_num=2, bodies_only=True))
    server.finish()
    assert bodies == [b"a", b"b"]
    assert said[0].startswith("moving; trying again")
    assert said[1].startswith("resumed after")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"tail":{"seq_num":5,"timestamp":7}}', (5, 7)),
        (b' {"tail": {"timestamp": 7, "seq_num": 5, "more": 1}}\n', (5, 7)),
        (b'{"tail":{"seq_num":5,"timestamp":7},"more":1}', (5, 7)),
        (b"{}", None),
        (b"[]", None),
        (b"nope", None),
        (b'{"tail":{"seq_num":"x"}}', None),
    ],
)
def test_the_answer_to_check_tail(body, expected):
    if expected is None:
        with pytest.raises(ProtocolError, match="names no tail"):
            parse_tail(body)
    else:
        assert parse_tail(body) == expected
