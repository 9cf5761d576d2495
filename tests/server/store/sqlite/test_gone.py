"""Ranges of sequence numbers that are gone for a reason, and gaps that nothing explains."""

import random

import pytest

from s2cli.server.store.sqlite import gone, resource_rows

MOST = 30


def first_run(numbers):
    """The first of them, and the end of what follows it without a gap."""
    first = end = min(numbers)
    while end in numbers:
        end += 1
    return first, end


@pytest.mark.parametrize("seed", range(20))
def test_any_ranges_explain_what_is_in_them_and_nothing_else(connection, seed):
    generator = random.Random(seed)
    known = set()
    for neighbour in (1, 3):
        gone.add(connection, neighbour, 0, MOST)
    for _ in range(12):
        first = generator.randrange(MOST)
        end = generator.randrange(first + 1, MOST + 1)
        gone.add(connection, 2, first, end)
        known |= set(range(first, end))
        for _ in range(20):
            low = generator.randrange(MOST)
            high = generator.randrange(low + 1, MOST + 1)
            missing = set(range(low, high)) - known
            assert gone.unexplained(connection, 2, low, high) == (first_run(missing) if missing else None)
        (rows,) = connection.execute("SELECT count(*) FROM gone WHERE id >> 40 = 2").fetchone()
        assert rows == len([number for number in known if number - 1 not in known])


def test_a_range_that_is_damaged_explains_nothing(connection):
    gone.add(connection, 2, 5, 10)
    connection.execute("UPDATE gone SET n = 20")
    assert gone.unexplained(connection, 2, 5, 10) is not None


def test_a_trim_explains_what_lies_before_it_unless_its_row_is_damaged(connection):
    connection.execute("UPDATE stream SET trim_point = 7")
    assert gone.unexplained(connection, 2, 0, 7) == (0, 7)
    resource_rows.seal(connection, "stream", "1", ())
    assert gone.unexplained(connection, 2, 0, 7) is None
    assert gone.unexplained(connection, 2, 0, 9) == (7, 9)


def test_in_a_stream_that_is_deleted_anything_may_be_gone(connection):
    row = resource_rows.get_stream(connection, "basin", "b")
    row.deleted_at_ms = 5
    resource_rows.update_stream(connection, row, 5)
    assert gone.unexplained(connection, row.id, 0, 9) is None
    assert gone.unexplained(connection, 1000, 0, 9) is None
