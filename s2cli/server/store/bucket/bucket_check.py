"""What a check examines in a bucket: the objects of basins and access tokens, and the basins' databases, each as it was
at one moment. Servers may use the bucket meanwhile. Replies are not looked at: they are there for some minutes."""

from __future__ import annotations

from collections.abc import Callable

from s2cli.errors import ApiError, NotFoundError
from s2cli.server.store.bucket.basin_check import BasinCheck
from s2cli.server.store.bucket.bucket_format import NewerFormatError, read_format
from s2cli.server.store.bucket.catalogue_objects import (
    Basin,
    DamagedObjectError,
    database_path,
    parse_basin,
    parse_members,
    parse_token,
)
from s2cli.server.store.bucket.database import Place
from s2cli.server.store.bucket.objects import Objects
from s2cli.server.store.bucket.open_basin import refuse_newer
from s2cli.server.store.bucket.snapshot import Snapshot
from s2cli.server.store.findings import Findings

OPEN_ATTEMPTS = 3


async def check_bucket(
    objects: Objects, place: Place, prefix: str, findings: Findings, progress: Callable[[], None]
) -> None:
    """Adds what is wrong to `findings`; `progress` is called now and then. Raises NotFoundError where there is nothing,
    NewerFormatError, and ApiError `unavailable` where the bucket cannot be reached."""
    if await read_format(objects) is None:
        raise NotFoundError("no server has kept anything in the bucket")
    deleting = {name async for name, _ in objects.names("deleting/")}
    async for name, _ in objects.names("basins/"):
        basin = await _basin(objects, name, findings)
        if basin is None:
            continue
        findings.basins += 1
        if basin.row.deleted_at_ms is None:
            await _check_database(objects, place, prefix, basin, findings, progress)
        elif name not in deleting:
            findings.add(f"basin {name}", "it is marked as deleted, and nothing removes it")
        progress()
    await _check_tokens(objects, findings, progress)


async def _basin(objects: Objects, name: str, findings: Findings) -> Basin | None:
    """The basin, if it is there and its object is whole."""
    found = await objects.get(f"basins/{name}")
    if found is None:
        return None
    try:
        return parse_basin(name, found[0])
    except DamagedObjectError:
        findings.add(f"basin {name}", "its object is damaged")
        return None


async def _check_database(
    objects: Objects, place: Place, prefix: str, basin: Basin, findings: Findings, progress: Callable[[], None]
) -> None:
    name = basin.row.name
    path = database_path(prefix, name, basin.uid)
    async for _ in objects.names(f"{path.removeprefix(prefix)}/manifest/"):
        break
    else:
        return  # nobody has used it yet
    try:
        snapshot = await _opened(place, path)
        try:
            await refuse_newer(snapshot)
            await BasinCheck(snapshot, name, findings, progress).run()
        finally:
            await snapshot.close()
    except NewerFormatError:
        raise
    except ApiError as error:
        if error.code != "storage":
            raise
        now = await objects.get(f"basins/{name}")
        present = None if now is None else parse_basin(name, now[0])
        if present is not None and present.uid == basin.uid and present.row.deleted_at_ms is None:
            findings.add(f"basin {name}", f"it cannot be read to its end: {error.message}")


async def _opened(place: Place, path: str) -> Snapshot:
    """The snapshot, even if the bucket is slow: nobody else waits for it."""
    for _ in range(OPEN_ATTEMPTS - 1):
        try:
            return await Snapshot.open(place, path)
        except ApiError as error:
            if error.code != "unavailable":
                raise
    return await Snapshot.open(place, path)


async def _check_tokens(objects: Objects, findings: Findings, progress: Callable[[], None]) -> None:
    async for name, _ in objects.names("tokens/"):
        found = await objects.get(f"tokens/{name}")
        if found is None:
            continue
        try:
            token_id = bytes.fromhex(name).decode()
            token = parse_token(token_id, found[0])
            if token is None:
                continue
        except (DamagedObjectError, ValueError):
            findings.add(f"token {name}", "its object is damaged")
            continue
        findings.tokens += 1
        selector = await objects.get(f"selectors/{token.selector}")
        if selector is None or not _leads_to(selector[0], token_id):
            findings.add(f"token {token_id}", "its secret does not lead to it: it lets nobody in")
        progress()


def _leads_to(data: bytes, token_id: str) -> bool:
    try:
        return bool(parse_members(data).get("id") == token_id)
    except DamagedObjectError:
        return False
