"""Servers that join a bucket at the same time, and buckets that are not as servers leave them."""

import asyncio
import contextlib

import obstore
import pytest
from support.s3_faults import SILENT, Rule
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, connect, environment
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError, UnreachableError
from s2cli.server.store.bucket import joining
from s2cli.server.store.bucket.bucket_url import parse_bucket_url
from s2cli.server.store.bucket.database import CACHE_BYTES


@pytest.fixture
def url(s3_server, monkeypatch, tmp_path):
    for name, value in environment(s3_server.url).items():
        monkeypatch.setenv(name, value)
    return parse_bucket_url(f"s3://{BUCKET}/{tmp_path.name}")


def in_bucket(url, count, run):
    """What `run` returns, of so many servers that joined at once."""

    async def main():
        async with asyncio.timeout(TIMEOUT_S), contextlib.AsyncExitStack() as stack:
            joined = await asyncio.gather(*(joining.join(url, CACHE_BYTES) for _ in range(count)))
            for each in joined:
                stack.push_async_callback(each.store.close)
            return await run(joined)

    return asyncio.run(main())


def test_servers_that_join_at_once_have_the_same_key(url):
    async def keys(joined):
        return [each.token_key for each in joined]

    (key,) = set(in_bucket(url, 8, keys))
    assert len(key) == 32
    assert in_bucket(url, 1, keys) == [key]


def test_the_last_use_is_the_latest_of_all_servers(url):
    async def note(joined):
        first, second = joined
        assert first.last_used_ms is None
        await first.note_use(2000)
        await second.note_use(1000)

    async def last_used_ms(joined):
        return joined[0].last_used_ms

    in_bucket(url, 2, note)
    assert in_bucket(url, 1, last_used_ms) == 2000


@pytest.mark.parametrize(("name", "data"), [("token.key", b"short"), ("last-used", b"yesterday"), ("last-used", b"")])
def test_what_is_damaged_is_named(url, s3_server, name, data):
    obstore.put(connect(s3_server.url), url.folder + name, data)
    with pytest.raises(ApiError, match=f"the object {name} in the bucket is damaged"):
        asyncio.run(joining.join(url, CACHE_BYTES))


def test_a_bucket_that_does_not_answer(url, s3_server, monkeypatch):
    monkeypatch.setattr(joining, "START_S", 0.2)
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        proxy.fail(Rule(SILENT))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(UnreachableError, match="no answer within"):
            asyncio.run(joining.join(url, CACHE_BYTES))
