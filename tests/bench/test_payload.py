import pytest

from s2cli.bench.payload import LEAST_RECORD_BYTES, Checker, Payload, largest_batch, paced_batch
from s2cli.errors import MismatchError
from s2cli.wire.protobuf import MAX_BATCH_BYTES
from s2cli.wire.read_session import Delivered
from s2cli.wire.s2_pb2 import AppendInput, ReadBatch

RUN = b"the run!"


@pytest.fixture
def payload():
    return Payload(100, 5, RUN)


@pytest.fixture
def checker(payload):
    return Checker(payload, [0, 1], 10, "live read")


def stream(payload, *batches) -> list[bytes]:
    return [body for batch in batches for body in payload.bodies(*batch)]


@pytest.mark.parametrize(("size", "count"), [(LEAST_RECORD_BYTES, 1), (100, 7), (5000, 200), (MAX_BATCH_BYTES, 1)])
def test_a_batch_holds_records_of_that_size_and_its_bodies_are_those_that_are_expected(size, count):
    payload = Payload(size, count, RUN)
    for writer, number in ((0, 0), (0, 1), (3, 1 << 40)):
        records = payload.records(writer, number)
        sent = AppendInput.FromString(b"".join(records.parts))
        assert [record.body for record in sent.records] == payload.bodies(writer, number)
        assert {len(record.body) + 8 for record in sent.records} == {size}
        assert (records.count, records.size) == (count, count * (size - 8))
        assert records.encoded_bytes == len(b"".join(records.parts))
        assert payload.read_stamp(sent.records[0].body) == (writer, number)


def test_no_two_batches_are_equal(payload):
    batches = [payload.bodies(writer, number) for writer in range(3) for number in range(20)]
    assert len({tuple(batch) for batch in batches}) == len(batches)


@pytest.mark.parametrize("piece", [1, 2, 4, 5, 7, 100])
def test_what_was_written_passes_in_pieces_of_any_size(payload, checker, piece):
    order = [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)]
    bodies = stream(payload, *order)
    done = []
    for at in range(0, len(bodies), piece):
        done += checker.take(Delivered(10 + at, bodies[at : at + piece]))
    assert done == order
    checker.check_count(25)


def damaged(payload, change) -> list[bytes]:
    bodies = stream(payload, (0, 0), (1, 0), (0, 1), (1, 1))
    change(bodies)
    return bodies


def swap(bodies, one, other):
    bodies[one], bodies[other] = bodies[other], bodies[one]


def flip(bodies, at, byte):
    body = bytearray(bodies[at])
    body[byte] ^= 1
    bodies[at] = bytes(body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bodies: flip(bodies, 7, 50), "record 17 is not what was written, from byte 50 of its body on"),
        (lambda bodies: flip(bodies, 5, 90), "record 15 is not what was written, from byte 90"),
        (lambda bodies: bodies.__setitem__(8, bodies[8][:-1]), "record 18 has 91 bytes, and 92 were written"),
        (lambda bodies: swap(bodies, 1, 2), "record 11 is not what was written"),
        (lambda bodies: bodies.pop(3), "record 13 is not what was written"),
        (lambda bodies: bodies.insert(3, bodies[3]), "record 14 is not what was written"),
        (lambda bodies: bodies.__delitem__(slice(0, 5)), "record 15 begins batch 1 of writer 0, where batch 0"),
        (lambda bodies: bodies.extend(bodies[:5]), "record 30 begins batch 0 of writer 0, where batch 2"),
        (lambda bodies: flip(bodies, 10, 10), "record 20 does not begin a batch that this bench wrote"),
        (lambda bodies: bodies.insert(10, b"somebody else's"), "record 20 does not begin a batch"),
    ],
)
def test_what_differs_is_found_and_named(payload, checker, change, said):
    with pytest.raises(MismatchError) as caught:
        checker.take(Delivered(10, damaged(payload, change)))
    assert caught.value.message.startswith(f"live read: {said}")
    assert caught.value.exit_code == 8


def test_a_gap_in_the_sequence_numbers_is_found(payload, checker):
    checker.take(Delivered(10, payload.bodies(0, 0)))
    with pytest.raises(MismatchError, match="record 15 is missing: 16 came instead"):
        checker.take(Delivered(16, payload.bodies(1, 0)))


def test_records_that_came_as_objects_are_checked_alike(payload, checker):
    batch = ReadBatch()
    for seq_num, body in enumerate(payload.bodies(0, 0), 10):
        batch.records.add(seq_num=seq_num, body=body)
    assert checker.take(Delivered(10, None, batch.records)) == [(0, 0)]
    batch.records[0].headers.add(name=b"a", value=b"b")
    with pytest.raises(MismatchError, match="record 10 has headers"):
        Checker(payload, [0], 10, "live read").take(Delivered(10, None, batch.records))


def test_records_that_did_not_come_are_counted(payload, checker):
    checker.take(Delivered(10, payload.bodies(0, 0)))
    with pytest.raises(MismatchError, match="5 records came, and 10 were written"):
        checker.check_count(10)


def test_a_batch_of_a_fixed_rate_is_what_is_due_in_five_milliseconds():
    assert paced_batch(8192, 128) == 1
    assert paced_batch(100, 20_000) == 100
    assert paced_batch(100, 10_000_000) == 1000
    assert paced_batch(300_000, 1_000_000) == largest_batch(300_000) == 3
