"""Checks a bucket, in a process of its own. Servers may run on it meanwhile: none loses anything by it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from s2cli.errors import NotFoundError
from s2cli.server.store.bucket.bucket_check import check_bucket
from s2cli.server.store.bucket.bucket_format import read_format
from s2cli.server.store.bucket.bucket_url import client_settings
from s2cli.server.store.bucket.database import Place
from s2cli.server.store.bucket.joining import START_RETRIES, reaching
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.store.bucket.bucket_url import BucketUrl

TELL_S = 0.2


def check_everything(url: BucketUrl, tell: Callable[[int], None]) -> Findings:
    """Checks everything that servers keep in a bucket. `tell` is called now and then with the bytes that were checked.
    Raises NotFoundError where there is nothing, NewerFormatError, and S2Error where the bucket cannot be used."""
    return asyncio.run(_check(url, tell))


async def _check(url: BucketUrl, tell: Callable[[int], None]) -> Findings:
    client = client_settings()
    place = Place.of(url.root, client=client)
    findings = Findings()
    told_s = 0.0

    def progress() -> None:
        nonlocal told_s
        if time.monotonic() - told_s > TELL_S:
            tell(findings.checked_bytes)
            told_s = time.monotonic()

    async with reaching(url, client):
        if await read_format(Objects.of(url.root, url.folder, client, retries=START_RETRIES)) is None:
            raise NotFoundError(f"no server has kept anything in {url}")
    await check_bucket(Objects.of(url.root, url.folder, client), place, url.folder, findings, progress)
    return findings
