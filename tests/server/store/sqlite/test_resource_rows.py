"""What a list costs: as much as it shows, however many names there are beside these."""

import asyncio
from functools import partial

import pytest
from support.sqlite_steps import counting_steps

from s2cli.server.store.interface import BasinRow, StreamRow, TokenRow
from s2cli.server.store.sqlite import resource_rows
from s2cli.server.store.sqlite.checksums import seal
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.server.store.sqlite.reader import Reader
from s2cli.server.store.sqlite.resource_rows import TOKENS_IN_A_ROW

# Instructions of SQLite's machine: one name that is passed over takes about ten.
MOST_STEPS = 2000
NAMES = 20_000
# In a transaction: on a busy machine more of them would take so long that the store thinks that its disk hangs.
TOGETHER = 1000


def with_store(tmp_path, run):
    async def main():
        store = await SqliteStore.open(tmp_path)
        try:
            return await run(store)
        finally:
            await store.close()

    return asyncio.run(main())


async def fill(store):
    def insert(connection, first):
        for number in range(first, first + TOGETHER):
            name = f"m-{number:06}"
            resource_rows.insert_basin(connection, BasinRow(name, {}, 1))
            resource_rows.insert_stream(connection, StreamRow("some-basin", name, {}, 1), number + 1)
            # Half of the tokens have expired.
            expires_at_ms = None if number % 2 else 5
            resource_rows.insert_token(connection, TokenRow(name, str(number), b"", {}, expires_at_ms=expires_at_ms), 1)

    for first in range(0, NAMES, TOGETHER):
        await store.change(partial(insert, first=first))
    await store.insert_stream(StreamRow("some-basin", "zz-last", {}, 1))
    await store.insert_basin(BasinRow("zz-last", {}, 1))
    await store.insert_token(TokenRow("zz-last", "selector", b"", {}), 10)


async def counted(store, ask):
    """The names that `ask(connection)` gives, and how many steps of SQLite's machine that takes."""

    def run(connection):
        steps = []
        with counting_steps(connection, steps):
            rows = ask(connection)
        return [getattr(row, "name", None) or row.id for row in rows], steps[0]

    return await store.ask(run)


LISTS = {
    "basins": lambda prefix, after: lambda connection: resource_rows.list_basins(connection, prefix, after, 10)[0],
    "streams": lambda prefix, after: (
        lambda connection: resource_rows.list_streams(connection, "some-basin", prefix, after, 10)[0]
    ),
    "tokens": lambda prefix, after: lambda connection: resource_rows.list_tokens(connection, prefix, after, 10, 1)[0],
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_passes_no_name_over(tmp_path, kind):
    async def run(store):
        await fill(store)
        ask = LISTS[kind]
        for prefix, after, expected in (
            ("zz", "", ["zz-last"]),
            ("zz", "a", ["zz-last"]),
            ("m-", "zz", []),
            ("zz", "zz-last", []),
            ("m-", "m-019998", ["m-019999"]),
            ("m-01999", "m-01", [f"m-01999{digit}" for digit in range(10)]),
            ("a", "", []),
            ("", "m-019999", ["zz-last"]),
        ):
            names, steps = await counted(store, ask(prefix, after))
            assert names == expected, (prefix, after)
            assert steps < MOST_STEPS, (prefix, after)

    with_store(tmp_path, run)


def test_tokens_that_have_expired_are_no_end_of_a_list(tmp_path):
    async def run(store):
        await fill(store)
        rows, has_more = await store.list_tokens("", "", 7, 10)
        assert ([row.id for row in rows], has_more) == ([f"m-{number:06}" for number in range(1, 15, 2)], True)
        rows, has_more = await store.list_tokens("m-", "m-019990", 5, 10)
        assert ([row.id for row in rows], has_more) == ([f"m-{number:06}" for number in range(19991, 20000, 2)], False)
        rows, has_more = await store.list_tokens("m-", "m-019990", 4, 10)
        assert (len(rows), has_more) == (4, True)
        assert await store.list_tokens("m-019998", "", 5, 10) == ([], False)
        everything, has_more = await store.list_tokens("", "", 1000, 10)
        assert (len(everything), has_more) == (1000, True)

    with_store(tmp_path, run)


def test_a_short_list_makes_few_trips_past_tokens_that_have_expired(tmp_path, monkeypatch):
    async def run(store):
        expired = [(b"a-%05d" % at, f"a-{at}", b"", "{}", 5) for at in range(2 * TOKENS_IN_A_ROW - 1)]
        living = [(name.encode(), name, b"", "{}", None) for name in ("b", "c", "d")]

        def insert(connection):
            connection.executemany(
                "INSERT INTO token(id, selector, hash, scope, auto_prefix, expires_ms) VALUES(?,?,?,?,0,?)",
                expired + living,
            )
            seal(connection, "token", "1", ())

        await store.change(insert)
        submit, trips = Reader.submit, []
        monkeypatch.setattr(Reader, "submit", lambda reader, run: trips.append(run) or submit(reader, run))
        for after, expected, has_more, few in (
            ("", ["b"], True, 3),  # the second page ends between the two that it looks for
            ("b", ["c"], True, 1),
            ("c", ["d"], False, 1),
            ("d", [], False, 1),
        ):
            trips.clear()
            rows, more = await store.list_tokens("", after, 1, 10)
            assert ([row.id for row in rows], more, len(trips)) == (expected, has_more, few)

    with_store(tmp_path, run)


def test_names_that_begin_alike(tmp_path):
    """A prefix of any bytes that UTF-8 has, also its greatest, is a range."""
    names = ["a", "a\U0010ffff", "a\U0010ffffb", "a\U0010ffff\U0010ffff", "b", "é", "ê", "\U0010ffff"]

    async def run(store):
        for name in names:
            assert await store.insert_stream(StreamRow("some-basin", name, {}, 1)) is None
        for prefix in [*names, ""]:
            for after in ["", *names]:
                rows, _ = await store.list_streams("some-basin", prefix, after, 100)
                expected = sorted(
                    (name for name in names if name.startswith(prefix) and name.encode() > after.encode()),
                    key=str.encode,
                )
                assert [row.name for row in rows] == expected, (prefix, after)

    with_store(tmp_path, run)
