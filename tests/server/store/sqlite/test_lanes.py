"""Which queued appends are written together, and in which order."""

import pytest

from s2cli.server.store.interface import Append, Chunk, Lane
from s2cli.server.store.sqlite.lanes import (
    GROUP_BYTES,
    SMALL_GROUPS_IN_A_ROW,
    SMALL_LANE_BYTES,
    TURN_BYTES,
    Lanes,
)


def put(lanes, lane, *sizes):
    """Queue appends of these sizes."""
    appends = [Append(lane, Chunk(number, 1, size, 0, bytes(size)), 0) for number, size in enumerate(sizes)]
    lanes.put(appends)
    return appends


def sizes(group):
    return [(append.lane.stream_id, len(append.chunk.data)) for append in group]


def test_small_lanes_are_emptied_in_one_group():
    lanes = Lanes()
    first, second = put(lanes, Lane(1), 10, 20), put(lanes, Lane(2), 30)
    group = lanes.next_group()
    assert [append for append in group if append.lane.stream_id == 1] == first
    assert [append for append in group if append.lane.stream_id == 2] == second
    assert len(group) == 3
    assert not lanes
    assert all(append.lane.queued_bytes == 0 for append in group)


@pytest.mark.parametrize(("size", "is_small"), [(SMALL_LANE_BYTES, True), (SMALL_LANE_BYTES + 1, False)])
def test_a_lane_is_small_up_to_its_bound(size, is_small):
    lanes, bulk = Lanes(), (2, GROUP_BYTES)
    put(lanes, Lane(1), size)
    assert lanes.any_small is is_small
    put(lanes, Lane(2), GROUP_BYTES)
    assert sizes(lanes.next_group()) == ([(1, size)] if is_small else [(1, size), bulk])


def test_what_is_small_goes_before_what_is_not():
    lanes = Lanes()
    put(lanes, Lane(1), TURN_BYTES)
    put(lanes, Lane(2), 5)
    assert sizes(lanes.next_group()) == [(2, 5)]
    assert sizes(lanes.next_group()) == [(1, TURN_BYTES)]
    assert not lanes


def test_a_group_of_small_appends_ends_at_its_bound():
    lanes = Lanes()
    count = GROUP_BYTES // SMALL_LANE_BYTES
    for number in range(count + 1):
        put(lanes, Lane(number), SMALL_LANE_BYTES)
    assert len(lanes.next_group()) == count
    assert len(lanes.next_group()) == 1
    assert not lanes


def test_bulk_lanes_take_turns():
    lanes = Lanes()
    half = TURN_BYTES // 2
    put(lanes, Lane(1), *[half] * 20)
    put(lanes, Lane(2), *[half] * 3)
    group = sizes(lanes.next_group())
    # A turn of each, then what is left of the second, and the first again until the group is full.
    assert group == [(1, half)] * 2 + [(2, half)] * 2 + [(1, half)] * 2 + [(2, half)] + [(1, half)]
    assert sum(size for _, size in group) == GROUP_BYTES


def test_who_had_no_turn_is_the_first_of_the_next_group():
    lanes = Lanes()
    streams = GROUP_BYTES // TURN_BYTES + 1
    for number in range(streams):
        put(lanes, Lane(number), TURN_BYTES, TURN_BYTES)
    assert [number for number, _ in sizes(lanes.next_group())] == [0, 1, 2, 3]
    assert [number for number, _ in sizes(lanes.next_group())] == [4, 0, 1, 2]
    assert [number for number, _ in sizes(lanes.next_group())] == [3, 4]
    assert not lanes


def test_small_groups_leave_a_turn_to_bulk():
    lanes, small = Lanes(), Lane(2)
    put(lanes, Lane(1), *[GROUP_BYTES] * 3)
    written = []
    for _ in range(2 * (SMALL_GROUPS_IN_A_ROW + 1)):
        put(lanes, small, 1)
        written.append({number for number, _ in sizes(lanes.next_group())})
    row = [{2}] * SMALL_GROUPS_IN_A_ROW
    assert written == [*row, {1}, *row, {1}]


def test_without_bulk_no_turn_is_used_up():
    lanes, small = Lanes(), Lane(2)
    for _ in range(3 * SMALL_GROUPS_IN_A_ROW):
        put(lanes, small, 1)
        assert sizes(lanes.next_group()) == [(2, 1)]
    put(lanes, Lane(1), GROUP_BYTES)
    for _ in range(SMALL_GROUPS_IN_A_ROW):
        put(lanes, small, 1)
        assert sizes(lanes.next_group()) == [(2, 1)]
    put(lanes, small, 1)
    assert sizes(lanes.next_group()) == [(1, GROUP_BYTES)]


def test_the_queue_of_one_stream_is_taken_lane_by_lane():
    lanes, stream_id = Lanes(), 1 << 22
    before, after = put(lanes, Lane(stream_id), 1, 2), put(lanes, Lane(stream_id), 3)
    put(lanes, Lane(2), 4)
    assert [*lanes.take_stream(int(str(stream_id)))] == [before, after]
    assert [*lanes.take_stream(3)] == []
    assert sizes(lanes.take_all()) == [(2, 4)]
    assert lanes.take_all() == []


def test_a_broken_lane_gives_up_what_is_queued():
    lanes, lane, error = Lanes(), Lane(1), ValueError("full")
    appends = put(lanes, lane, 1, 2)
    put(lanes, Lane(2), 3)
    assert lanes.break_lane(lane, error) == appends
    assert lane.broken is error
    assert lane.queued_bytes == 0
    assert sizes(lanes.next_group()) == [(2, 3)]
    assert lanes.break_lane(lane, error) == []
