"""The statements with which chunks are inserted and deleted."""

import pytest

from s2cli.server.store.interface import Append, Chunk, Lane, Tail
from s2cli.server.store.sqlite import chunks, reader, resource_rows
from s2cli.server.store.sqlite.chunks import STATEMENT_BYTES, STATEMENT_ROWS

LANE = Lane(1)


def group(*sizes, **changes):
    return [Append(LANE, Chunk(at, 1, size, 1000 + at, bytes(size)), 0, **changes) for at, size in enumerate(sizes)]


def words(connection, appends):
    """The first words of the statements that insert them."""
    said = []
    connection.set_trace_callback(said.append)
    chunks.insert(connection, appends)
    connection.set_trace_callback(None)
    found = reader.read(connection, 1, 0, len(appends), 1 << 40, 0)[0]
    assert [len(chunk.data) for chunk in found] == [len(append.chunk.data) for append in appends]
    return [statement.split(maxsplit=1)[0] for statement in said]


@pytest.mark.parametrize(
    "sizes", [[1], [1] * STATEMENT_ROWS, [STATEMENT_BYTES], [STATEMENT_BYTES - 10, 9], [100, STATEMENT_BYTES - 100]]
)
def test_a_small_group_is_one_statement_and_no_more(connection, sizes):
    assert words(connection, group(*sizes)) == ["INSERT"]


@pytest.mark.parametrize(
    ("sizes", "inserts"),
    [
        ([1] * (STATEMENT_ROWS + 1), 2),
        ([1] * (2 * STATEMENT_ROWS + 17), 5),  # 64, 64, 8, 8, 1
        ([STATEMENT_BYTES + 1], 1),
        ([STATEMENT_BYTES // 8] * 8 + [1], 2),
        ([STATEMENT_BYTES // 8 + 1] * 8, 8),
    ],
)
def test_a_large_group_goes_through_few_statements(connection, sizes, inserts):
    assert words(connection, group(*sizes)) == ["BEGIN", *["INSERT"] * inserts, "COMMIT"]


@pytest.mark.parametrize("change", [{"fencing_token": "token"}, {"trim_point": 1}])
def test_what_changes_the_row_of_the_stream_is_written_together_with_it(connection, change):
    assert words(connection, group(1, **change)) == ["BEGIN", "INSERT", "UPDATE", "COMMIT"]


def test_where_a_stream_goes_on_is_written_with_the_deletion_of_its_last_chunk_alone(connection):
    chunks.insert(connection, group(1, 1, 1))
    chunks.insert(connection, [Append(Lane(2), Chunk(0, 1, 1, 5, b"x"), 0)])

    def next_seq_num():
        return resource_rows.get_stream(connection, "basin", "a").next_seq_num

    assert chunks.delete_slice(connection, 1, 2) is False
    assert (next_seq_num(), reader.tail(connection, 1)) == (0, Tail(3, 1002))
    assert chunks.delete_slice(connection, 1, 3) is False
    assert (next_seq_num(), reader.tail(connection, 1)[:2]) == (3, (3, 1002))
    assert reader.tail(connection, 2) == Tail(1, 5)


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        ([1] * 3, [3]),
        ([1] * 4, [3, 1]),
        ([1] * 7, [3, 3, 1]),
        ([100, 1], [1, 1]),  # a slice ends with the chunk that makes it large enough
        ([99, 1, 1], [2, 1]),
    ],
)
def test_a_deletion_goes_in_slices_of_bounded_rows_and_bytes(connection, monkeypatch, sizes, slices):
    monkeypatch.setattr(chunks, "SLICE_ROWS", 3)
    monkeypatch.setattr(chunks, "SLICE_BYTES", 100)
    chunks.insert(connection, group(*sizes))
    left = len(sizes)
    for deleted in slices:
        left -= deleted
        assert chunks.delete_slice(connection, 1, len(sizes)) is (left > 0)
        assert connection.execute("SELECT count(*) FROM chunk").fetchone() == (left,)
    assert chunks.delete_slice(connection, 1, len(sizes)) is False
