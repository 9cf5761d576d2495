"""AppendSession and LostAckResolver: what is sent, what is believed to be durable, and what is sent again after a
loss."""

import gzip
import random
import re
from pathlib import Path

import pytest
from append_model import Stream, Wire, Writer, records

from s2cli.errors import (
    ApiError,
    FencingTokenMismatchError,
    PreconditionError,
    ProtocolError,
    SeqNumMismatchError,
    UndecidedError,
)
from s2cli.wire import append_input, append_session, lost_acks
from s2cli.wire.append_input import encode_headers, encode_record, encoded_records
from s2cli.wire.append_session import ALONE, RESEND, SHARED, STOP, AppendSession
from s2cli.wire.frames import COMPRESSION_THRESHOLD_BYTES, FrameReader, encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_ack
from s2cli.wire.s2_pb2 import AppendInput


def sent_inputs(session, limit_bytes=1 << 30):
    return [AppendInput.FromString(frame.message) for frame in FrameReader().feed(b"".join(session.take(limit_bytes)))]


def ack(start, end, tail=None):
    return encode_frame(encode_ack(start, 5, end, 6, end if tail is None else tail, 7))


def unacknowledged(stream, *batches):
    """A writer whose batches went out, and whose connection broke before any answer; its connection."""
    writer = Writer(stream)
    for batch in batches:
        writer.session.add(records(*batch))
    writer.connect()
    writer.send()
    return writer, writer.wire


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


def test_a_tail_at_the_first_unacknowledged_place_sends_the_same_bytes_again():
    writer, wire = unacknowledged(Stream(), [b"a", b"b"], [b"c"])
    before = wire.frames
    writer.cut(keep=False)
    assert writer.session.unknown == [(1, 3)]
    writer.connect()
    writer.send()
    assert writer.wire.frames == before
    writer.finish()
    assert writer.stream.bodies == [b"a", b"b", b"c"]
    assert writer.session.repeated == []


@pytest.mark.parametrize("arrived", [1, 2, 3])
def test_batches_at_exactly_their_places_are_durable(arrived):
    stream = Stream()
    stream.write(b"before")
    writer, wire = unacknowledged(stream, [b"a", b""], [b"c"], [b"a", b""])
    wire.deliver(arrived)
    writer.cut(keep=False)
    assert writer.lost_acks() == arrived
    assert writer.session.batches == arrived
    writer.finish()
    assert stream.bodies == [b"before", b"a", b"", b"c", b"a", b""]
    assert (writer.session.durable, writer.session.first_seq_num, writer.session.last_seq_num) == (5, 1, 5)


def test_a_copy_that_arrives_late_is_refused():
    stream = Stream()
    writer, late = unacknowledged(stream, [b"a"], [b"b"])
    writer.cut(keep=True)
    writer.connect()
    writer.send()
    late.deliver()  # before what was sent again
    writer.wire.deliver()
    writer.receive()  # a mismatch: it may be our own copy that stands there
    assert writer.session.needs_resolution()
    assert writer.session.state == ALONE
    writer.finish()
    assert stream.bodies == [b"a", b"b"]
    assert writer.session.durable == 2


def test_equal_content_appended_before_is_not_taken_for_ours():
    stream = Stream()
    stream.write(b"a", b"b")
    writer, _ = unacknowledged(stream, [b"a", b"b"])
    writer.cut(keep=False)
    writer.finish()
    assert stream.bodies == [b"a", b"b", b"a", b"b"]


def test_headers_count_in_the_comparison_and_timestamps_do_not():
    stream = Stream()
    record = encode_record(b"body", encode_headers([(b"name", b"value")]), timestamp=99)
    writer = Writer(stream)
    writer.session.add(encoded_records([record], 13))
    writer.connect()
    writer.send()
    writer.cut(keep=False)
    stream.records.append((b"body", ((b"name", b"value"),)))
    writer.connect()
    assert writer.session.durable == 1

    other = Writer(stream)
    other.session.add(encoded_records([record], 13))
    other.connect()
    other.send()
    other.cut(keep=False)
    stream.write(b"body")
    other.connect()
    assert other.session.durable == 0
    assert other.session.state == SHARED


