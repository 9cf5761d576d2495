"""Ranges of numbers: joined where they touch, and no more of them kept than a bound."""

from hypothesis import given
from hypothesis import strategies as st

from s2cli.wire.ranges import MAX_RANGES, Ranges, format_lines


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=30))
def test_the_ranges_are_those_of_the_numbers(pieces):
    taken: set[int] = set()
    ranges = Ranges()
    for first, more in pieces:
        numbers = set(range(first, first + more + 1))
        if numbers & taken:
            continue  # no number comes twice
        taken |= numbers
        ranges.add(first, first + more)
    assert [number for first, last in ranges.kept for number in range(first, last + 1)] == sorted(taken)
    assert all(last + 1 < first for (_, last), (first, _) in zip(ranges.kept, ranges.kept[1:], strict=False))
    assert (ranges.first, ranges.last) == ((min(taken), max(taken)) if taken else (None, None))
    assert ranges.count == len(ranges.kept)


def test_what_follows_joins_what_was_last():
    ranges = Ranges()
    for first, last in ((1, 2), (3, 5), (7, 7), (8, 9)):
        ranges.add(first, last)
    assert (ranges.kept, ranges.count) == ([(1, 5), (7, 9)], 2)


def test_beyond_the_bound_ranges_are_only_counted():
    ranges = Ranges()
    for number in range(MAX_RANGES + 10):
        ranges.add(5 * number, 5 * number)
        ranges.add(5 * number + 1, 5 * number + 1)
    assert len(ranges.kept) == MAX_RANGES
    assert ranges.kept[-1] == (5 * (MAX_RANGES - 1), 5 * (MAX_RANGES - 1) + 1)
    assert (ranges.more, ranges.count) == (10, MAX_RANGES + 10)
    assert (ranges.first, ranges.last) == (0, 5 * (MAX_RANGES + 9) + 1)


def test_lines_in_words():
    assert format_lines([(7, 7)]) == "line 7"
    assert format_lines([(7, 7), (9, 9)]) == "lines 7, 9"
    assert format_lines([(1, 1000), (3001, 3001)]) == "lines 1 to 1000, 3001"
