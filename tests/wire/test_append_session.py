"""AppendSession: what is sent, what is believed to be durable, and how an append ends."""

import gzip
import re
from pathlib import Path

import pytest
from append_model import Stream, Writer, ack, records, sent_inputs

from s2cli.errors import ApiError, FencingTokenMismatchError, ProtocolError, UndecidedError
from s2cli.wire import append_input, append_session, lost_acks
from s2cli.wire.append_session import RESEND, SHARED, STOP, AppendSession
from s2cli.wire.frames import COMPRESSION_THRESHOLD_BYTES, FrameReader, encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_ack
from s2cli.wire.s2_pb2 import AppendInput

# Alone


def test_every_batch_demands_its_place():
    session = AppendSession(fencing_token=b"mine")
    session.begin(7)
    session.add(records(b"a", b"b"))
    session.add(records(b"c"))
    session.start()
    first, second = sent_inputs(session)
    assert [record.body for record in first.records] == [b"a", b"b"]
    assert (first.match_seq_num, first.fencing_token) == (7, "mine")
    assert (second.match_seq_num, second.fencing_token) == (9, "mine")
    assert session.take(1 << 30) == []


def test_take_stops_at_the_limit_and_goes_on_from_there():
    session = AppendSession()
    session.begin(0)
    batch_bytes = records(b"a" * 100).encoded_bytes
    for body in (b"a" * 100, b"b" * 100, b"c" * 100, b"d" * 100, b"e" * 100):
        session.add(records(body))
    assert session.in_flight_bytes == 5 * (batch_bytes + 256)
    session.start()
    assert len(sent_inputs(session, 150)) == 2
    assert session.unsent == 3
    assert len(sent_inputs(session, batch_bytes + 2)) == 1  # with its place, it is just the limit
    assert len(sent_inputs(session, batch_bytes + 3)) == 2
    assert session.unsent == 0


def test_acknowledgements_fill_the_account():
    session = AppendSession()
    session.begin(7)
    session.add(records(b"a", b"bb"))
    session.add(records(b"ccc"))
    session.start()
    session.take(1 << 30)
    assert (session.sent, session.durable, session.next_line, session.unknown) == (3, 0, 1, [(1, 3)])
    session.receive(ack(7, 9))
    assert (session.durable, session.batches, session.bytes) == (2, 1, 3)
    assert (session.first_seq_num, session.last_seq_num, session.next_line) == (7, 8, 3)
    data = ack(9, 10, tail=12)
    for at in range(len(data)):
        session.receive(data[at : at + 1])
    assert (session.durable, session.last_seq_num, session.in_flight, session.next_line) == (3, 9, 0, 4)
    assert (session.unknown, session.in_flight_bytes, session.tail) == ([], 0, (12, 7))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (ack(8, 9), "acknowledged 1 records where 2 were sent"),
        (ack(8, 20), "acknowledged 12 records where 2 were sent"),
        (ack(9, 11), "at sequence number 9 that demanded 8"),
        (ack(7, 9), "at sequence number 7 that demanded 8"),
        (ack(8, 10) + ack(10, 11), "never sent"),
        (ack(8, 10, tail=9), "up to 9 of a stream that ends before 9"),
        (encode_frame(b"\xff"), "not a valid acknowledgement: .* cut short"),
        (encode_frame(b"<html>"), "not a valid acknowledgement"),
        (encode_terminal(200, b"{}"), "ended the session early, with status 200"),
    ],
)
def test_an_acknowledgement_that_does_not_fit_is_a_broken_protocol(answer, text):
    session = AppendSession()
    session.begin(8)
    session.add(records(b"a", b"b"))
    session.start()
    session.take(1 << 30)
    with pytest.raises(ProtocolError, match=text) as caught:
        session.receive(answer)
    with pytest.raises(ProtocolError):
        session.refused(caught.value)