def test_only_the_beginning_of_a_batch_is_not_ours():
    stream = Stream()
    writer, _ = unacknowledged(stream, [b"a", b"b"])
    writer.cut(keep=False)
    stream.write(b"a")
    writer.finish()
    assert stream.bodies == [b"a", b"a", b"b"]
    assert writer.session.state == SHARED
    assert writer.session.repeated == []  # its copies demand places that are taken: none can arrive any more


def test_a_mismatch_without_a_loss_means_another_writer():
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a"], [b"b"])
    stream.write(b"other")
    wire.deliver()
    writer.receive()
    assert writer.session.state == SHARED
    assert not writer.session.doubtful
    assert writer.session.unknown == []
    writer.finish()
    assert stream.bodies == [b"other", b"a", b"b"]
    assert writer.session.repeated == []


def test_a_demanded_place_ends_at_another_writer():
    stream = Stream()
    stream.write(b"other")
    session = AppendSession(demanded=0)
    assert session.state == ALONE
    writer = Writer(stream, session)
    session.add(records(b"a"))
    writer.connect()
    writer.send()
    writer.wire.deliver()
    with pytest.raises(SeqNumMismatchError):
        writer.receive()
    assert (session.durable, session.unknown, session.next_line) == (0, [], 1)


@pytest.mark.parametrize("cut", [False, True])
def test_a_demanded_place_beyond_the_tail_is_a_mismatch_and_no_new_stream(cut):
    stream = Stream()
    stream.write(b"other")
    writer = Writer(stream, AppendSession(demanded=7))
    writer.session.add(records(b"a"))
    writer.connect()
    writer.send()
    if cut:
        writer.cut(keep=False)
        with pytest.raises(SeqNumMismatchError) as caught:
            writer.connect()
    else:
        writer.wire.deliver()
        with pytest.raises(SeqNumMismatchError) as caught:
            writer.receive()
    assert caught.value.expected == 1


def test_a_demanded_place_is_looked_at_after_a_loss():
    stream = Stream()
    writer = Writer(stream, AppendSession(demanded=0))
    writer.session.add(records(b"a"))
    writer.connect()
    writer.send()
    writer.wire.deliver()
    writer.cut(keep=False)
    writer.finish()
    assert writer.session.durable == 1
    assert stream.bodies == [b"a"]


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


def test_a_tail_below_what_was_acknowledged_means_a_new_stream():
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a"], [b"b"])
    wire.deliver(1)
    writer.receive()
    writer.cut(keep=False)
    stream.records.clear()
    with pytest.raises(PreconditionError, match="created again"):
        writer.connect()
    assert writer.session.unknown == [(2, 2)]


def test_a_mismatch_below_what_was_acknowledged_means_a_new_stream():
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a"], [b"b"])
    wire.deliver(1)
    writer.receive()
    stream.records.clear()
    wire.deliver()
    with pytest.raises(PreconditionError, match="created again"):
        writer.receive()


def test_what_was_trimmed_is_undecided():
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a", b"b"], [b"c"])
    wire.deliver()
    writer.cut(keep=False)
    stream.trimmed = 2
    with pytest.raises(UndecidedError, match=r"lines 1 to 3 .*sequence number 0 is gone"):
        writer.connect()
    assert writer.session.unknown == [(1, 3)]
    assert writer.session.durable == 0


def test_what_may_not_be_read_is_undecided():
    writer, wire = unacknowledged(Stream(), [b"a"])
    wire.deliver()
    writer.cut(keep=False)
    resolver = writer.session.lost_acks()
    resolver.on_tail(1)
    resolver.give_up("the stream cannot be looked at: forbidden")
    assert resolver.wanted is None
    with pytest.raises(UndecidedError, match=r"line 1 .*forbidden") as caught:
        writer.session.resolve(resolver)
    assert caught.value.reason == "the stream cannot be looked at: forbidden"


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


# In shared mode


def shared_writer(stream, *batches):
    """Past the mismatch that told it of another writer, its batches on the way; its connection."""
    writer = Writer(stream)
    stream.write(b"other")
    writer.session.add(records(b"first"))
    writer.connect()
    writer.send()
    writer.wire.deliver()
    writer.receive()
    writer.finish()
    assert writer.session.state == SHARED
    for batch in batches:
        writer.session.add(records(*batch))
    writer.connect()
    writer.send()
    return writer, writer.wire


