"""The official Python SDK, unchanged, against the embedded server: every call that the server answers so far."""

import asyncio
import os
from datetime import timedelta

import pytest
import s2_sdk
from s2_sdk import (
    AppendInput,
    BasinConfig,
    Batching,
    CommandRecord,
    Compression,
    Encryption,
    Endpoints,
    EnsureStatus,
    ReadLimit,
    Record,
    Retry,
    S2ServerError,
    SeqNum,
    StreamConfig,
    TailOffset,
    Timestamp,
    Timestamping,
    TimestampingMode,
)
from support.waiting import TIMEOUT_S

BASIN = "sdk-basin"


def drive(server, job, compression=Compression.NONE, retry=None):
    """Run `job(client)` with a client of the server, in a loop of its own."""

    async def main():
        endpoints = Endpoints(account=server.url, basin=server.url)
        async with s2_sdk.S2("token", endpoints=endpoints, compression=compression, retry=retry) as client:
            return await asyncio.wait_for(job(client), TIMEOUT_S)

    return asyncio.run(main())


async def new_stream(client, name, config=None):
    await client.ensure_basin(BASIN)
    await client.basin(BASIN).create_stream(name, config=config)
    return client.basin(BASIN).stream(name)


async def read_all(stream, start=None, **options):
    batches = stream.read_session(start=start or SeqNum(0), limit=ReadLimit(count=1_000_000), **options)
    return [record async for batch in batches for record in batch.records]


def bodies(records):
    return [record.body for record in records]


def test_a_session_has_caught_up_once_the_tail_was_delivered(server):
    async def job(client):
        stream = await new_stream(client, "caught-up")
        await stream.append(AppendInput([Record(b"%d" % number) for number in range(5)]))
        session = stream.read_session(start=SeqNum(0))
        caught_up = session.caught_up()
        batch = await anext(session)
        assert (batch.records[-1].seq_num, batch.tail.seq_num) == (4, 5)
        following = asyncio.ensure_future(anext(session))
        # It does not depend on what is appended later, nor on a heartbeat.
        assert (await caught_up).seq_num == 5
        await stream.append(AppendInput([Record(b"5")]))
        assert bodies((await following).records) == [b"5"]

    drive(server, job)


def test_basins(server):
    async def job(client):
        config = BasinConfig(
            default_stream_config=StreamConfig(storage_class="standard", retention_policy=3600),
            create_stream_on_append=True,
        )
        info = await client.create_basin("sdk-basins-1", config=config)
        assert (info.name, info.deleted_at) == ("sdk-basins-1", None)
        with pytest.raises(S2ServerError) as caught:
            await client.create_basin("sdk-basins-1")
        assert caught.value.code == "resource_already_exists"
        got = await client.get_basin_config("sdk-basins-1")
        assert got.default_stream_config.retention_policy == 3600
        assert (got.create_stream_on_append, got.create_stream_on_read) == (True, False)
        assert (await client.ensure_basin("sdk-basins-1", config=config)).status == EnsureStatus.CONFIG_UNCHANGED
        assert (await client.ensure_basin("sdk-basins-2")).status == EnsureStatus.CREATED
        assert (await client.ensure_basin("sdk-basins-2", config=config)).status == EnsureStatus.CONFIG_UPDATED
        page = await client.list_basins(prefix="sdk-basins-", limit=1)
        assert ([basin.name for basin in page.items], page.has_more) == (["sdk-basins-1"], True)
        names = [basin.name async for basin in client.list_all_basins(prefix="sdk-basins-")]
        assert names == ["sdk-basins-1", "sdk-basins-2"]
        await client.delete_basin("sdk-basins-1")
        await client.delete_basin("no-such-basin", ignore_not_found=True)
        left = [basin.name async for basin in client.list_all_basins(prefix="sdk-basins-")]
        assert left == ["sdk-basins-2"]

    drive(server, job)


def test_streams(server):
    async def job(client):
        await client.ensure_basin(BASIN)
        basin = client.basin(BASIN)
        info = await basin.create_stream("streams/1", config=StreamConfig(retention_policy="infinite"))
        assert info.name == "streams/1"
        config = await basin.get_stream_config("streams/1")
        assert (config.storage_class, config.retention_policy) == ("express", "infinite")
        assert (await basin.ensure_stream("streams/1", config=StreamConfig(retention_policy=60))).status == (
            EnsureStatus.CONFIG_UPDATED
        )
        assert (await basin.get_stream_config("streams/1")).retention_policy == 60
        await basin.create_stream("streams/2")
        assert [item.name for item in (await basin.list_streams(prefix="streams/", start_after="streams/1")).items] == [
            "streams/2"
        ]
        await basin.delete_stream("streams/1")
        assert [item.name async for item in basin.list_all_streams(prefix="streams/")] == ["streams/2"]
        with pytest.raises(S2ServerError) as caught:
            await client.basin("no-such-basin").list_streams()
        assert caught.value.code == "basin_not_found"

    drive(server, job)


