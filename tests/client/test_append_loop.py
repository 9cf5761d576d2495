"""The loop of appends against a server that is a script."""

import contextlib
import os
import threading

import pytest
from support.scripted_server import ScriptedServer
from support.waiting import TIMEOUT_S

from s2cli.client import append_loop
from s2cli.client.append_loop import AppendLoop, AppendOptions
from s2cli.client.input_files import InputFiles
from s2cli.client.retry import Interrupts
from s2cli.client.transports import SessionTransport
from s2cli.errors import BrokenAckError, ProtocolError, UnreachableError
from s2cli.formats.input import open_input
from s2cli.wire.append_session import AppendSession
from s2cli.wire.frames import encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_ack


@pytest.fixture
def server():
    with contextlib.closing(ScriptedServer()) as server:
        yield server


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
