"""Rows of basins, streams and access tokens: what the control plane asks for, as functions over a connection."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from s2cli.errors import ApiError
from s2cli.server.store.interface import MAX_SEQ_NUM, MAX_STREAMS, BasinRow, StreamRow, TokenRow
from s2cli.server.store.sqlite.checksums import SEALED, change_sealed, insert_sealed, is_whole, seal
from s2cli.server.store.sqlite.expiry import first_check_ms, min_age_ms
from s2cli.server.store.sqlite.keys import chunk_id
from s2cli.server.store.sqlite.reader import Slices
from s2cli.server.store.sqlite.schema import to_unsigned

log = logging.getLogger("s2cli.server")

UID_BYTES = 16
# Each has 18 values, and some versions of SQLite take no more than 999.
STREAMS_IN_A_STATEMENT = 50
# What one look takes in at most; others wait meanwhile.
BASINS_IN_A_ROW = 2000
# How many tokens one page of a list reads, and one transaction removes.
TOKENS_IN_A_ROW = 1000

_BASIN = f"crc, {SEALED['basin']}"
# A stream is deleted together with its basin, also where it is not yet marked.
_STREAM = f"(SELECT b.deleted_at FROM basin b WHERE b.name = stream.basin), crc, {SEALED['stream']}"  # noqa: S608
_TOKEN = f"crc, {SEALED['token']}"
# Every sequence number of a stream.
_ALL = (0, MAX_SEQ_NUM - 1)


def get_basin(connection: sqlite3.Connection, name: str) -> BasinRow | None:
    row = connection.execute(f"SELECT {_BASIN} FROM basin WHERE name=?", (name.encode(),)).fetchone()  # noqa: S608
    return _basin_row(row, name) if row else None


def list_basins(
    connection: sqlite3.Connection, prefix: str, start_after: str, limit: int
) -> tuple[list[BasinRow], bool]:
    rows = connection.execute(
        f"SELECT {_BASIN} FROM basin WHERE name >= ? AND name < ? ORDER BY name LIMIT ?",  # noqa: S608
        (*names_within(prefix, start_after), limit + 1),
    ).fetchall()
    return [_basin_row(row) for row in rows[:limit]], len(rows) > limit


def insert_basin(connection: sqlite3.Connection, row: BasinRow) -> BasinRow | None:
    if (present := get_basin(connection, row.name)) is not None:
        return present
    values = (row.name.encode(), json.dumps(row.config), row.created_at_ms, row.deleted_at_ms, row.request_key)
    insert_sealed(connection, "basin", [values])
    return None


def update_basin(connection: sqlite3.Connection, row: BasinRow) -> None:
    values = json.dumps(row.config), row.deleted_at_ms
    if not change_sealed(connection, "basin", row.name.encode(), "config=?, deleted_at=?", values):
        get_basin(connection, row.name)  # raises for one that is damaged


def remove_basin(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM basin WHERE name=?", (name.encode(),))


def get_stream(connection: sqlite3.Connection, basin: str, name: str) -> StreamRow | None:
    row = connection.execute(
        f"SELECT {_STREAM} FROM stream WHERE basin=? AND name=?",  # noqa: S608
        (basin.encode(), name.encode()),
    ).fetchone()
    return _stream_row(row, name) if row else None


def list_streams(
    connection: sqlite3.Connection, basin: str, prefix: str, start_after: str, limit: int
) -> tuple[list[StreamRow], bool]:
    rows = connection.execute(
        f"SELECT {_STREAM} FROM stream WHERE basin=? AND name >= ? AND name < ? ORDER BY name LIMIT ?",  # noqa: S608
        (basin.encode(), *names_within(prefix, start_after), limit + 1),
    ).fetchall()
    return [_stream_row(row) for row in rows[:limit]], len(rows) > limit


class Beginning(NamedTuple):
    """What the row of a new stream says of the append that creates it, if one does: as it is stored."""

    next_seq_num: int = 0
    last_ts: int = 0
    keep_ms: int | None = None


EMPTY = Beginning()


def insert_stream(
    connection: sqlite3.Connection, row: StreamRow, lowest_id: int, beginning: Beginning = EMPTY
) -> StreamRow | None:
    """The stream that has the name already; None, and `row` has an id, if it was inserted. `lowest_id`: no id below it
    is free, but for those that were given in transactions that were rolled back."""
    stream_id = lowest_id
    if not _are_behind_last(connection, lowest_id, 1):
        (behind_last,) = connection.execute(
            "SELECT coalesce(max(id), 0) + 1 FROM stream WHERE id < ?", (lowest_id,)
        ).fetchone()
        stream_id = _free_id(connection, behind_last)
    if stream_id >= MAX_STREAMS:
        if (present := get_stream(connection, row.basin, row.name)) is not None:
            return present
        raise ApiError("quota_exhausted", f"this server cannot hold more than {MAX_STREAMS - 1} streams")
    values = _new_values(row, stream_id, os.urandom(UID_BYTES), beginning)
    # Mostly the name is free: nothing is looked up before.
    if insert_sealed(connection, "stream", [values], unless="basin, name"):
        row.id, row.uid = stream_id, values[-1]
        return None
    if (present := get_stream(connection, row.basin, row.name)) is None:
        raise ApiError("storage", "the names of streams are damaged on disk", without_effect=True)
    return present


def insert_streams(
    connection: sqlite3.Connection, rows: list[StreamRow], lowest_id: int, beginnings: Sequence[Beginning] = ()
) -> tuple[list[StreamRow | None], int]:
    """What `insert_stream` returns of each, and the next `lowest_id`. With few statements, if no name is there already.
    Without `beginnings` all of them are empty."""
    present: list[StreamRow | None] = []
    new = [*zip(rows, beginnings or [EMPTY] * len(rows), strict=True)]
    for begin in range(0, len(rows), STREAMS_IN_A_STATEMENT):
        some = new[begin : begin + STREAMS_IN_A_STATEMENT]
        if _insert_new(connection, some, lowest_id):
            present += [None] * len(some)
            lowest_id += len(some)
            continue
        for row, beginning in some:
            present.append(insert_stream(connection, row, lowest_id, beginning))
            lowest_id = max(lowest_id, row.id + 1)
    return present, lowest_id


def _insert_new(connection: sqlite3.Connection, rows: list[tuple[StreamRow, Beginning]], lowest_id: int) -> bool:
    """Inserts all of them, or none if a name is there already or an id is not free."""
    beyond_id = lowest_id + len(rows)
    if len(rows) == 1 or beyond_id > MAX_STREAMS or not _are_behind_last(connection, lowest_id, len(rows)):
        return False
    noise = os.urandom(UID_BYTES * len(rows))  # each call would give the interpreter's lock away
    uids = [noise[at : at + UID_BYTES] for at in range(0, len(noise), UID_BYTES)]
    values = [
        _new_values(row, lowest_id + number, uids[number], beginning) for number, (row, beginning) in enumerate(rows)
    ]
    count = insert_sealed(connection, "stream", values, unless="basin, name")
    if count < len(rows):
        if count:  # what is there already must take no id
            connection.execute("DELETE FROM stream WHERE id >= ? AND id < ?", (lowest_id, beyond_id))
        return False
    for (row, _), (stream_id, *_, uid) in zip(rows, values, strict=True):
        row.id, row.uid = stream_id, uid
    return True


def _new_values(row: StreamRow, stream_id: int, uid: bytes, beginning: Beginning) -> tuple[Any, ...]:
    """The columns of a new stream; `uid` is the last of them."""
    return (
        stream_id,
        row.basin.encode(),
        row.name.encode(),
        _config_text(row.config),
        row.cipher,
        row.created_at_ms,
        row.deleted_at_ms,
        row.request_key,
        *(0, "", beginning.next_seq_num, beginning.last_ts, beginning.keep_ms, 0),
        first_check_ms(row.config, row.created_at_ms),
        uid,
    )


def update_stream(connection: sqlite3.Connection, row: StreamRow, now_ms: int) -> None:
    config = json.dumps(row.config)
    found = connection.execute("SELECT config FROM stream WHERE id=?", (row.id,)).fetchone()
    present = None if found is None else json.loads(found[0])
    if present is not None and min_age_ms(present) != min_age_ms(row.config):
        look_at = first_check_ms(row.config, now_ms, before=present)
        change_sealed(connection, "stream", row.id, "look_at=?", (look_at,))
    if not change_sealed(connection, "stream", row.id, "config=?, deleted_at=?", (config, row.deleted_at_ms)):
        get_stream(connection, row.basin, row.name)  # raises for one that is damaged


def is_stream(connection: sqlite3.Connection, stream_id: int, uid: bytes | None) -> bool:
    """Whether the stream with this id is the one with this uid; None for one that was created before there were any:
    each that has got its id since then has one."""
    return bool(connection.execute("SELECT 1 FROM stream WHERE id=? AND uid IS ?", (stream_id, uid)).fetchone())


def remove_stream(connection: sqlite3.Connection, stream_id: int) -> None:
    """Removes all that is left of a stream without chunks."""
    connection.execute("DELETE FROM stream WHERE id=?", (stream_id,))
    first, end = chunk_id(stream_id, 0), chunk_id(stream_id + 1, 0)
    connection.execute("DELETE FROM run WHERE id >= ? AND id < ?", (first, end))
    connection.execute("DELETE FROM gone WHERE id >= ? AND id < ?", (first, end))


def mark_streams(connection: sqlite3.Connection, basin: str, now_ms: int, limit: int) -> list[StreamRow]:
    """Mark some streams of the basin as deleted: those that were not."""
    rows = connection.execute(
        f"SELECT {_STREAM} FROM stream WHERE basin=? AND deleted_at IS NULL ORDER BY name LIMIT ?",  # noqa: S608
        (basin.encode(), limit),
    ).fetchall()
    marked = [_stream_row(row) for row in rows]
    for row in marked:
        change_sealed(connection, "stream", row.id, "deleted_at=?", (now_ms,))
    return marked


def deleting_basins(connection: sqlite3.Connection) -> Slices[list[str]]:
    """The basins that are marked as deleted, except where the row is damaged: it may be the mark that is wrong, and
    their data would go."""
    found: list[str] = []
    name = b""
    more = True
    while more:
        rows = connection.execute(
            f"SELECT deleted_at, crc, {SEALED['basin']} FROM basin WHERE name > ? ORDER BY name LIMIT ?",  # noqa: S608
            (name, BASINS_IN_A_ROW),
        ).fetchall()
        found += [row[2].decode() for row in rows if row[0] is not None and is_whole(row[1], row[2:])]
        more = len(rows) == BASINS_IN_A_ROW
        if more:
            name = rows[-1][2]
        yield
    return found


def deleting_streams(connection: sqlite3.Connection, limit: int) -> list[StreamRow]:
    """Some streams that are marked as deleted. Where the row is damaged it may be the mark that is wrong."""
    rows = connection.execute(
        f"SELECT {_STREAM} FROM stream WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT ?",  # noqa: S608
        (limit,),
    )
    return [_stream_row(row) for row in rows if is_whole(row[1], row[2:])]


def _are_behind_last(connection: sqlite3.Connection, stream_id: int, count: int) -> bool:
    """Whether so many ids from this one on are free, have no records, and stand right behind one that is taken: so it
    is mostly, as many are created one after the other."""
    beyond_id = stream_id + count
    row = connection.execute(
        "SELECT 1 FROM stream WHERE id=? AND NOT EXISTS(SELECT 1 FROM stream WHERE id >= ? AND id < ?)"
        " AND NOT EXISTS(SELECT 1 FROM chunk WHERE id >= ? AND id < ?)",
        (stream_id - 1, stream_id, beyond_id, chunk_id(stream_id, 0), chunk_id(beyond_id, 0)),
    ).fetchone()
    return row is not None


def _free_id(connection: sqlite3.Connection, lowest_id: int) -> int:
    """The lowest id that no stream has, from `lowest_id` on, and under which there are no records."""
    while True:
        is_taken, has_chunks = connection.execute(
            "SELECT EXISTS(SELECT 1 FROM stream WHERE id=?), EXISTS(SELECT 1 FROM chunk WHERE id >= ? AND id < ?)",
            (lowest_id, chunk_id(lowest_id, 0), chunk_id(lowest_id + 1, 0)),
        ).fetchone()
        if is_taken:
            (lowest_id,) = connection.execute(
                "SELECT id + 1 FROM stream s WHERE id >= ?"
                " AND NOT EXISTS (SELECT 1 FROM stream t WHERE t.id = s.id + 1) ORDER BY id LIMIT 1",
                (lowest_id,),
            ).fetchone()
        elif has_chunks:
            log.error("there are records of a stream %d, whose own row is missing on disk", lowest_id)
            lowest_id += 1
        else:
            return lowest_id


def get_token(connection: sqlite3.Connection, selector: str) -> TokenRow | None:
    row = connection.execute(f"SELECT {_TOKEN} FROM token WHERE selector=?", (selector,)).fetchone()  # noqa: S608
    found = _token_row(row) if row else None
    if found is not None and found.selector != selector:
        raise _damaged("an access token")
    return found


def list_tokens(
    connection: sqlite3.Connection, prefix: str, start_after: str, limit: int, now_ms: int
) -> tuple[list[TokenRow], str | None]:
    """At most `limit` of the next tokens that have not expired, and the id after which to look for more; None where
    there are no more. A page ends early where thousands of expired ones are between two others."""
    rows = connection.execute(
        f"SELECT {_TOKEN} FROM token WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
        (*names_within(prefix, start_after), TOKENS_IN_A_ROW),
    )
    living: list[TokenRow] = []
    for count, row in enumerate(rows, 1):
        last_id: bytes = row[1]
        expires_at_ms = row[-1]
        if expires_at_ms is None or expires_at_ms > now_ms:
            living.append(_token_row(row))
        if len(living) == limit or count == TOKENS_IN_A_ROW:
            rows.close()  # ends the read: a page holds no snapshot once it is made
            return living, last_id.decode()
    return living, None


def insert_token(connection: sqlite3.Connection, row: TokenRow, now_ms: int) -> bool:
    token_id = row.id.encode()
    present = connection.execute(f"SELECT {_TOKEN} FROM token WHERE id=?", (token_id,)).fetchone()  # noqa: S608
    if present is not None:
        expires_at_ms = _token_row(present).expires_at_ms
        if expires_at_ms is None or expires_at_ms > now_ms:
            return False
        connection.execute("DELETE FROM token WHERE id=?", (token_id,))
    added = connection.execute(
        f"INSERT INTO token({SEALED['token']}) VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO NOTHING",
        (
            token_id,
            row.selector,
            row.hash,
            json.dumps(row.scope),
            row.auto_prefix_streams,
            row.expires_at,
            row.expires_at_ms,
        ),
    )
    if added.rowcount != 1:
        return False
    seal(connection, "token", "id=?", (token_id,))
    return True


def remove_token(connection: sqlite3.Connection, token_id: str, now_ms: int) -> bool:
    removed = connection.execute(
        "DELETE FROM token WHERE id=? AND (expires_ms IS NULL OR expires_ms > ?)", (token_id.encode(), now_ms)
    )
    return removed.rowcount == 1


def expire_tokens(connection: sqlite3.Connection, now_ms: int) -> int | None:
    """Removes some of the tokens that have expired; returns when the next one expires. A damaged row stays: it may be
    the time that is wrong."""
    rows = connection.execute(
        f"SELECT {_TOKEN} FROM token WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?",  # noqa: S608
        (now_ms, TOKENS_IN_A_ROW),
    ).fetchall()
    expired = [(values[0],) for crc, *values in rows if is_whole(crc, values)]
    connection.executemany("DELETE FROM token WHERE id=?", expired)
    next_ms: int | None = connection.execute(
        "SELECT min(expires_ms) FROM token WHERE expires_ms IS NOT NULL"
    ).fetchone()[0]
    return next_ms


def names_within(prefix: str, start_after: str) -> tuple[bytes, bytes]:
    """The names with that prefix behind `start_after`, as one range: the first that may be in it, and the first beyond.
    Of two lower bounds SQLite seeks to one and filters by the other, name by name."""
    first, after = prefix.encode(), start_after.encode()
    # UTF-8 never has the byte 0xff.
    beyond = first[:-1] + bytes((first[-1] + 1,)) if first else b"\xff"
    # Nothing sorts between a name and the same with a NUL behind it.
    return max(first, after + b"\0"), beyond


def _damaged(what: str, damaged: tuple[int, int] | None = None) -> ApiError:
    return ApiError("storage", f"the row of {what} is damaged on disk: wrong checksum", damaged=damaged)


def _basin_row(row: tuple[Any, ...], asked: str | None = None) -> BasinRow:
    """`asked`: the name that it was looked up by, which a damaged index may have led astray."""
    crc, *values = row
    name, config, created_at_ms, deleted_at_ms, request_key = values
    if not is_whole(crc, values) or (asked is not None and name != asked.encode()):
        raise _damaged(f"the basin `{asked or escaped(name)}`")
    return BasinRow(name.decode(), _parse_config(config), created_at_ms, deleted_at_ms, request_key)


def _stream_row(row: tuple[Any, ...], asked: str | None = None) -> StreamRow:
    basin_deleted_at_ms, crc, *values = row
    stream_id, basin, name, config, cipher, created_at_ms, deleted_at_ms, request_key, *state = values
    if not is_whole(crc, values) or (asked is not None and name != asked.encode()):
        raise _damaged(f"the stream `{asked or escaped(name)}`", _ALL)
    trim_point, fencing_token, next_seq_num, last_timestamp, keep_ms, _, _, uid = state
    return StreamRow(
        id=stream_id,
        basin=basin.decode(),
        name=name.decode(),
        config=_parse_config(config),
        cipher=cipher,
        created_at_ms=created_at_ms,
        deleted_at_ms=basin_deleted_at_ms if deleted_at_ms is None else deleted_at_ms,
        request_key=request_key,
        trim_point=trim_point,
        fencing_token=fencing_token,
        next_seq_num=next_seq_num,
        last_timestamp=to_unsigned(last_timestamp),
        keep_ms=keep_ms,
        uid=uid,
    )


# The config that was last written, and its text: that of many new streams is the same one.
_last_written: tuple[dict[str, Any], str] = {}, "{}"


def _config_text(config: dict[str, Any]) -> str:
    global _last_written
    if _last_written[0] is not config:
        _last_written = config, json.dumps(config)
    return _last_written[1]


@lru_cache(1000)
def _parse_config(text: str) -> dict[str, Any]:
    """Shared by all rows with the same config: whoever changes a config makes a new one."""
    config: dict[str, Any] = json.loads(text)
    return config


def _token_row(row: tuple[Any, ...]) -> TokenRow:
    crc, *values = row
    if not is_whole(crc, values):
        raise _damaged("an access token")
    token_id, selector, hashed, scope, auto_prefix, expires_at, expires_at_ms = values
    return TokenRow(
        token_id.decode(), selector, hashed, json.loads(scope), bool(auto_prefix), expires_at, expires_at_ms
    )


def escaped(name: object) -> str:
    """A name that may be anything by now."""
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else repr(name)


def streams_by_id(connection: sqlite3.Connection, ids: list[int]) -> list[StreamRow]:
    query = f"SELECT {_STREAM} FROM stream WHERE id=?"  # noqa: S608
    return [_stream_row(connection.execute(query, (stream_id,)).fetchone()) for stream_id in ids]
