"""How a server joins those that use a bucket: whether the bucket is fit for that, and what all of them share beside
basins and tokens. Two objects have it:

| Object | In it |
|---|---|
| `token.key` | the key of the hashes of access tokens: each server accepts what another one has issued |
| `last-used` | when a server last used the bucket, in ms since 1970 |
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from s2cli.errors import ApiError, AuthError, NotFoundError, S2Error, UnreachableError, describe
from s2cli.server.store.bucket.bucket_format import claim_format
from s2cli.server.store.bucket.bucket_store import BucketStore
from s2cli.server.store.bucket.bucket_url import BucketUrl, client_settings, has_credentials, server_of
from s2cli.server.store.bucket.database import Place
from s2cli.server.store.bucket.objects import NoBucketError, Objects, RefusedError, UnusableError

KEY_NAME = "token.key"
KEY_BYTES = 32
LAST_USED_NAME = "last-used"
# Written at each start, to see whether the bucket honours conditions; it never has this version.
CONDITIONS_NAME = "conditions"
NO_VERSION = '"0"'

# Somebody waits for a server that starts.
START_RETRIES = 1
START_S = 9.0
CONNECT_S = 3.0


@dataclass
class Joined:
    """A server's part in its bucket. `last_used_ms` is None where there was no server before."""

    store: BucketStore
    token_key: bytes
    last_used_ms: int | None
    objects: Objects

    async def note_use(self, now_ms: int) -> None:
        """Have later starts know that a server ran at that time. Raises S2Error."""
        noted_ms = await _last_used_ms(self.objects)
        if noted_ms is None or noted_ms < now_ms:
            await self.objects.put(LAST_USED_NAME, b"%d" % now_ms)


async def join(url: BucketUrl, cache_bytes: int) -> Joined:
    """`cache_bytes`: of memory, for what was read from databases. Raises S2Error, with what can be done about it, where
    the bucket cannot be used."""
    client = client_settings()
    place = Place.of(url.root, client=client, cache_bytes=cache_bytes)
    at_start = Objects.of(url.root, url.folder, client, retries=START_RETRIES)
    async with reaching(url, client):
        await _check(at_start, url)
        await claim_format(at_start)
        token_key, last_used_ms = await _token_key(at_start), await _last_used_ms(at_start)
    objects = Objects.of(url.root, url.folder, client)
    return Joined(BucketStore(objects, place, url.folder), token_key, last_used_ms, objects)


@contextlib.asynccontextmanager
async def reaching(url: BucketUrl, client: Mapping[str, str]) -> AsyncIterator[None]:
    """Inside, the bucket is asked for the first time, with a client of these settings, which is bounded in time. Raises
    S2Error, with what can be done about it, where the bucket cannot be used."""
    server = server_of(client)
    reason = f"no answer within {START_S:.0f} s"
    try:
        async with asyncio.timeout(START_S):
            yield
        return
    except NoBucketError as error:
        raise NotFoundError(
            f"{server} has no bucket {url.name}", hint=f"make it first, perhaps with: aws s3 mb {url.root}"
        ) from error
    except RefusedError as error:
        raise AuthError(
            f"{server} does not let us use {url}: {error.reason}",
            hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be of somebody who may list, read, write and delete"
            " objects there",
        ) from error
    except UnusableError as error:
        reason = error.reason
    except TimeoutError:
        pass
    raise await _unusable(server, url, reason)


async def _check(objects: Objects, url: BucketUrl) -> None:
    """Raises S2Error where there is no such bucket, or servers could not use it together."""
    async for _ in objects.names(""):
        break
    await objects.create(CONDITIONS_NAME, b"")
    is_created_again = await objects.create(CONDITIONS_NAME, b"")
    if is_created_again or await objects.replace(CONDITIONS_NAME, b"", NO_VERSION):
        ignored = "If-None-Match" if is_created_again else "If-Match"
        raise S2Error(
            f"{url} cannot keep streams: its server ignores {ignored}, so that we could not keep other servers from"
            " overwriting our records",
            hint="use a store that honours conditional writes, as Amazon S3 does",
        )


async def _token_key(objects: Objects) -> bytes:
    """The key that the first server has made. Raises S2Error."""
    found = await objects.get(KEY_NAME)
    if found is None:
        key = secrets.token_bytes(KEY_BYTES)
        if await objects.create(KEY_NAME, key):
            return key
        found = await objects.get(KEY_NAME)
    if found is None or len(found[0]) != KEY_BYTES:
        raise ApiError("storage", f"the object {KEY_NAME} in the bucket is damaged: it must have {KEY_BYTES} bytes")
    return found[0]


async def _last_used_ms(objects: Objects) -> int | None:
    found = await objects.get(LAST_USED_NAME)
    if found is None:
        return None
    text = found[0]
    if not text.isdigit() or len(text) > 15:
        raise ApiError("storage", f"the object {LAST_USED_NAME} in the bucket is damaged: delete it")
    return int(text)


async def _unusable(server: str, url: BucketUrl, reason: str) -> S2Error:
    """Why the bucket gave no answer to make anything of: the libraries do not tell what the system has told them."""
    parts = urlsplit(server)
    with_tls = parts.scheme == "https"
    try:
        async with asyncio.timeout(CONNECT_S):
            port = parts.port or (443 if with_tls else 80)
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=with_tls or None)
        writer.close()
    except TimeoutError:
        return UnreachableError(f"{server} cannot be reached: no answer within {CONNECT_S:.0f} s")
    except OSError as error:
        return UnreachableError(f"{server} cannot be reached: {describe(error)}")
    if not has_credentials():
        return AuthError(
            f"there are no credentials for {url}: {reason}",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; this machine has none of its own",
        )
    return UnreachableError(f"{url} cannot be used at {server}: {reason}")
