"""ReadSession: the request that starts and resumes a read, and what is made of what comes."""

import pytest

from s2cli.errors import ApiError, PreconditionError, ProtocolError, RangeNotSatisfiableError
from s2cli.wire.frames import encode_frame, encode_terminal
from s2cli.wire.protobuf import encode_records, encode_tail
from s2cli.wire.read_session import ENDLESS, WAIT_S, ReadSession, beyond_tail
from s2cli.wire.s2_pb2 import ReadBatch


def batch(first, *bodies, tail=None):
    data = encode_records(list(bodies), first, 5)
    return encode_frame(data if tail is None else data + encode_tail(tail, 5))


def odd_batch(*records):
    """Records with a header, or with numbers that leave gaps."""
    message = ReadBatch()
    for seq_num, body in records:
        message.records.add(seq_num=seq_num, timestamp=5, body=body).headers.add(name=b"n", value=b"v")
    return encode_frame(message.SerializeToString())


def receive(session, data):
    return [batch for batches in session.receive(data) for batch in batches]


def bodies(delivered):
    return [
        body
        for piece in delivered
        for body in (piece.bodies if piece.bodies is not None else [record.body for record in piece.records])
    ]


def query(session):
    return dict(term.split("=") for term in session.query().split("&"))


@pytest.fixture(params=[True, False], ids=["bodies", "records"])
def only(request):
    return {"bodies_only": request.param}


# The request


@pytest.mark.parametrize(
    ("start", "options", "expected"),
    [
        (("seq_num", 5), {}, {"seq_num": 5, "count": ENDLESS}),
        (("seq_num", 5), {"follow": True}, {"seq_num": 5}),
        (("seq_num", 5), {"end_seq_num": 9}, {"seq_num": 5, "count": 4}),
        (("seq_num", 5), {"end_seq_num": 9, "count": 2}, {"seq_num": 5, "count": 2}),
        (("seq_num", 5), {"follow": True, "count": 2}, {"seq_num": 5, "count": 2, "wait": WAIT_S}),
        (("seq_num", 5), {"bytes_limit": 80, "until": 7}, {"seq_num": 5, "bytes": 80, "until": 7}),
        (("timestamp", 5), {"clamp": True, "end_seq_num": 9}, {"timestamp": 5, "count": ENDLESS, "clamp": "true"}),
        (("tail_offset", 5), {"follow": True}, {"tail_offset": 5}),
    ],
)
def test_the_first_request(start, options, expected):
    assert query(ReadSession(start, **options)) == {name: str(value) for name, value in expected.items()}


def test_the_request_that_resumes_has_the_limits_that_are_left(only):
    session = ReadSession(("timestamp", 5), count=10, bytes_limit=100, until=9, clamp=True, **only)
    session.query()
    receive(session, batch(40, b"ab", b""))
    assert session.cursor == 42
    assert query(session) == {"seq_num": "42", "count": "8", "bytes": str(100 - 18), "until": "9"}
    receive(session, batch(42, b"abc"))
    assert query(session) == {"seq_num": "43", "count": "7", "bytes": str(100 - 18 - 11), "until": "9"}
    assert session.limits() == {"count": 7, "bytes": 71, "until": 9}
    receive(session, batch(43, bytes(100)))
    assert query(session)["bytes"] == "0"


def test_the_numbers_of_a_request_without_an_end():
    assert (ENDLESS, WAIT_S) == (9_223_372_036_854_775_807, 2_592_000)


@pytest.mark.parametrize(
    ("options", "last"),
    [({}, None), ({"count": 4}, 13), ({"end_seq_num": 12}, 11), ({"count": 1, "end_seq_num": 12}, 10)],
)
def test_the_last_record_that_a_read_can_come_to(options, last, only):
    session = ReadSession(("seq_num", 10), **options, **only)
    assert session.last_seq_num(10) == last
    if session.last_seq_num(10) != 10:
        session.query()
        receive(session, batch(10, b"a"))
        assert session.last_seq_num(10) == last


