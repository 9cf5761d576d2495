"""Records that are damaged on disk: what is whole is read, what is not is named, and no attempt is repeated in vain."""

import contextlib
import sqlite3

import pytest

LINES = [b"%d" % number for number in range(600)]
# Of six batches of a hundred: the fourth, from 300 to 399, and the last one.
DAMAGE = {"data": (b"x" * 1800, 300, 399), "n": (99, 300, 399), "ts": (1, 500, 599)}
TRANSPORTS = ("s2s", "sse", "unary")


@pytest.fixture(params=DAMAGE)
def damaged(request, make_server, s2):
    """`(server, uri, first, last)`: one batch of the stream has another value in one of its columns."""
    server = make_server()
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    server.create_stream(basin)
    for first in range(0, 600, 100):
        s2("append", uri, at=server, stdin=b"\n".join(LINES[first : first + 100]))
    server.stop()
    value, first, last = DAMAGE[request.param]
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as connection:
        (row_id,) = connection.execute("SELECT id FROM chunk WHERE id & 0xffffff = ?", (last,)).fetchone()
        connection.execute(f"UPDATE chunk SET {request.param} = ? WHERE id = ?", (value, row_id))
    server.start()
    return server, uri, first, last


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_before_the_damage_is_printed_and_then_it_is_named(damaged, s2, transport):
    server, uri, first, last = damaged
    done = s2("read", uri, "--transport", transport, at=server, code=8)
    assert done.stdout.split() == LINES[:first]
    assert f"from sequence number {first} to {last} are damaged".encode() in done.stderr
    assert b"--skip-damaged" in done.stderr
    assert b"trying again" not in done.stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_it_can_be_left_out(damaged, s2, transport):
    server, uri, first, last = damaged
    done = s2("read", uri, "--transport", transport, "--skip-damaged", at=server, code=8)
    assert done.stdout.split() == LINES[:first] + LINES[last + 1 :]
    assert f"{first} to {last}".encode() in done.stderr


def test_a_healthy_stream_is_read_as_ever_with_the_option(damaged, s2):
    server, uri, first, _ = damaged
    done = s2("read", uri, "--to", first, "--skip-damaged", at=server)
    assert (done.stdout.split(), done.stderr) == (LINES[:first], b"")


def test_the_api_names_what_is_damaged(damaged):
    server, uri, first, last = damaged
    basin = uri.split("/")[2]
    path = "/v1/streams/stream/records"
    whole = server.request("GET", f"{path}?seq_num=0", basin=basin)
    assert len(whole.json()["records"]) == first
    answer = server.request("GET", f"{path}?seq_num={first}", basin=basin)
    assert answer.status == 500
    assert answer.json()["code"] == "storage"
    assert answer.json()["damaged"] == {"first": first, "last": last}
