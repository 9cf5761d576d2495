import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stream_fakes import NOW_MS, U64, FakeOwner, batch, fence, trim, with_stream
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError, BadValueError, FencingTokenMismatchError, S2Error, SeqNumMismatchError
from s2cli.server.api.append_body import parse_proto
from s2cli.server.core.stream import Admission
from s2cli.wire.s2_pb2 import AppendInput, ReadBatch

timestamps = st.one_of(st.none(), st.integers(NOW_MS - 100, NOW_MS + 100), st.sampled_from([0, U64]))
headers = st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.binary(max_size=3)), max_size=2)
ordinary = st.tuples(timestamps, headers, st.binary(max_size=5))
plain = st.binary(max_size=5)
tokens = st.sampled_from(["", "a", "b"])
commands = st.one_of(tokens.map(lambda token: fence(token.encode())), st.integers(0, 40).map(trim), st.just(trim(U64)))

appends = st.fixed_dictionaries(
    {"records": st.lists(st.one_of(plain, ordinary, commands), min_size=1, max_size=6)},
    optional={"match": st.integers(-2, 2), "token": tokens},
)

steps = st.lists(
    st.one_of(appends, st.integers(1, 50).map(lambda ms: ("clock", ms)), st.integers(0, 3).map(lambda n: ("write", n)))
)


@settings(deadline=None, max_examples=300)
@given(steps, st.sampled_from(["client-prefer", "client-require", "arrival"]), st.booleans())
def test_a_stream_is_what_the_protocol_says(steps, mode, uncapped):
    async def run(server, stream):
        expected = []  # (timestamp, headers, body), by sequence number
        last = trim_point = 0
        token = ""
        for step in steps:
            if isinstance(step, tuple):
                if step[0] == "clock":
                    server.now_ms += step[1]
                else:
                    server.store.write(step[1])
                continue
            conditions = {}
            if "match" in step:
                conditions["match_seq_num"] = max(0, len(expected) + step["match"])
            if "token" in step:
                conditions["fencing_token"] = step["token"]
            refusal = None
            try:
                stream.admit(batch(*step["records"], **conditions), FakeOwner())
            except S2Error as error:
                refusal = error
            if isinstance(refusal, FencingTokenMismatchError):
                assert step["token"] != token
                assert refusal.token == token
                continue
            if isinstance(refusal, SeqNumMismatchError):
                assert step.get("token", token) == token
                assert conditions["match_seq_num"] != len(expected)
                assert refusal.expected == len(expected)
                continue
            if refusal is not None:
                assert refusal.code == "invalid"
                assert mode == "client-require"
                assert any(isinstance(record, bytes) or record[0] is None for record in step["records"])
                continue
            assert step.get("token", token) == token
            assert conditions.get("match_seq_num", len(expected)) == len(expected)
            for record in step["records"]:
                timestamp, names, body = (None, [], record) if isinstance(record, bytes) else record
                base = server.now_ms if mode == "arrival" or timestamp is None else timestamp
                assert timestamp is not None or mode != "client-require"
                last = max(last, base if uncapped else min(base, server.now_ms))
                expected.append((last, names, body))
                if names == [(b"", b"fence")]:
                    token = body.decode()
                if names == [(b"", b"trim")]:
                    trim_point = max(trim_point, min(int.from_bytes(body, "big"), len(expected)))
            assert stream.tail_seq_num <= len(expected)
        server.store.write()
        records = [
            record for append in server.store.stored for record in ReadBatch.FromString(append.chunk.data).records
        ]
        assert [record.seq_num for record in records] == list(range(len(expected)))
        found = [(r.timestamp, [(h.name, h.value) for h in r.headers], r.body) for r in records]
        assert found == expected
        assert (stream.tail_seq_num, stream.tail_timestamp) == (len(expected), last)
        assert stream.trim_point == trim_point
        assert stream.fencing_token == token
        assert stream.pending_bytes == server.streams.context.pending_bytes == 0
        first = 0
        for append in server.store.stored:
            chunk = append.chunk
            assert chunk.first_seq_num == first
            first = chunk.end_seq_num
            assert chunk.last_timestamp == expected[first - 1][0]
            assert append.first_timestamp == expected[chunk.first_seq_num][0]
            part = expected[chunk.first_seq_num : first]
            sizes = [
                8 + len(body) + sum(2 + len(name) + len(value) for name, value in names) for _, names, body in part
            ]
            assert chunk.metered_bytes == sum(sizes)

    with_stream(run, mode=mode, uncapped=uncapped)