def test_in_shared_mode_a_batch_that_stands_there_once_is_found():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"a", b"b"], [b"c"])
    stream.write(b"x")
    wire.deliver(1)
    stream.write(b"y")
    writer.cut(keep=False)
    writer.connect()
    assert writer.session.durable == 3
    assert writer.session.recognized == [(2, 3)]
    writer.finish()
    assert stream.bodies == [b"other", b"first", b"x", b"a", b"b", b"y", b"c"]
    assert writer.session.repeated == [(4, 4)]  # it may have been on its way


def test_in_shared_mode_what_stands_there_twice_is_sent_again_and_named():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"a"])
    stream.write(b"a")
    wire.deliver()
    writer.cut(keep=False)
    writer.finish()
    assert stream.bodies.count(b"a") == 3
    assert writer.session.repeated == [(2, 2)]


def test_in_shared_mode_what_was_looked_at_is_not_looked_at_again():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"a"])
    stream.write(b"a")
    wire.deliver()
    writer.cut(keep=False)
    wire = writer.connect()  # it stands there twice
    writer.send()
    wire.deliver()
    writer.cut(keep=False)
    writer.connect()  # and once in what came since
    assert (writer.session.in_flight, writer.session.recognized) == (0, [(2, 2)])
    assert stream.bodies.count(b"a") == 3


def test_in_shared_mode_equal_batches_are_sent_again_and_named():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"a"], [b"a"])
    wire.deliver(1)
    writer.cut(keep=False)
    writer.finish()
    assert stream.bodies.count(b"a") == 3
    assert writer.session.repeated == [(2, 3)]


def test_in_shared_mode_durable_lines_after_others_are_named():
    stream = Stream()
    writer, _ = shared_writer(stream, [b"a"], [b"b"])
    writer.cut(keep=False)
    stream.write(b"b")
    writer.connect()
    assert writer.session.next_line == 2
    assert writer.session.durable_beyond == [(3, 3)]
    assert writer.session.unknown == [(2, 2)]


def test_in_shared_mode_what_was_trimmed_is_undecided():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"a"])
    wire.deliver()
    writer.cut(keep=False)
    stream.trimmed = 3
    stream.write(b"more")
    with pytest.raises(UndecidedError, match="line 2"):
        writer.connect()


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("at", range(20))
def test_a_batch_is_found_wherever_it_stands(at, size):
    stream = Stream()
    needle = [b"needle %d" % number for number in range(size)]
    writer, wire = shared_writer(stream, needle)
    stream.write(*(b"%d" % number for number in range(at)), *needle[:-1])
    wire.deliver(1)
    stream.write(*(b"%d" % number for number in range(20 - at)))
    writer.cut(keep=False)
    writer.connect()
    # Behind two records of the beginning, those before it, and all of it but the last one.
    assert (writer.session.durable, writer.session.last_seq_num) == (1 + size, 2 + at + size - 1 + size - 1)


def test_a_window_much_longer_than_the_batches_is_searched():
    stream = Stream()
    writer, wire = shared_writer(stream, [b"needle", b"in", b"hay"], [b"never"])
    stream.write(*(b"%d" % number for number in range(5000)), b"needle", b"in")
    wire.deliver(1)
    stream.write(*(b"%d" % number for number in range(5000)))
    writer.cut(keep=False)
    writer.connect()
    assert writer.session.durable == 4
    assert writer.session.last_seq_num == 5006


# Everything at once


def accidents(seed: int, lines: list[bytes], others: list[bytes]) -> tuple[Stream, AppendSession]:
    """One append of `lines` through accidents of every kind; what is still on its way at the end arrives too."""
    dice = random.Random(seed)
    stream = Stream()
    stream.write(*dice.sample(lines, min(2, len(lines))))
    writer = Writer(stream)
    pending, late = list(lines), []
    while pending or writer.session.in_flight:
        if writer.wire is None:
            writer.connect()
        step = dice.randrange(12)
        if step < 3 and pending and writer.session.can_add:
            count = dice.randint(1, 3)
            writer.session.add(records(*pending[:count]))
            del pending[:count]
        elif step < 5:
            writer.send(dice.choice((1, 1 << 30)))
        elif step < 7:
            writer.wire.deliver(dice.randint(0, 2))
        elif step < 9:
            writer.receive(dice.randint(0, 2))
        elif step == 9:
            writer.cut(keep=dice.random() < 0.7)
            late, writer.lost = late + writer.lost, []
        elif step == 10 and late:
            dice.choice(late).deliver(dice.randint(0, 2))
        elif step == 11 and others and dice.random() < 0.3:
            stream.write(others.pop())
    for wire in late:
        wire.deliver()
    return stream, writer.session


