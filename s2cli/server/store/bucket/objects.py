"""Objects in the bucket, each written as a whole: made where there is none (If-None-Match), or put in the place of the
very one that was read (If-Match). The one place that imports obstore."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket.database import UNREACHABLE_S, unreachable

MISSING = "a store in a bucket needs the package obstore: pip install 's2cli[bucket]'"
NAMES_IN_A_PAGE = 1000


class Objects:
    """The objects of a bucket whose names begin with `prefix`, which is left out of names here. `store` is one of
    obstore's."""

    def __init__(self, store: Any, prefix: str = "") -> None:
        try:
            import obstore
        except ImportError as error:
            raise S2Error(MISSING) from error
        self._library = obstore
        self._errors: Any = obstore.exceptions
        self._store = store
        self._prefix = prefix

    async def get(self, name: str) -> tuple[bytes, str] | None:
        """The object, and its version; None if there is none."""
        try:
            async with self._calling():
                found = await self._library.get_async(self._store, self._prefix + name)
                return bytes(await found.bytes_async()), found.meta["e_tag"] or ""
        except FileNotFoundError:
            return None

    async def create(self, name: str, data: bytes) -> bool:
        """False if there is an object already. It may be this one, where a reply was lost and the library has sent it
        again."""
        try:
            async with self._calling():
                await self._library.put_async(self._store, self._prefix + name, data, mode="create")
        except self._errors.AlreadyExistsError:
            return False
        return True

    async def replace(self, name: str, data: bytes, version: str) -> bool:
        """False if the object is not the one with this version any more. It may be this one, as for create()."""
        try:
            async with self._calling():
                await self._library.put_async(self._store, self._prefix + name, data, mode={"e_tag": version})
        except (self._errors.PreconditionError, self._errors.AlreadyExistsError, FileNotFoundError):
            return False
        return True

    async def put(self, name: str, data: bytes) -> None:
        """Write it, whatever was there."""
        async with self._calling():
            await self._library.put_async(self._store, self._prefix + name, data)

    async def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            async with self._calling():
                await self._library.delete_async(self._store, self._prefix + name)

    async def names(self, prefix: str, start_after: str = "") -> AsyncIterator[tuple[str, int]]:
        """The names below `prefix` (a folder, with its slash) behind `start_after`, in order, and when each was last
        written, in ms since 1970. They are told without the folder."""
        folder = self._prefix + prefix
        pages = self._library.list(
            self._store,
            prefix=folder,
            offset=folder + start_after if start_after else None,
            chunk_size=NAMES_IN_A_PAGE,
        )
        while True:
            try:
                async with self._calling():
                    page = await anext(pages)
            except StopAsyncIteration:
                return
            for found in page:
                yield found["path"].removeprefix(folder), int(found["last_modified"].timestamp() * 1000)

    @contextlib.asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        errors = self._errors
        try:
            async with asyncio.timeout(UNREACHABLE_S):
                yield
        except TimeoutError as error:
            raise ApiError("unavailable", unreachable()) from error
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise ApiError("storage", f"the bucket refuses us: {_first_line(error)}") from error
        except (errors.AlreadyExistsError, errors.PreconditionError):
            raise
        except errors.BaseError as error:
            raise ApiError("unavailable", f"the bucket cannot be used: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
