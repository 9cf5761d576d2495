"""LostAckResolver: what is found to be durable after a loss, for one who writes alone and for one of several."""

import pytest
from append_model import Stream, Writer, records, unacknowledged

from s2cli.errors import PreconditionError, SeqNumMismatchError, UndecidedError
from s2cli.wire import append_input, lost_acks
from s2cli.wire.append_input import encode_headers, encode_record, encoded_records
from s2cli.wire.append_session import ALONE, SHARED, AppendSession

# Alone


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
    writer.receive()  # a mismatch: it may be our own copy that is there
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
    resolver.give_up("cannot read the stream to see what arrived: forbidden")
    assert resolver.wanted is None
    with pytest.raises(UndecidedError, match=r"line 1 .*forbidden") as caught:
        writer.session.resolve(resolver)
    assert caught.value.reason == "cannot read the stream to see what arrived: forbidden"


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
    wire = writer.connect()  # it is there twice
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


# The states


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