def test_reconfigure(server):
    async def job(client):
        await client.ensure_basin(BASIN)
        defaults = StreamConfig(storage_class="standard", timestamping=Timestamping(uncapped=True))
        changed = await client.reconfigure_basin(
            BASIN, config=BasinConfig(default_stream_config=defaults, create_stream_on_read=True)
        )
        assert changed == await client.get_basin_config(BASIN)
        assert (changed.create_stream_on_append, changed.create_stream_on_read) == (False, True)
        assert changed.default_stream_config.timestamping.uncapped is True
        # What is not named stays.
        changed = await client.reconfigure_basin(
            BASIN, config=BasinConfig(default_stream_config=StreamConfig(retention_policy="infinite"))
        )
        assert changed.default_stream_config.storage_class == "standard"
        assert (changed.default_stream_config.retention_policy, changed.create_stream_on_read) == ("infinite", True)
        basin = client.basin(BASIN)
        await basin.create_stream("changing", config=StreamConfig(retention_policy=60))
        config = await basin.reconfigure_stream(
            "changing",
            config=StreamConfig(
                timestamping=Timestamping(mode=TimestampingMode.CLIENT_REQUIRE), delete_on_empty_min_age=90
            ),
        )
        assert config == await basin.get_stream_config("changing")
        assert (config.storage_class, config.retention_policy) == ("standard", 60)
        assert (config.timestamping.mode, config.timestamping.uncapped) == (TimestampingMode.CLIENT_REQUIRE, True)
        assert config.delete_on_empty_min_age == 90
        with pytest.raises(S2ServerError) as caught:
            await basin.stream("changing").append(AppendInput(records=[Record(body=b"no timestamp")]))
        assert (caught.value.code, caught.value.status_code) == ("invalid", 422)
        for call in (
            client.reconfigure_basin("no-such-basin", config=BasinConfig()),
            basin.reconfigure_stream("no-such-stream", config=StreamConfig()),
        ):
            with pytest.raises(S2ServerError) as caught:
                await call
            assert caught.value.code in ("basin_not_found", "stream_not_found")

    drive(server, job)


COMPRESSIONS = pytest.mark.parametrize("compression", list(Compression), ids=lambda compression: compression.name)


@COMPRESSIONS
def test_unary_append_read_and_tail(server, compression):
    async def job(client):
        stream = await new_stream(client, "unary")
        tail = await stream.check_tail()
        assert (tail.seq_num, tail.timestamp) == (0, 0)
        records = [Record(body=b"one"), Record(body=b"", headers=[(b"name", b"\xff")]), Record(body=b"x" * 5000)]
        ack = await stream.append(AppendInput(records=records, match_seq_num=0))
        assert (ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num) == (0, 3, 3)
        batch = await stream.read(start=SeqNum(0), limit=ReadLimit(count=10))
        assert bodies(batch.records) == [b"one", b"", b"x" * 5000]
        assert batch.records[1].headers == [(b"name", b"\xff")]
        assert bodies((await stream.read(start=TailOffset(1), limit=ReadLimit(count=10))).records) == [b"x" * 5000]
        assert (await stream.check_tail()).seq_num == 3
        with pytest.raises(s2_sdk.SeqNumMismatchError) as mismatch:
            await stream.append(AppendInput(records=[Record(body=b"late")], match_seq_num=1))
        assert mismatch.value.expected_seq_num == 3
        with pytest.raises(s2_sdk.ReadUnwrittenError) as unwritten:
            await stream.read(start=SeqNum(3), limit=ReadLimit(count=1))
        assert unwritten.value.tail.seq_num == 3

    drive(server, job, compression)


@COMPRESSIONS
def test_lists_that_are_long_enough_to_be_compressed(server, compression):
    async def job(client):
        names = [f"list-{compression.name.lower()}-{number:02}" for number in range(30)]
        await client.ensure_basin(BASIN)
        basin = client.basin(BASIN)
        for name in names:
            await basin.create_stream(name)
        page = await basin.list_streams(prefix=f"list-{compression.name.lower()}-")
        assert [stream.name for stream in page.items] == names

    drive(server, job, compression)