def test_a_heartbeat_anchors_a_start_that_has_no_number():
    session = ReadSession(("tail_offset", 0), follow=True)
    session.query()
    assert receive(session, encode_frame(encode_tail(77, 5))) == []
    assert query(session) == {"seq_num": "77"}


def test_a_session_of_nothing_is_done_before_it_starts():
    assert ReadSession(("seq_num", 5), count=0).done
    assert ReadSession(("seq_num", 5), end_seq_num=5).done
    assert not ReadSession(("seq_num", 5), end_seq_num=6).done


def test_calls_one_by_one(only):
    session = ReadSession(("tail_offset", 9), follow=True, clamp=True, **only)
    assert session.call_query(0) == "tail_offset=9&clamp=true"
    assert bodies(session.receive_message(encode_records([b"a", b"b"], 7, 5))) == [b"a", b"b"]
    assert session.call_query(15) == "seq_num=9&wait=15"
    assert session.receive_message(encode_tail(9, 5)) == []
    assert bodies(session.receive_batch(ReadBatch.FromString(encode_records([b"c"], 9, 5)))) == [b"c"]
    assert session.receive_batch(ReadBatch()) == []
    assert (session.cursor, session.delivered) == (10, 3)


# What comes


def test_batches_come_out_in_any_split(only):
    data = batch(0, b"a", b"b") + encode_frame(encode_tail(2, 5)) + batch(2, b"c", tail=3)
    session = ReadSession(("seq_num", 0), follow=True, **only)
    session.query()
    assert bodies(receive(session, data)) == [b"a", b"b", b"c"]
    session = ReadSession(("seq_num", 0), follow=True, **only)
    session.query()
    assert bodies(piece for at in range(len(data)) for piece in receive(session, data[at : at + 1])) == [
        b"a",
        b"b",
        b"c",
    ]
    assert (session.cursor, session.delivered) == (3, 3)


def test_bodies_are_taken_apart_only_where_they_are_all():
    session = ReadSession(("seq_num", 0), follow=True, bodies_only=True)
    session.query()
    plain, headed = receive(session, batch(0, b"a", b"") + odd_batch((2, b"b")))
    assert (plain.bodies, plain.first_seq_num) == ([b"a", b""], 0)
    assert headed.bodies is None
    assert headed.records[0].headers[0].name == b"n"


def test_deliveries_are_of_a_megabyte_or_a_little_more(only):
    session = ReadSession(("seq_num", 0), follow=True, **only)
    session.query()
    data = b"".join(batch(number, bytes(600_000)) for number in range(5))
    assert [len(delivered) for delivered in session.receive(data + batch(5, b"x")[:-1])] == [2, 2, 1]
    assert session.pending_bytes == len(batch(5, b"x")) - 1


@pytest.mark.parametrize(("options", "done"), [({"until": 5}, True), ({"until": 6}, False), ({"bytes_limit": 19}, True),
                                               ({"bytes_limit": 20}, False)])  # fmt: skip
def test_the_next_record_says_whether_a_limit_was_reached(options, done):
    session = ReadSession(("seq_num", 0), **options)
    message = ReadBatch()
    message.records.add(seq_num=0, timestamp=5, body=b"body").headers.add(name=b"nam", value=b"val")
    session.on_next(message.SerializeToString())
    assert session.done is done
    session.on_next(b"")
    assert session.done is done


@pytest.mark.parametrize("follow", [False, True])
def test_a_heartbeat_at_the_cursor_ends_a_read_that_does_not_follow(follow):
    session = ReadSession(("seq_num", 3000), follow=follow)
    session.query()
    receive(session, encode_frame(encode_tail(3001, 5)))
    assert (session.done, session.heartbeats) == (False, 1)
    receive(session, encode_frame(encode_tail(3000, 5)))
    assert (session.done, session.heartbeats, session.messages) == (not follow, 2, 2)


def test_a_limit_cuts_what_is_too_much(only):
    session = ReadSession(("seq_num", 0), count=3, **only)
    session.query()
    assert bodies(receive(session, batch(0, b"a", b"b") + batch(2, b"c", b"d") + batch(4, b"e"))) == [b"a", b"b", b"c"]
    assert session.done
    session = ReadSession(("seq_num", 0), end_seq_num=3, **only)
    session.query()
    assert bodies(receive(session, batch(0, b"a", b"b") + batch(2, b"c", b"d"))) == [b"a", b"b", b"c"]
    assert session.done


