"""The check of a bucket: what is wrong in it, beside the servers that use it."""

import asyncio
import json

import pytest
from support.stores import BASIN, with_store
from support.waiting import TIMEOUT_S

from s2cli.errors import NotFoundError
from s2cli.server.store.bucket import bucket_format, snapshot
from s2cli.server.store.bucket.bucket_check import check_bucket
from s2cli.server.store.bucket.bucket_format import FORMAT, NewerFormatError, claim_format
from s2cli.server.store.bucket.key_layout import (
    CHUNK,
    FORMAT_KEY,
    HOLE,
    NEXT_ID_KEY,
    RUN,
    RUN_DUE,
    RUN_OF_STREAM,
    STREAM,
    STREAM_BY_ID,
    U64,
    numbered,
)
from s2cli.server.store.findings import Findings
from s2cli.server.store.interface import BasinRow, Lane, TokenRow

URI = f"s2://{BASIN}/stream"
END = 30
SELECTOR = "0" * 16


async def found_in(stores):
    findings = Findings()
    steps = []
    await check_bucket(stores.objects, stores.place, stores.prefix, findings, lambda: steps.append(None))
    assert steps
    return findings


async def fill(watched):
    lane = Lane(await watched.stream())
    for first in range(0, END, 3):
        watched.append(lane, first, count=3, size=100)
    # A retention of its own, and a trim.
    watched.append(lane, END, keep_ms=7000, expires_at_ms=2**50, trim_point=5)
    await watched.wait(END // 3 + 1)
    await watched.store.insert_basin(BasinRow("never-used", {}, 1))
    assert await watched.store.insert_token(TokenRow("id", SELECTOR, b"hash", {}), 10)
    return lane


@pytest.fixture
def filled(stores):
    async def run(watched):
        await claim_format(stores.objects)
        await fill(watched)

    with_store(stores, run)
    return stores


def problems(stores):
    findings = asyncio.run(found_in(stores))
    return [tuple(problem) for problem in findings.problems]


def test_nothing_is_wrong(filled):
    findings = asyncio.run(found_in(filled))
    assert findings.problems == []
    assert (findings.basins, findings.streams, findings.tokens) == (2, 1, 1)
    # The first batch is trimmed and deleted; the second one may be read from its middle on.
    assert (findings.batches, findings.records) == (END // 3, END + 1 - 3)
    assert findings.checked_bytes == (END // 3 - 1) * 100 + 10


def test_the_owner_keeps_the_basin_and_writes_on(stores):
    async def run(watched):
        await claim_format(stores.objects)
        lane = await fill(watched)
        findings = await found_in(stores)
        assert findings.problems == []
        assert findings.records == END + 1 - 3
        watched.append(lane, END + 1)
        await watched.wait(END // 3 + 2)
        assert watched.errors[-1] is None
        assert watched.lost == []
        assert (await found_in(stores)).records == END + 2 - 3

    with_store(stores, run)


def test_a_basin_is_checked_as_it_was_at_one_moment(filled, monkeypatch):
    """Whatever its owner does meanwhile: here all its records go."""
    opening = snapshot.Snapshot.open.__func__

    async def run(watched):
        lane = Lane(await watched.id_of())

        async def open_and_change(cls, place, path):
            taken = await opening(cls, place, path)
            row = await watched.store.get_stream(BASIN, "stream")
            row.deleted_at_ms = 5
            await watched.store.update_stream(row)
            await watched.store.remove_stream(lane.stream_id, row.uid)
            return taken

        monkeypatch.setattr(snapshot.Snapshot, "open", classmethod(open_and_change))
        assert await watched.store.get_stream(BASIN, "stream") is not None
        findings = await found_in(filled)
        assert findings.problems == []
        assert findings.records == END + 1 - 3
        assert await watched.store.get_stream(BASIN, "stream") is None

    with_store(filled, run)


def key_of(last_seq_num):
    return numbered(CHUNK, 1, last_seq_num)


DAMAGES = {
    "missing": (lambda _: {key_of(11): None, key_of(14): None}, (URI, "they are missing", 9, 14)),
    "checksum": (lambda old: {key_of(11): old[key_of(11)][:-1] + b"?"}, (URI, "wrong checksum", 9, 11)),
    "last": (lambda old: {key_of(END): old[key_of(END)][:-1] + b"?"}, (URI, "wrong checksum", END, END)),
    "trim point": (
        lambda old: {STREAM + b"stream": with_member(old[STREAM + b"stream"], trim_point=99)},
        (URI, f"its trim point, 99, is beyond its tail, {END + 1}", None, None),
    ),
    "tail": (
        lambda old: {STREAM + b"stream": with_member(old[STREAM + b"stream"], next_seq_num=40)},
        (URI, "they are missing", END + 1, 39),
    ),
    "row": (lambda _: {STREAM + b"stream": b"{}"}, (URI, "its row is damaged", None, None)),
    "no row": (
        lambda _: {STREAM + b"stream": None},
        (f"stream 1 of {BASIN}", "there are records of a stream that is missing", None, None),
    ),
    "no id": (lambda _: {numbered(STREAM_BY_ID, 1): None}, (URI, "its id does not lead to it", None, None)),
    "next id": (
        lambda _: {NEXT_ID_KEY: U64.pack(1)},
        (f"basin {BASIN}", "the id of the next stream is one that a stream has", None, None),
    ),
    "run": (
        lambda _: {numbered(RUN_DUE, 2**50, 1, END): None},
        (f"retention of stream 1 of {BASIN}", "it does not say when its records expire", END, None),
    ),
    "run of nothing": (
        lambda _: {numbered(RUN_OF_STREAM, 9, 0): RUN.pack(0, 0)},
        (f"retention of stream 9 of {BASIN}", "there is no such stream", None, None),
    ),
    "hole of nothing": (
        lambda _: {numbered(HOLE, 9, 0): U64.pack(5)},
        (f"expired records of stream 9 of {BASIN}", "there is no such stream", 0, None),
    ),
    "hole": (lambda _: {key_of(11): None, numbered(HOLE, 1, 9): U64.pack(12)}, None),
}


def with_member(value, **members):
    return json.dumps(json.loads(value) | members).encode()


@pytest.mark.parametrize(("change", "problem"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_wrong_in_a_basin_is_found(filled, change, problem):
    async def damage():
        async with filled.database() as database:
            old = dict(await database.scan(b"a", b"z", 1000))
            await database.write(change(old))

    asyncio.run(damage())
    found = problems(filled)
    assert found == [] if problem is None else problem in found


OBJECTS = {
    f"basins/{BASIN}": (b"{}", f"basin {BASIN}", "its object is damaged"),
    "basins/never-used": (b"", "basin never-used", "its object is damaged"),
    f"tokens/{b'id'.hex()}": (b'{"format":1}', f"token {b'id'.hex()}", "its object is damaged"),
    f"selectors/{SELECTOR}": (None, "token id", "its secret does not lead to it: it lets nobody in"),
}


@pytest.mark.parametrize(("name", "damage"), OBJECTS.items(), ids=OBJECTS)
def test_what_is_wrong_with_an_object_is_found(filled, name, damage):
    data, place, problem = damage

    async def change():
        await (filled.objects.delete(name) if data is None else filled.objects.put(name, data))

    asyncio.run(change())
    assert problems(filled) == [(place, problem, None, None)]


def test_a_basin_that_nothing_removes_is_found(filled):
    async def run(watched):
        basin = await watched.store.get_basin(BASIN)
        basin.deleted_at_ms = 5
        await watched.store.update_basin(basin)
        assert (await found_in(filled)).problems == []
        await filled.objects.delete(f"deleting/{BASIN}")
        (problem,) = (await found_in(filled)).problems
        assert problem.problem == "it is marked as deleted, and nothing removes it"

    with_store(filled, run)


def test_an_empty_place_is_not_a_whole_one(stores):
    with pytest.raises(NotFoundError):
        problems(stores)


def newer(data):
    return json.dumps(json.loads(data) | {"format": FORMAT + 1}).encode()


@pytest.mark.parametrize("name", ["format", f"basins/{BASIN}", f"tokens/{b'id'.hex()}"])
def test_what_a_newer_version_has_written_is_refused(filled, name):
    async def change():
        data, _ = await filled.objects.get(name)
        await filled.objects.put(name, newer(data))

    asyncio.run(change())
    with pytest.raises(
        NewerFormatError, match=f"newer version of s2: format {FORMAT + 1}, and this one knows {FORMAT}"
    ):
        problems(filled)


def test_a_basin_that_a_newer_version_has_written_is_refused(filled):
    async def change():
        async with filled.database() as database:
            await database.write({FORMAT_KEY: b"%d" % (FORMAT + 1)})

    asyncio.run(change())
    with pytest.raises(NewerFormatError):
        problems(filled)

    async def ask(watched):
        with pytest.raises(NewerFormatError):
            await watched.id_of()

    with_store(filled, ask)


def test_a_bucket_is_claimed_once_and_never_for_an_older_version(stores, monkeypatch):
    async def main():
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(2):
                await claim_format(stores.objects)
            assert json.loads((await stores.objects.get("format"))[0]) == {"format": FORMAT}
            monkeypatch.setattr(bucket_format, "FORMAT", FORMAT - 1)
            with pytest.raises(NewerFormatError):
                await claim_format(stores.objects)
            assert json.loads((await stores.objects.get("format"))[0]) == {"format": FORMAT}

    asyncio.run(main())
