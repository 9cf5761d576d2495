"""Where streams end, as their rows say it: noted behind their appends, and never of another stream."""

from support.sqlite_engine import uid_of
from support.store_bench import with_bench


def test_a_new_stream_does_not_end_where_a_deleted_one_with_its_number_did(tmp_path):
    ids = []

    async def delete_and_make(bench):
        old = await bench.lane("old")
        assert await bench.resolved(bench.append(old, 0), bench.append(old, 1)) == [None, None]
        await bench.store.remove_stream(old.stream_id, await uid_of(bench.store, old.stream_id))
        ids.extend([old.stream_id, (await bench.lane("new")).stream_id])

    async def look(bench):
        tail = await bench.store.tail(ids[1])
        assert (tail.next_seq_num, tail.last_timestamp, tail.doubt) == (0, 0, None)

    with_bench(tmp_path, delete_and_make)
    assert ids[0] == ids[1]
    with_bench(tmp_path, look)