def test_acks_and_the_tail_wait_for_the_disk():
    async def run(server, stream):
        owner = FakeOwner()
        for body in (b"a", b"b", b"c"):
            stream.admit(batch(body), owner)
        assert (stream.next_seq_num, stream.tail_seq_num) == (3, 0)
        server.store.write(2)
        assert (stream.next_seq_num, stream.tail_seq_num) == (3, 2)
        assert [admitted.chunk.first_seq_num for admitted, _ in owner.resolved] == [0, 1]
        assert owner.flushed == 1
        server.store.write()
        assert stream.tail_seq_num == 3

    with_stream(run)


def test_one_owner_that_fails_keeps_nobody_else_waiting():
    async def run(server, stream):
        good, bad = FakeOwner(), FakeOwner()
        bad.on_written = bad.flush = None
        for owner in (good, bad, good):
            stream.admit(batch(b"a"), owner)
        waiting = asyncio.ensure_future(stream.until_durable(3))
        await asyncio.sleep(0)
        server.store.write()
        assert (len(good.resolved), good.flushed) == (2, 1)
        await asyncio.wait_for(waiting, TIMEOUT_S)

    with_stream(run)


def test_expiry_is_by_arrival_and_retention_at_writing():
    async def run(server, stream):
        stream.admit(batch((5, [], b"old")), FakeOwner())
        row = server.store.rows["basin", "stream"]
        row.config["retention_policy"] = {"infinite": {}}
        server.streams.config_changed(row)
        stream.admit(batch(b"new"), FakeOwner())
        assert [append.expires_at_ms for append in server.store.queued] == [NOW_MS + 60_000, 0]

    with_stream(run, retention=60)


def test_an_observed_state_is_awaited():
    async def run(server, stream):
        stream.admit(batch(b"a"), FakeOwner())
        stream.admit(batch(b"b"), FakeOwner())
        waiting = asyncio.ensure_future(stream.until_durable(2))
        await asyncio.sleep(0)
        server.store.write(1)
        await asyncio.sleep(0)
        assert not waiting.done()
        server.store.write(1)
        await asyncio.wait_for(waiting, TIMEOUT_S)
        await stream.until_durable(1)

    with_stream(run)


def test_a_failed_write_ends_the_stream_and_a_new_one_goes_on_where_the_disk_stands():
    async def run(server, stream):
        owner = FakeOwner()
        stream.admit(batch(b"a"), owner)
        server.store.write()
        stream.admit(batch(b"b"), owner)
        stream.admit(batch(b"c"), owner)
        waiting = asyncio.ensure_future(stream.until_durable(3))
        await asyncio.sleep(0)
        failure = ApiError("storage", "full")
        server.store.write(2, failure)
        assert [error for _, error in owner.resolved] == [None, failure, failure]
        with pytest.raises(ApiError, match="full"):
            await waiting
        with pytest.raises(ApiError, match="full"):
            stream.admit(batch(b"d"), owner)
        again = await server.streams.open("basin", "stream", None)
        assert again is not stream
        assert again.lane is not stream.lane
        assert (again.next_seq_num, again.pending_bytes, server.streams.context.pending_bytes) == (1, 0, 0)
        again.admit(batch(b"d", match_seq_num=1), owner)

    with_stream(run)


def test_a_deleted_stream_admits_nothing_and_keeps_what_it_promised():
    async def run(server, stream):
        owner = FakeOwner()
        stream.admit(batch(b"a"), owner)
        row = server.store.rows["basin", "stream"]
        row.deleted_at_ms = 1
        server.streams.deleted(row)
        with pytest.raises(ApiError) as caught:
            stream.admit(batch(b"b"), owner)
        assert caught.value.code == "stream_deletion_pending"
        server.store.write()
        assert [error for _, error in owner.resolved] == [None]
        with pytest.raises(ApiError) as caught:
            await server.streams.open("basin", "stream", None)
        assert caught.value.code == "stream_deletion_pending"

    with_stream(run)


def test_a_stream_that_is_closed_stays_closed_and_may_still_lose_what_it_has():
    async def run(server, stream):
        owner = FakeOwner()
        stream.admit(batch(b"a"), owner)
        assert (stream.admission, stream.failure, stream.reading_failure) == (Admission.OPEN, None, None)
        deleted, draining = ApiError("stream_deletion_pending", "deleted"), ApiError("server_draining", "the end")
        stream.end(Admission.CLOSED, deleted)
        stream.end(Admission.CLOSED, draining)
        assert (stream.admission, stream.failure, stream.reading_failure) == (Admission.CLOSED, deleted, deleted)
        waiting = asyncio.ensure_future(stream.until_durable(1))
        await asyncio.sleep(0)
        full = ApiError("storage", "full")
        server.store.write(error=full)
        assert (stream.admission, stream.failure) == (Admission.LOST, full)
        assert stream.reading_failure.code == "unavailable"
        with pytest.raises(ApiError, match="full"):
            await waiting
        stream.end(Admission.CLOSED, draining)
        assert (stream.admission, stream.failure) == (Admission.LOST, full)

    with_stream(run)


