"""The appends that wait to be written, in one queue for each stream, and the choice of what is written next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from s2cli.errors import S2Error
from s2cli.server.store.interface import Append, Lane

GROUP_BYTES = 4 * 1024 * 1024
# Streams that load in bulk take turns of this size in a group.
TURN_BYTES = 1024 * 1024
# A stream with more than this in its queue is loading in bulk, and waits for those that are not.
SMALL_LANE_BYTES = 64 * 1024
# So many groups of small appends may go while a bulk one waits: bulk never starves.
SMALL_GROUPS_IN_A_ROW = 8


class Lanes:
    """The lanes with something queued."""

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()
        self._small_groups = 0
        # What is the next group as it came, as long as no lane has anything and no choice has to be made.
        self._ready: list[Append] = []
        self._ready_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._ready or self._lanes)

    def put(self, appends: Sequence[Append]) -> None:
        if not self._lanes:
            size_bytes = self._ready_bytes + sum([len(append.chunk.data) for append in appends])
            if size_bytes <= SMALL_LANE_BYTES:
                self._ready += appends
                self._ready_bytes = size_bytes
                return
        self._sort()
        for append in appends:
            self._queue(append)

    def _sort(self) -> None:
        """Put into their lanes what was ready."""
        ready, self._ready, self._ready_bytes = self._ready, [], 0
        for append in ready:
            self._queue(append)

    def _queue(self, append: Append) -> None:
        lane = append.lane
        if not lane.queue:
            self._lanes.append(lane)
        lane.queue.append(append)
        lane.queued_bytes += len(append.chunk.data)

    @property
    def any_small(self) -> bool:
        return bool(self._ready) or any(lane.queued_bytes <= SMALL_LANE_BYTES for lane in self._lanes)

    def take_stream(self, stream_id: int | None) -> Iterator[list[Append]]:
        """All that is queued for one stream, lane by lane."""
        if stream_id is None:
            return
        self._sort()
        for lane in [lane for lane in self._lanes if lane.stream_id == stream_id]:
            if lane.queue:
                yield self._take_lane(lane)

    def take_all(self) -> list[Append]:
        self._sort()
        return [append for lane in list(self._lanes) for append in self._take_lane(lane)]

    def break_lane(self, lane: Lane, error: S2Error) -> list[Append]:
        """Nothing of it is written any more; what is queued in it."""
        self._sort()
        lane.broken = error
        return self._take_lane(lane) if lane.queue else []

    def _take_lane(self, lane: Lane) -> list[Append]:
        taken = [*lane.queue]
        lane.queue.clear()
        lane.queued_bytes = 0
        self._lanes.remove(lane)
        return taken

    def next_group(self) -> list[Append]:
        """What is written together next: what is small, or else some of what is not."""
        if self._ready:
            ready, self._ready, self._ready_bytes = self._ready, [], 0
            return ready
        small: list[Lane] = []
        bulk: list[Lane] = []
        for lane in self._lanes:
            (small if lane.queued_bytes <= SMALL_LANE_BYTES else bulk).append(lane)
        group: list[Append] = []
        if small and (not bulk or self._small_groups < SMALL_GROUPS_IN_A_ROW):
            self._small_groups = self._small_groups + 1 if bulk else 0
            taken_bytes = 0
            while small and taken_bytes < GROUP_BYTES:
                lane = small.pop()
                taken_bytes += lane.queued_bytes
                group.extend(lane.queue)
                lane.queue.clear()
                lane.queued_bytes = 0
            self._lanes = deque(bulk + small)
            return group
        self._small_groups = 0
        turns = deque(bulk)
        left_bytes = GROUP_BYTES
        while turns and left_bytes > 0:
            lane = turns.popleft()
            left_bytes -= self._take_turn(lane, min(left_bytes, TURN_BYTES), group)
            if lane.queue:
                turns.append(lane)
        self._lanes = deque((*small, *turns))
        return group

    @staticmethod
    def _take_turn(lane: Lane, most_bytes: int, group: list[Append]) -> int:
        taken_bytes = 0
        while lane.queue and taken_bytes < most_bytes:
            append = lane.queue.popleft()
            taken_bytes += len(append.chunk.data)
            group.append(append)
        lane.queued_bytes -= taken_bytes
        return taken_bytes


def by_lane(appends: list[Append]) -> dict[Lane, list[Append]]:
    """The appends of each lane, in their order."""
    found: dict[Lane, list[Append]] = {}
    for append in appends:
        found.setdefault(append.lane, []).append(append)
    return found


def has_trim(group: list[Append]) -> bool:
    """Whether one of them trims its stream."""
    return any(append.trim_point is not None for append in group)
