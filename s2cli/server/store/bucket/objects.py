"""Objects in the bucket, each written as a whole: made where there is none (If-None-Match), or put in the place of the
very one that was read (If-Match). The one place that imports obstore."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError, S2Error
from s2cli.server.store.bucket.database import UNREACHABLE_S, unreachable

if TYPE_CHECKING:
    from obstore import GetOptions

MISSING = "a store in a bucket needs the package obstore: pip install 's2cli[bucket]'"
NAMES_IN_A_PAGE = 1000
# So many requests are on their way at once; others wait.
MAX_REQUESTS = 64
MOST_SAID = 400
# Codes of S3 for which the library has no class of errors, or not where something is listed.
NO_BUCKET = "NoSuchBucket"
REFUSALS = ("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")
# Of the settings of a client, those that are the connection's.
OF_CONNECTION = ("timeout", "connect_timeout", "allow_http")


class RefusedError(ApiError):
    """The bucket refuses us, for this `reason`. Credentials expire, and are renewed: it may do so no longer."""

    def __init__(self, reason: str) -> None:
        super().__init__("unavailable", f"the bucket refuses us: {reason}")
        self.reason = reason


class UnusableError(ApiError):
    """The bucket does not do what it was asked for, for this `reason`; it may do so later."""

    def __init__(self, reason: str) -> None:
        super().__init__("unavailable", f"the bucket cannot be used: {reason}")
        self.reason = reason


class NoBucketError(UnusableError):
    """There is no such bucket."""


class NotModified(Enum):
    NOT_MODIFIED = auto()


NOT_MODIFIED = NotModified.NOT_MODIFIED


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
        self._places = asyncio.Semaphore(MAX_REQUESTS)

    @classmethod
    def of(cls, url: str, prefix: str, settings: Mapping[str, str], *, retries: int | None = None) -> Objects:
        """The objects of the bucket at `url` (bucket_url.py). A request that fails is sent again up to `retries` times,
        by default for as long as it is waited for. Raises S2Error."""
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise S2Error(MISSING) from error
        connection: Any = {name: settings[name] for name in OF_CONNECTION if name in settings}
        config: Any = {name: value for name, value in settings.items() if name not in OF_CONNECTION}
        retry: Any = None if retries is None else {"max_retries": retries, "retry_timeout": timedelta(seconds=30)}
        try:
            store = from_url(url, config=config, client_options=connection, retry_config=retry)
        except BaseError as error:
            raise S2Error(f"cannot use {url}: {_told(error)[1]}") from error
        return cls(store, prefix)

    async def get(self, name: str) -> tuple[bytes, str] | None:
        """The object, and its version; None if there is none."""
        return await self._get(name, None)

    async def get_changed(self, name: str, version: str) -> tuple[bytes, str] | NotModified | None:
        """The same, or NOT_MODIFIED if it still is the one with that version; "" is none."""
        try:
            return await self._get(name, {"if_none_match": version} if version else None)
        except self._errors.NotModifiedError:
            return NOT_MODIFIED

    async def _get(self, name: str, options: GetOptions | None) -> tuple[bytes, str] | None:
        try:
            async with self._calling():
                found = await self._library.get_async(self._store, self._prefix + name, options=options)
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
            async with asyncio.timeout(UNREACHABLE_S), self._places:
                yield
        except TimeoutError as error:
            raise ApiError("unavailable", unreachable()) from error
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise RefusedError(_told(error)[1]) from error
        except (errors.AlreadyExistsError, errors.PreconditionError, errors.NotModifiedError):
            raise
        except (FileNotFoundError, errors.BaseError) as error:
            code, reason = _told(error)
            if code == NO_BUCKET:
                raise NoBucketError(reason) from error
            if code in REFUSALS:
                raise RefusedError(reason) from error
            if isinstance(error, FileNotFoundError):
                raise
            raise UnusableError(reason) from error


def _told(error: Exception) -> tuple[str, str]:
    """The code of S3's answer, empty where there was none; and what there is to say: with the code what the server has
    said, else the first line of the library."""
    text = str(error)
    code, message = (
        found[1] if (found := re.search(f"<{part}>([^<]+)</{part}>", text)) else "" for part in ("Code", "Message")
    )
    said = ": ".join(filter(None, (code, message)))
    return code, (said or text.partition("\n")[0])[:MOST_SAID]
