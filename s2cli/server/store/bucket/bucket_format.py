"""The version of what is stored in a bucket. Objects say it each for itself, and so does each basin's database; that of
all is in the object `format`, which the first server writes."""

from __future__ import annotations

import json

from s2cli.errors import ApiError, ExitCode
from s2cli.server.store.bucket.objects import Objects

FORMAT = 1
FORMAT_NAME = "format"


class NewerFormatError(ApiError):
    """A newer version has written `what`, and this one must not touch it."""

    def __init__(self, what: str, found: int) -> None:
        super().__init__(
            "storage", f"{what} was written by a newer version of s2: format {found}, and this one knows {FORMAT}"
        )
        self.exit_code = ExitCode.FAILURE  # no attempt helps
        self.retryable = False


async def read_format(objects: Objects) -> int | None:
    """The format of the bucket; None if no server has been there. Raises NewerFormatError, and another ApiError where
    the object is damaged."""
    stored = await objects.get(FORMAT_NAME)
    if stored is None:
        return None
    try:
        found: int = json.loads(stored[0])["format"]
        is_newer = found > FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError("storage", f"the object {FORMAT_NAME} in the bucket is damaged") from error
    if is_newer:
        raise NewerFormatError("what is in the bucket", found)
    return found


async def claim_format(objects: Objects) -> None:
    """See that this version can use the bucket, and write down which one it is if it is new. Raises as read_format()
    does."""
    data = json.dumps({"format": FORMAT}).encode()
    if await read_format(objects) is None and not await objects.create(FORMAT_NAME, data):
        await read_format(objects)