@COMPRESSIONS
def test_sessions(server, compression):
    async def job(client):
        stream = await new_stream(client, f"session-{compression.name}")
        async with stream.append_session() as session:
            tickets = [
                await session.submit(
                    AppendInput(records=[Record(body=b"%d" % (batch * 100 + at) * 20) for at in range(100)])
                )
                for batch in range(50)
            ]
            acks = [await ticket for ticket in tickets]
        assert [ack.start.seq_num for ack in acks] == list(range(0, 5000, 100))
        records = await read_all(stream)
        assert [record.seq_num for record in records] == list(range(5000))
        assert bodies(records) == [b"%d" % at * 20 for at in range(5000)]

    drive(server, job, compression)


def test_producer(server):
    async def job(client):
        stream = await new_stream(client, "producer")
        async with stream.producer(
            match_seq_num=0, batching=Batching(max_records=7, linger=timedelta(milliseconds=1))
        ) as producer:
            tickets = [await producer.submit(Record(body=b"%d" % at)) for at in range(100)]
            acks = [await ticket for ticket in tickets]
        assert [ack.seq_num for ack in acks] == list(range(100))
        assert bodies(await read_all(stream)) == [b"%d" % at for at in range(100)]

    drive(server, job)


def test_a_follower_sees_what_is_appended_and_is_told_that_it_caught_up(server):
    async def job(client):
        stream = await new_stream(client, "follow")
        await stream.append(AppendInput(records=[Record(body=b"before")]))
        session = stream.read_session(start=SeqNum(0))
        got, caught_up = [], asyncio.ensure_future(session.caught_up())
        async for batch in session:
            got += bodies(batch.records)
            if got == [b"before"]:
                await caught_up
                await stream.append(AppendInput(records=[Record(body=b"after")]))
            if len(got) == 2:
                break
        await session.close()
        assert got == [b"before", b"after"]

    drive(server, job)


def test_trim_and_fence(server):
    async def job(client):
        stream = await new_stream(client, "commands")
        await stream.append(AppendInput(records=[Record(body=b"%d" % at) for at in range(5)]))
        await stream.append(AppendInput(records=[CommandRecord.trim(3)]))
        await stream.append(AppendInput(records=[CommandRecord.fence("mine")], fencing_token=""))
        with pytest.raises(s2_sdk.FencingTokenMismatchError) as caught:
            await stream.append(AppendInput(records=[Record(body=b"no")], fencing_token="theirs"))
        assert caught.value.expected_fencing_token == "mine"
        await stream.append(AppendInput(records=[Record(body=b"yes")], fencing_token="mine"))
        records = await read_all(stream)
        assert [record.seq_num for record in records] == [3, 4, 5, 6, 7]
        assert [record.is_command_record() for record in records] == [False, False, True, True, False]
        assert bodies(await read_all(stream, ignore_command_records=True)) == [b"3", b"4", b"yes"]

    drive(server, job)


def test_timestamps(server):
    async def job(client):
        config = StreamConfig(timestamping=Timestamping(mode=TimestampingMode.CLIENT_REQUIRE, uncapped=True))
        stream = await new_stream(client, "timestamps", config)
        with pytest.raises(S2ServerError) as caught:
            await stream.append(AppendInput(records=[Record(body=b"none")]))
        assert caught.value.code == "invalid"
        await stream.append(AppendInput(records=[Record(body=b"%d" % at, timestamp=at * 10) for at in range(1, 6)]))
        assert bodies(await read_all(stream, Timestamp(30))) == [b"3", b"4", b"5"]
        assert bodies(await read_all(stream, Timestamp(20), until_timestamp=40)) == [b"2", b"3"]

    drive(server, job)


def test_streams_are_made_by_appends_and_reads_where_the_basin_says_so(server):
    async def job(client):
        await client.create_basin(
            "sdk-auto-basin", config=BasinConfig(create_stream_on_append=True, create_stream_on_read=True)
        )
        basin = client.basin("sdk-auto-basin")
        await basin.stream("by-append").append(AppendInput(records=[Record(body=b"x")]))
        assert (await basin.stream("by-tail").check_tail()).seq_num == 0
        assert [stream.name async for stream in basin.list_all_streams()] == ["by-append", "by-tail"]

    drive(server, job)