def test_without_a_tail_the_first_batch_waits_alone_and_its_ack_is_the_baseline():
    session = AppendSession()
    assert session.can_add
    session.add(records(b"a"))
    assert not session.can_add
    session.start()
    (first,) = sent_inputs(session)
    assert not first.HasField("match_seq_num")
    session.receive(ack(41, 42))
    assert session.can_add
    session.add(records(b"b"))
    (second,) = sent_inputs(session)
    assert second.match_seq_num == 42


def test_without_a_tail_a_loss_before_the_first_ack_is_undecided():
    session = AppendSession()
    session.add(records(b"a", b"b"))
    session.start()
    session.take(1 << 30)
    session.lose()
    assert session.needs_resolution()
    with pytest.raises(UndecidedError, match="lines 1 to 2"):
        session.lost_acks()


def test_an_append_of_many_batches_keeps_its_account():
    session = AppendSession()
    session.begin(0)
    session.start()
    for number in range(300):
        session.add(records(b"%d" % number))
    assert len(sent_inputs(session)) == 300
    for number in range(300):
        assert (session.in_flight, session.next_line) == (300 - number + (number + 2) // 3, number + 1)
        session.receive(ack(number, number + 1))
        if number % 3 == 0:
            session.add(records(b"more"))
            assert [message.match_seq_num for message in sent_inputs(session)] == [300 + number // 3]
    assert (session.in_flight, session.durable, session.next_line) == (100, 300, 301)
    assert session.unknown == [(301, 400)]


@pytest.mark.parametrize("size", [COMPRESSION_THRESHOLD_BYTES - 100, COMPRESSION_THRESHOLD_BYTES, 5000])
def test_what_is_long_enough_is_compressed(size):
    body = b"x" * size
    for by_itself in (False, True):
        session = AppendSession(compression="gzip", policy=RESEND)
        session.add(records(body))
        session.start()
        if by_itself:
            message, encoding = session.take_message()
        else:
            (frame,) = FrameReader(inflates=False).feed(b"".join(session.take(1 << 30)))
            message, encoding = frame.message, frame.encoding
        assert encoding == ("gzip" if size >= COMPRESSION_THRESHOLD_BYTES else None)
        plain = message if encoding is None else gzip.decompress(message)
        assert AppendInput.FromString(plain).records[0].body == body


# What ends an append


def test_a_fence_without_a_loss_is_exact():
    stream = Stream()
    writer = Writer(stream, AppendSession(fencing_token=b"mine"))
    writer.session.add(records(b"a"))
    stream.token = "other"
    writer.connect()
    writer.send()
    writer.wire.deliver()
    with pytest.raises(FencingTokenMismatchError):
        writer.receive()
    assert writer.session.unknown == []


def test_a_fence_after_a_loss_is_looked_at_first():
    stream = Stream()
    stream.token = "mine"
    writer = Writer(stream, AppendSession(fencing_token=b"mine"))
    writer.session.add(records(b"a"))
    writer.session.add(records(b"b"))
    wire = writer.connect()
    writer.send()
    writer.cut(keep=True)
    writer.connect()  # nothing has arrived
    writer.send()
    wire.deliver(1)  # the first one, late
    stream.token = "other"
    writer.wire.deliver()
    writer.receive()
    assert writer.session.needs_resolution()
    with pytest.raises(FencingTokenMismatchError):
        writer.connect()
    assert (writer.session.durable, writer.session.next_line) == (1, 2)


def test_a_refusal_is_exact_and_names_what_was_not_applied():
    session = AppendSession()
    session.begin(0)
    session.add(records(b"a"))
    session.add(records(b"b"))
    session.start()
    session.take(1 << 30)
    refusal = encode_terminal(422, b'{"code":"invalid","message":"no"}')
    with pytest.raises(ApiError) as caught:
        session.receive(ack(0, 1) + refusal)
    with pytest.raises(ApiError):
        session.refused(caught.value)
    assert (session.durable, session.unknown, session.next_line) == (1, [], 2)


@pytest.mark.parametrize(
    ("code", "status", "doubtful"),
    [
        ('"rate_limited"', 429, False),
        ('"server_draining"', 503, False),
        ('"unavailable"', 503, True),
        ('"storage"', 500, True),
        ('"storage","without_effect":true', 500, False),
        ('"storage","without_effect":"true"', 500, True),
        ('"storage","without_effect":true', 503, True),
        ('"unheard_of","without_effect":true', 503, True),
    ],
)
def test_what_can_be_retried_leaves_a_doubt_only_where_it_may_have_had_an_effect(code, status, doubtful):
    session = AppendSession()
    session.begin(0)
    session.add(records(b"a"))
    session.start()
    session.take(1 << 30)
    with pytest.raises(ApiError) as caught:
        session.receive(encode_terminal(status, b'{"code":%s,"message":"later"}' % code.encode()))
    assert session.refused(caught.value)
    assert session.doubtful is doubtful
    session.start()
    assert len(sent_inputs(session)) == 1


def test_stop_leaves_at_the_first_doubt():
    session = AppendSession(policy=STOP)
    session.begin(0)
    session.add(records(b"a", b"b"))
    session.start()
    session.take(1 << 30)
    with pytest.raises(UndecidedError, match="lines 1 to 2"):
        session.lose()


def test_resend_asks_nothing_and_names_what_it_repeats():
    stream = Stream()
    session = AppendSession(policy=RESEND)
    assert session.state == SHARED
    writer = Writer(stream, session)
    session.add(records(b"a"))
    session.add(records(b"b"))
    writer.connect()
    writer.send()
    writer.wire.deliver()
    writer.receive(1)
    writer.cut(keep=False)
    assert not session.needs_resolution()
    writer.finish()
    assert stream.bodies == [b"a", b"b", b"b"]
    assert session.repeated == [(2, 2)]


def test_resend_looks_where_a_fence_refuses_what_it_would_send_again():
    session = AppendSession(policy=RESEND, fencing_token=b"old")
    session.add(records(b"a"))
    session.start()
    session.take(1 << 30)
    session.lose()
    assert not session.needs_resolution()
    session.start()
    session.take(1 << 30)
    assert session.refused(FencingTokenMismatchError("new"))
    assert session.needs_resolution()
    with pytest.raises(UndecidedError, match="line 1 "):
        session.lost_acks()  # no acknowledgement ever told where it belongs


def test_advice_to_reconnect_is_noticed():
    session = AppendSession()
    session.begin(0)
    session.add(records(b"a"))
    session.start()
    session.take(1 << 30)
    session.receive(encode_frame(encode_ack(0, 1, 1, 1, 1, 1), advise_reconnect=True))
    assert session.advised
    assert session.durable == 1
    session.start()
    assert not session.advised


# The states


def picture_of(module):
    """The words for states in the pictures of the map that name this module."""
    chapter = (Path(append_session.__file__).parents[1] / "README.md").read_text().partition("\n## 3. States")[2]
    (text,) = re.findall(rf"`wire/{module}\.py`: `\w+`\)[:\n]+```text\n(.*?)```", chapter, re.DOTALL)
    return set(re.findall(r"\b[A-Z]{4,}\b", text))


@pytest.mark.parametrize("module", [append_session, lost_acks])
def test_the_states_are_those_of_the_picture(module):
    name = module.__name__.rpartition(".")[2]
    states = {state.upper() for state in module.FOLLOWS}
    assert all(getattr(module, state) == state.lower() for state in states)
    assert {state for following in module.FOLLOWS.values() for state in following} < {s.lower() for s in states}
    others = {"ALONE", "SHARED"} if module is lost_acks else {"FOREIGN"}
    assert picture_of(name) == states | others


def test_the_states_of_a_batch_are_those_of_the_picture():
    states = {append_input.WAITING, append_input.SENT, append_input.DOUBTFUL}
    assert picture_of("append_input") == {state.upper() for state in states} | {"SHARED"}