def test_a_retention_is_written_with_the_first_append_that_has_it():
    async def run(server, stream):
        for _ in range(2):
            stream.admit(batch(b"a"), FakeOwner())
        row = server.store.rows["basin", "stream"]
        row.config["retention_policy"] = {"infinite": {}}
        server.streams.config_changed(row)
        stream.admit(batch(b"b"), FakeOwner())
        assert [append.keep_ms for append in server.store.queued] == [60_000, None, 0]
        assert [append.expires_at_ms for append in server.store.queued] == [NOW_MS + 60_000] * 2 + [0]

    with_stream(run, retention=60)


def test_a_retention_of_any_length_ends_within_the_time_that_the_engine_can_write_down():
    async def run(server, stream):
        stream.admit(batch(b"a"), FakeOwner())
        assert 1 << 61 < server.store.queued[0].expires_at_ms < 1 << 63

    with_stream(run, retention=U64)


def test_a_seal_is_told_which_records_are_commands():
    class Seal:
        end_seq_num = 1 << 32

        def seal(self, chunk, commands):
            self.commands = commands
            return chunk

    async def run(server, stream):
        stream.admit(batch(b"a", b"b"), FakeOwner())
        seal = Seal()
        stream.admit(batch(b"c", fence(b"token"), b"d", trim(1)), FakeOwner(), seal)
        assert seal.commands == {3, 5}
        seal.end_seq_num = 7
        stream.admit(batch(b"e"), FakeOwner(), seal)
        with pytest.raises(ApiError, match="cannot hold more than 7 records"):
            stream.admit(batch(b"f"), FakeOwner(), seal)

    with_stream(run)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "must not be empty"),
        ([b""] * 1001, "exceed 1000 records"),
        ([bytes(500_000)] * 3, "exceed a metered size of 1 MiB"),
        ([bytes(1_048_569)], "exceed"),
        ([(1, [(b"", b"x")], b"")], "unknown command"),
        ([(None, [(b"", b"fence"), (b"a", b"")], b"")], "empty name"),
        ([(None, [(b"", b"fence")], bytes(37))], "more than 36"),
        ([(None, [(b"", b"trim")], bytes(7))], "must be 8"),
    ],
)
def test_batches_that_break_a_rule(records, message):
    with pytest.raises(BadValueError, match=message):
        batch(*records)


def test_the_largest_batches_pass():
    assert batch(bytes(1_048_568)).metered_bytes == 1 << 20
    assert batch(*[bytes(1040)] * 1000).count == 1000
    assert batch(*[b""] * 1000).metered_bytes == 8000


# Around the size from which it is done, and around those where the varint of a length grows.
large_bodies = st.tuples(
    st.sampled_from([0, 1, 127, 128, 8185, 8189, 8190, 8192, 8193, 16380, 16384, 20_000, 200_000]), st.integers(0, 255)
).map(lambda pair: bytes((pair[1],)) * pair[0])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(large_bodies, min_size=1, max_size=5),
    st.one_of(st.none(), st.integers(0, U64)),
    st.one_of(st.none(), st.text(max_size=5)),
    st.binary(max_size=3),
)
def test_large_records_are_taken_apart_like_small_ones(bodies, match_seq_num, fencing_token, junk):
    message = AppendInput(match_seq_num=match_seq_num, fencing_token=fencing_token)
    for body in bodies:
        message.records.add(body=body)
    parsed = parse_proto(message.SerializeToString())
    assert [bytes(body) for body in parsed.bodies] == bodies
    assert (parsed.match_seq_num, parsed.fencing_token) == (match_seq_num, fencing_token)
    assert parsed.metered_bytes == sum(8 + len(body) for body in bodies)
    # Whatever protobuf makes of bytes that are not so clean, we make the same.
    data = message.SerializeToString() + junk
    try:
        expected = AppendInput.FromString(data)
    except Exception:
        with pytest.raises(ApiError):
            parse_proto(data)
        return
    try:
        parsed = parse_proto(data)
    except (ApiError, BadValueError):
        return
    found = [bytes(b) for b in parsed.bodies] if parsed.bodies is not None else [body for _, _, body in parsed.records]
    assert found == [record.body for record in expected.records]


def test_a_batch_of_many_tiny_headers_is_refused_when_it_outgrows_a_frame():
    async def run(server, stream):
        headers = [(b"a", b"b")] * ((1 << 20) // 4 - 4)
        with pytest.raises(ApiError, match="2 MiB"):
            stream.admit(batch((None, headers, b"")), FakeOwner())
        assert stream.next_seq_num == 0

    with_stream(run)