@pytest.mark.parametrize("seed", range(150))
def test_alone_every_line_is_there_exactly_once_and_in_order(seed):
    lines = [b"line %d" % (number // 2) for number in range(40)]  # each twice: content alone proves nothing
    stream, session = accidents(seed, lines, [])
    assert stream.bodies[2:] == lines
    assert (session.durable, session.repeated, session.state) == (40, [], ALONE)
    assert (session.first_seq_num, session.last_seq_num) == (2, 41)


@pytest.mark.parametrize("seed", range(150))
def test_beside_another_writer_nothing_is_lost_and_what_may_be_repeated_is_named(seed):
    lines = [b"line %d" % number for number in range(40)]
    others = [b"other %d" % number for number in range(10)]
    stream, session = accidents(seed, lines, list(others))
    named = {line for first, last in session.repeated for line in range(first, last + 1)}
    bodies = stream.bodies[2:]
    for number, line in enumerate(lines, 1):
        assert bodies.count(line) == 1 or (bodies.count(line) > 1 and number in named)
    assert session.durable == 40


@pytest.mark.parametrize("seed", range(150))
def test_beside_a_writer_of_the_same_lines_the_count_is_exact_or_the_lines_are_named(seed):
    others = [b"same"] * 5
    stream, session = accidents(seed, [b"same"] * 20, others)
    ours = len(stream.bodies) - 2 - (5 - len(others))
    repeated, recognized = (
        sum(last - first + 1 for first, last in ranges) for ranges in (session.repeated, session.recognized)
    )
    assert ours == 20 or (ours > 20 and repeated) or (20 - recognized <= ours < 20)
    assert session.durable == 20


def test_wire_poisons_a_session_at_its_first_error():
    """The model itself: what follows a refused frame is not applied."""
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a"], [b"b"])
    stream.write(b"x")
    wire.deliver()
    assert stream.bodies == [b"x"]
    assert isinstance(wire, Wire)
    assert len(wire.answers) == 1
    assert writer.session.in_flight == 2


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


def test_each_state_of_a_resolution_leads_where_the_table_says():
    """From a tail of 1 on, whatever comes next."""

    def resolver(shared=False):
        batch = append_input.PendingBatch(records(b"a", b"b"), [(1, 2)], 0)
        return lost_acks.LostAckResolver([batch], 0, shared=shared)

    stream = Stream()
    stream.write(b"a", b"c")
    for shared, middle in ((False, lost_acks.COMPARING), (True, lost_acks.SEARCHING)):
        one = resolver(shared)
        assert (one.state, one.wanted) == (lost_acks.ASKING, None)
        one.on_tail(2)
        assert (one.state, one.wanted) == (middle, (0, 2))
        one.on_records(stream.read(0, 1))
        assert (one.state, one.wanted) == (middle, (1, 2))
        one.on_records(stream.read(1, 2))
        assert (one.state, one.wanted, one.found) == (lost_acks.RESOLVED if shared else lost_acks.FOREIGN, None, {})
        with pytest.raises(AssertionError):
            one.on_tail(2)


def test_no_more_is_read_than_where_ours_belong():
    batches = [append_input.PendingBatch(records(b"a", b"b"), [(1, 2)], 0)]
    resolver = lost_acks.LostAckResolver(batches, 0, shared=False)
    resolver.on_tail(10)
    assert resolver.wanted == (0, 2)
    stream = Stream()
    stream.write(b"a", b"b", b"c")
    resolver.on_records(stream.read(0, 3))
    assert (resolver.state, resolver.found) == (lost_acks.RESOLVED, {1: 0})


@pytest.mark.parametrize("first", [0, 2])
def test_records_that_do_not_follow_are_undecided(first):
    batches = [append_input.PendingBatch(records(b"a", b"b"), [(1, 2)], 1)]
    resolver = lost_acks.LostAckResolver(batches, 1, shared=False)
    resolver.on_tail(3)
    stream = Stream()
    stream.write(b"x", b"a", b"b")
    resolver.on_records(stream.read(first, 3))
    assert (resolver.state, resolver.wanted) == (lost_acks.UNDECIDED, None)
    assert "sequence number 1 is gone" in resolver.why
