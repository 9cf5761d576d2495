"""The cleaner of the engine gives the pages of what was deleted back to the file system, while there is room to."""

import contextlib

import pytest

from s2cli.server.store.sqlite.chunks import FREE_PAGES, VACUUM_PAGES, free_pages
from s2cli.server.store.sqlite.cleaner import Cleaner
from s2cli.server.store.sqlite.schema import PAGE_BYTES, open_writer


@pytest.fixture
def connection(tmp_path):
    with contextlib.closing(open_writer(tmp_path, durable=False)) as connection:
        yield connection


def free_some(connection, pages):
    connection.execute("CREATE TABLE large(content)")
    connection.executemany("INSERT INTO large VALUES(?)", ((bytes(PAGE_BYTES - 100),) for _ in range(pages)))
    connection.execute("DROP TABLE large")
    assert free_pages(connection) >= pages


def steps(cleaner, connection):
    """The pages that each step gives back until there is nothing to do."""
    given = []
    while cleaner.busy:
        before = free_pages(connection)
        given.append(cleaner.step(lambda run: run(connection)))
        assert before - free_pages(connection) == given[-1]
    return given


def test_it_gives_pages_back_until_some_are_left(connection):
    free_some(connection, FREE_PAGES + 2 * VACUUM_PAGES)
    given = steps(Cleaner(connection), connection)
    assert given[:2] == [VACUUM_PAGES, VACUUM_PAGES]
    assert given[-1] == 0
    assert free_pages(connection) == FREE_PAGES


def test_it_rests_until_the_next_deletion_when_told_that_there_is_no_room(connection):
    free_some(connection, FREE_PAGES + 2 * VACUUM_PAGES)
    cleaner = Cleaner(connection)
    assert cleaner.step(lambda run: run(connection)) == VACUUM_PAGES
    cleaner.stop_vacuuming()
    assert steps(cleaner, connection) == []
    assert free_pages(connection) > FREE_PAGES
    cleaner.vacuum()
    assert VACUUM_PAGES in steps(cleaner, connection)
    assert free_pages(connection) == FREE_PAGES