def test_the_sdk_takes_its_endpoints_from_the_variables_that_the_server_prints(server, monkeypatch):
    for name in list(os.environ):
        if name.startswith("S2_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("S2_ACCOUNT_ENDPOINT", server.url)
    monkeypatch.setenv("S2_BASIN_ENDPOINT", server.url)

    async def main():
        async with s2_sdk.S2("token", endpoints=Endpoints.from_env()) as client:
            await client.ensure_basin(BASIN)
            return [basin.name async for basin in client.list_all_basins(prefix=BASIN)]

    assert asyncio.run(main()) == [BASIN]


@COMPRESSIONS
@pytest.mark.parametrize("cipher", list(Encryption), ids=lambda cipher: cipher.name)
def test_encrypted_streams(server, cipher, compression):
    key = bytes(range(32))

    async def job(client):
        await client.create_basin("sdk-encrypted", config=BasinConfig(stream_cipher=cipher))
        basin = client.basin("sdk-encrypted")
        assert (await basin.create_stream("stream")).cipher == cipher
        stream = basin.stream("stream", encryption_key=key)
        await stream.append(AppendInput(records=[Record(body=b"0" * 5000), CommandRecord.fence("mine")]))
        async with stream.append_session() as session:
            tickets = [
                await session.submit(AppendInput(records=[Record(body=b"%d" % at * 2000)])) for at in range(2, 10)
            ]
            assert [(await ticket).start.seq_num for ticket in tickets] == list(range(2, 10))
        async with stream.producer(fencing_token="mine") as producer:
            ticket = await producer.submit(Record(body=b"last", headers=[(b"name", b"value")]))
            assert (await ticket).seq_num == 10
        expected = [b"0" * 5000, b"mine", *(b"%d" % at * 2000 for at in range(2, 10)), b"last"]
        assert bodies(await read_all(stream)) == expected
        batch = await stream.read(start=SeqNum(0), limit=ReadLimit(count=100))
        assert bodies(batch.records) == expected
        with pytest.raises(S2ServerError) as wrong:
            await basin.stream("stream", encryption_key=bytes(32)).read(start=SeqNum(0), limit=ReadLimit(count=1))
        assert wrong.value.code == "decryption_failed"
        with pytest.raises(S2ServerError) as missing:
            await basin.stream("stream").read(start=SeqNum(0), limit=ReadLimit(count=1))
        assert missing.value.code == "bad_header"
        assert (await basin.stream("stream").check_tail()).seq_num == 11

    drive(server, job, compression)


PATIENT = Retry(max_attempts=50, max_base_delay=timedelta(milliseconds=200))  # three attempts are half a second


def test_sessions_go_on_over_a_restart_in_the_middle_of_appends(server):
    """The acks of a server that is about to go advise the SDK to reconnect; it ends its session itself, and loses
    nothing. It heeds that once a minute only. Ended by others, it loses an input now and then that it has not sent, and
    gives those that follow the acks of their successors, whatever the server."""

    async def job(client):
        stream = await new_stream(client, "restarted")
        tickets, seen = [], []

        async def follow():
            async for batch in stream.read_session(start=SeqNum(0)):
                seen.extend(record.body for record in batch.records)
                if seen[-1:] == [b"end"]:
                    return

        follower = asyncio.create_task(follow())
        async with stream.append_session() as session:

            async def submit(body):
                tickets.append(await session.submit(AppendInput(records=[Record(body=body)])))

            restart = None
            while restart is None or not restart.done():
                await submit(b"%d" % len(tickets))
                await asyncio.sleep(0.005)
                if len(tickets) == 20:
                    restart = asyncio.create_task(asyncio.to_thread(roll, server))
            await restart
            await submit(b"end")
            acks = [await ticket for ticket in tickets]
        await follower
        assert [ack.start.seq_num for ack in acks] == list(range(len(tickets)))
        assert seen == [*(b"%d" % at for at in range(len(tickets) - 1)), b"end"]

    drive(server, job, retry=PATIENT)


def test_sessions_go_on_over_a_rolling_restart(server):
    """Nobody sees an error. All is acknowledged when the server goes: see the test above."""

    async def job(client):
        stream = await new_stream(client, "rolling")
        seen = []

        async def follow():
            async for batch in stream.read_session(start=SeqNum(0)):
                seen.extend(record.body for record in batch.records)
                if seen[-1:] == [b"end"]:
                    return

        follower = asyncio.create_task(follow())
        async with stream.append_session() as session:
            acks = []
            for first in (0, 200, 400):
                tickets = [
                    await session.submit(AppendInput(records=[Record(body=b"%d" % at)]))
                    for at in range(first, first + 200)
                ]
                acks += [await ticket for ticket in tickets]
                await asyncio.to_thread(roll, server)
            acks.append(await (await session.submit(AppendInput(records=[Record(body=b"end")]))))
        await follower
        assert [ack.start.seq_num for ack in acks] == list(range(601))
        assert seen == [*(b"%d" % at for at in range(600)), b"end"]

    drive(server, job, retry=PATIENT)


def roll(server):
    server.stop()
    server.start()
