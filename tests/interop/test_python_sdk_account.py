"""The official Python SDK, unchanged, against a server that asks for tokens: tokens, metrics, locations."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest
import s2_sdk
from s2_sdk import (
    AccessTokenScope,
    AccountMetricSet,
    Accumulation,
    AppendInput,
    BasinMetricSet,
    Endpoints,
    EnsureStatus,
    ExactMatch,
    Gauge,
    Label,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ReadLimit,
    Record,
    S2ServerError,
    SeqNum,
    StreamMetricSet,
    TimeseriesInterval,
)
from support.waiting import TIMEOUT_S

ROOT = "the-root-token"
BASIN = "sdk-account-basin"


@pytest.fixture
def guarded(make_server, tmp_path):
    path = tmp_path / "root.token"
    path.touch(mode=0o600)
    path.write_text(ROOT)
    return make_server(options=("--root-token-file", str(path)))


def drive(server, job):
    """Run `job(connect)`, where `connect(token)` gives a client."""

    async def main():
        async with contextlib.AsyncExitStack() as stack:

            async def connect(token=ROOT):
                endpoints = Endpoints(account=server.url, basin=server.url)
                return await stack.enter_async_context(s2_sdk.S2(token, endpoints=endpoints))

            await asyncio.wait_for(job(connect), TIMEOUT_S)

    asyncio.run(main())


async def refused(call, status, code):
    with pytest.raises(S2ServerError) as caught:
        await call
    assert (caught.value.status_code, caught.value.code) == (status, code)
    return str(caught.value)


def test_tokens_are_issued_listed_and_revoked(guarded):
    async def job(connect):
        root = await connect()
        everything = AccessTokenScope(
            basins=PrefixMatch(""),
            streams=ExactMatch("only"),
            access_tokens=ExactMatch(""),
            op_groups=OperationGroupPermissions(account=Permission.READ, stream=Permission.READ_WRITE),
            ops=[Operation.CREATE_STREAM],
        )
        at = datetime.now(UTC) + timedelta(hours=1, microseconds=123)
        secret = await root.issue_access_token("sdk/1", scope=everything, expires_at=at)
        await root.issue_access_token("sdk/2", scope=AccessTokenScope(ops=[Operation.LIST_BASINS]))
        page = await root.list_access_tokens(limit=1)
        assert (len(page.items), page.has_more) == (1, True)
        listed = [token async for token in root.list_all_access_tokens(prefix="sdk/")]
        assert [token.id for token in listed] == ["sdk/1", "sdk/2"]
        first = listed[0]
        assert (first.expires_at, first.auto_prefix_streams) == (at, False)
        assert (first.scope.basins, first.scope.streams) == (PrefixMatch(""), ExactMatch("only"))
        assert first.scope.access_tokens is None
        assert first.scope.op_groups.account == Permission.READ
        assert first.scope.op_groups.stream == Permission.READ_WRITE
        assert first.scope.ops == [Operation.CREATE_STREAM]
        await refused(root.issue_access_token("sdk/1", scope=everything), 409, "resource_already_exists")
        bearer = await connect(secret)
        await bearer.list_basins()
        await refused(bearer.create_basin("sdk-not-allowed"), 403, "permission_denied")
        await root.revoke_access_token("sdk/1")
        await refused(bearer.list_basins(), 401, "authn")
        await refused(root.revoke_access_token("sdk/1"), 404, "access_token_not_found")
        assert [token.id async for token in root.list_all_access_tokens(prefix="sdk/")] == ["sdk/2"]
        await refused((await connect("nonsense")).list_basins(), 401, "authn")

    drive(guarded, job)


def test_what_makes_no_sense_is_refused_in_so_many_words(guarded):
    async def job(connect):
        root = await connect()
        call = root.issue_access_token("sdk-empty", scope=AccessTokenScope(basins=PrefixMatch("")))
        assert "Access token permissions cannot be empty" in await refused(call, 422, "invalid")
        scope = AccessTokenScope(streams=ExactMatch("x"), ops=[Operation.READ])
        call = root.issue_access_token("sdk-auto", scope=scope, auto_prefix_streams=True)
        message = await refused(call, 422, "invalid")
        assert "Auto prefixing is only allowed for streams with prefix matching" in message

    drive(guarded, job)


def test_a_tenant_sees_his_own_streams_only(guarded):
    async def job(connect):
        root = await connect()
        await root.create_basin(BASIN)
        scope = AccessTokenScope(
            basins=ExactMatch(BASIN),
            streams=PrefixMatch("tenant-7/"),
            op_groups=OperationGroupPermissions(basin=Permission.READ_WRITE, stream=Permission.READ_WRITE),
        )
        secret = await root.issue_access_token("tenant-7", scope=scope, auto_prefix_streams=True)
        tenant = (await connect(secret)).basin(BASIN)
        assert (await tenant.create_stream("events")).name == "events"
        assert (await tenant.ensure_stream("more")).status == EnsureStatus.CREATED
        async with tenant.stream("events").append_session() as session:
            await (await session.submit(AppendInput(records=[Record(body=b"mine")])))
        batch = await tenant.stream("events").read(start=SeqNum(0), limit=ReadLimit(count=1))
        assert [record.body for record in batch.records] == [b"mine"]
        assert [stream.name async for stream in tenant.list_all_streams()] == ["events", "more"]
        basin = root.basin(BASIN)
        assert [stream.name async for stream in basin.list_all_streams()] == ["tenant-7/events", "tenant-7/more"]

    drive(guarded, job)


def test_a_session_ends_with_its_token(guarded):
    async def job(connect):
        root = await connect()
        await root.create_basin(BASIN)
        await root.basin(BASIN).create_stream("events")
        scope = AccessTokenScope(basins=PrefixMatch(""), streams=PrefixMatch(""), ops=[Operation.READ])
        bearer = await connect(await root.issue_access_token("reader", scope=scope))
        session = bearer.basin(BASIN).stream("events").read_session(start=SeqNum(0))
        await session.caught_up()
        await root.revoke_access_token("reader")

        async def read():
            async for _ in session:
                pass

        await refused(read(), 401, "authn")

    drive(guarded, job)


def test_metrics(guarded):
    async def job(connect):
        root = await connect()
        await root.create_basin(BASIN)
        await root.basin(BASIN).create_stream("events")
        stream = root.basin(BASIN).stream("events")
        await stream.append(AppendInput(records=[Record(body=b"x" * 92)]))
        await stream.read(start=SeqNum(0), limit=ReadLimit(count=1))
        now = int(time.time())
        window = {"start": now - 3600, "end": now + 1}
        (label,) = await root.account_metrics(set=AccountMetricSet.ACTIVE_BASINS, **window)
        assert label == Label(name="active_basins", values=[BASIN])
        for account_set in AccountMetricSet:
            await root.account_metrics(set=account_set, **window)
        for basin_set in BasinMetricSet:
            for metric in await root.basin_metrics(BASIN, set=basin_set, **window):
                assert isinstance(metric, Gauge if basin_set == BasinMetricSet.STORAGE else Accumulation)
                assert metric.values
        (written,) = await root.basin_metrics(
            BASIN, set=BasinMetricSet.APPEND_THROUGHPUT, interval=TimeseriesInterval.DAY, **window
        )
        assert (written.name, written.interval, written.unit.value) == ("express", TimeseriesInterval.DAY, "bytes")
        assert sum(value for _, value in written.values) == 100
        (stored,) = await root.stream_metrics(BASIN, "events", set=StreamMetricSet.STORAGE, **window)
        assert stored.values[-1][1] == 100
        call = root.stream_metrics(
            BASIN, "events", set=StreamMetricSet.STORAGE, interval=TimeseriesInterval.HOUR, **window
        )
        await refused(call, 422, "invalid")
        await refused(root.account_metrics(set=AccountMetricSet.ACCOUNT_OPS), 422, "invalid")

    drive(guarded, job)


def test_locations(guarded):
    async def job(connect):
        root = await connect()
        (local,) = await root.list_locations()
        assert (local.storage_classes, local.default_storage_class) == (["standard", "express"], "express")
        assert (local.name, local.is_private) == ("local", True)
        assert await root.get_default_location() == local
        assert await root.set_default_location("local") == local
        await refused(root.set_default_location("aws:us-east-1"), 422, "invalid")
        info = await root.create_basin(BASIN, location="local")
        assert info.location == "local"
        await refused(root.create_basin("sdk-elsewhere", location="aws:us-east-1"), 422, "invalid")

    drive(guarded, job)