def test_an_end_cuts_a_batch_with_gaps():
    session = ReadSession(("timestamp", 0), end_seq_num=10)
    session.query()
    assert bodies(receive(session, odd_batch((7, b"a"), (9, b"b"), (11, b"c")))) == [b"a", b"b"]
    assert session.done


def test_a_gap_in_the_middle_is_noticed_and_one_at_the_start_is_not(only):
    session = ReadSession(("seq_num", 0), follow=True, **only)
    session.query()
    receive(session, batch(5, b"a"))
    assert session.gap is None  # trimmed before anybody read: as usual
    receive(session, batch(8, b"b"))
    assert session.gap == (6, 7)


@pytest.mark.parametrize("data", [batch(4, b"a"), odd_batch((5, b"a"), (5, b"b"))])
def test_numbers_that_go_back_are_a_broken_protocol(data, only):
    session = ReadSession(("seq_num", 5), follow=True, **only)
    session.query()
    assert bodies(receive(session, data)) == []
    assert isinstance(session.error, ProtocolError)
    assert "sequence number" in session.error.message


def test_a_terminal_frame_is_its_error_after_the_batches_before_it():
    session = ReadSession(("seq_num", 0), follow=True)
    session.query()
    terminal = encode_terminal(503, b'{"code":"unavailable","message":"moving"}')
    assert bodies(receive(session, batch(0, b"a") + terminal)) == [b"a"]
    assert isinstance(session.error, ApiError)
    assert session.error.code == "unavailable"
    session.query()
    assert receive(session, encode_terminal(200, b"")) == []
    assert session.error is None


# Endings


def test_a_clean_end_is_the_end_of_a_bounded_read():
    session = ReadSession(("seq_num", 0))
    session.query()
    receive(session, batch(0, b"a"))
    assert session.on_end()


def test_a_clean_end_before_the_end_asks_once_more():
    session = ReadSession(("seq_num", 0), end_seq_num=5)
    session.query()
    receive(session, batch(0, b"a"))
    assert not session.on_end()
    assert query(session) == {"seq_num": "1", "count": "4"}
    assert session.on_end()  # nothing came: the rest is gone


def test_a_clean_end_ends_no_read_that_follows():
    session = ReadSession(("seq_num", 0), follow=True)
    session.query()
    assert not session.on_end()


def test_an_end_in_the_middle_of_a_frame_is_a_broken_protocol():
    session = ReadSession(("seq_num", 0))
    session.query()
    receive(session, batch(0, b"a")[:-1])
    with pytest.raises(ProtocolError, match="middle of a frame"):
        session.on_end()


def test_a_start_at_the_tail_is_an_end_and_one_beyond_it_an_error():
    session = ReadSession(("seq_num", 5))
    session.on_unsatisfiable(RangeNotSatisfiableError(5, 1))
    assert session.done
    with pytest.raises(PreconditionError, match="ends at sequence number 4") as caught:
        ReadSession(("seq_num", 5)).on_unsatisfiable(RangeNotSatisfiableError(4, 1))
    assert "--clamp" in caught.value.hint


def test_a_tail_behind_the_cursor_means_a_new_stream():
    session = ReadSession(("seq_num", 0), follow=True)
    session.query()
    receive(session, batch(0, b"a", b"b"))
    receive(session, encode_frame(encode_tail(1, 5)))
    assert "created again" in session.error.message
    with pytest.raises(PreconditionError, match="created again"):
        session.on_unsatisfiable(RangeNotSatisfiableError(1, 1))


def test_a_number_that_is_likely_a_time_gets_a_hint():
    assert "@999999999" not in beyond_tail(999_999_999, 5).hint
    assert "--from @1000000000;" in beyond_tail(1_000_000_000, 5).hint
    assert "--from @1790000000000;" in beyond_tail(1_790_000_000_000, 5).hint
