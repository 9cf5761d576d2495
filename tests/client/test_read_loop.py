"""The loop of reads, and the question for the tail, against a server that is a script."""

import contextlib

import pytest
from support.scripted_server import ScriptedServer

from s2cli.client.read_loop import ReadLoop
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.stream_client import parse_tail
from s2cli.errors import ProtocolError
from s2cli.wire.frames import encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_records, encode_tail
from s2cli.wire.read_session import ReadSession


@pytest.fixture
def server():
    with contextlib.closing(ScriptedServer()) as server:
        yield server


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
