"""Authentication and authorisation, for every route and for as long as a session runs.

A secret is `s2_<selector>_<verifier>`: the selector finds the row, and the verifier is compared in constant time with
the keyed hash in it. For a header that was seen before this costs one dictionary lookup. When a token is revoked or
expires, the sessions that were opened with it end. Where another server can revoke it, the store is asked again and
again for the tokens that are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from s2cli.errors import ApiError, BadValueError, S2Error, describe
from s2cli.private_files import open_own
from s2cli.server.client_log import CLIENT_LOG
from s2cli.server.core.scopes import everything, parse_scope
from s2cli.server.store.interface import TokenRow
from s2cli.wire.names import check_stream_name

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable
    from pathlib import Path

    from s2cli.server.store.interface import Store

    OnEnd = Callable[[S2Error], None]

log = logging.getLogger(CLIENT_LOG)

KEY_NAME = "token.key"
KEY_BYTES = 32
ROOT_ID = "root"
SELECTOR_CHARACTERS = 16
# Headers whose tokens are known. A client brings the same one with each request.
MAX_KNOWN = 1024
# Where others use the store too: after the first time it is asked again for a token that is used, after the other one
# nothing is allowed before it has answered.
LOOK_S = 1.0
MOST_S = 2.0
# Clocks are set: so often a session with a token that expires checks the time again.
EXPIRY_CHECK_S = 30.0

# What an operation works on, and a token must cover too. The others work on the account.
_ON_BASIN = frozenset(
    ("create-basin", "delete-basin", "reconfigure-basin", "get-basin-config", "list-streams", "basin-metrics")
)
ON_STREAM = frozenset(
    ("create-stream", "delete-stream", "reconfigure-stream", "get-stream-config", "stream-metrics")
    + ("check-tail", "read", "append", "trim", "fence")
)
_ON_TOKEN = frozenset(("issue-access-token", "revoke-access-token"))


class Grant:
    """What the bearer of one token may do."""

    __slots__ = (
        "__weakref__",
        "_on_end",
        "_timer",
        "ended",
        "expires_at",
        "expires_at_ms",
        "id",
        "scope",
        "seen_s",
        "selector",
        "stream_prefix",
    )

    def __init__(self, row: TokenRow) -> None:
        self.id = row.id
        self.selector = row.selector
        self.scope = parse_scope(row.scope)
        self.expires_at = row.expires_at
        self.expires_at_ms = row.expires_at_ms
        # Of every name of a stream that he says and hears.
        self.stream_prefix = self.scope.streams.text if row.auto_prefix_streams else ""
        self.ended = False
        self.seen_s = 0.0  # when the store was last asked for it, by the time of the loop
        self._on_end: list[OnEnd] = []
        self._timer: asyncio.TimerHandle | None = None

    def require(self, op: str, basin: str | None, name: str) -> None:
        """Raises ApiError `permission_denied` unless the token covers the operation, and what it is to work on: `name`
        is that of a basin, a stream in `basin`, or a token, as the operation has it."""
        self.require_operation(op, name if op in _ON_BASIN else basin if op in ON_STREAM else None)
        if op in ON_STREAM and name not in self.scope.streams:
            raise ApiError("permission_denied", f"the access token does not cover stream `{name}`")
        if op in _ON_TOKEN and name not in self.scope.access_tokens:
            raise ApiError("permission_denied", f"the access token does not cover access token `{name}`")

    def require_operation(self, op: str, basin: str | None) -> None:
        """Raises ApiError `permission_denied` unless the token covers the operation, and `basin` if one is given. For a
        request whose body says what it is to work on, before that is read."""
        if op not in self.scope.operations:
            raise ApiError("permission_denied", f"the access token does not allow {op}")
        if basin is not None and basin not in self.scope.basins:
            raise ApiError("permission_denied", f"the access token does not cover basin `{basin}`")

    def check_valid(self, now_ms: int) -> None:
        """Raises ApiError `authn` once the token is revoked or has expired. Every request is asked when it comes; one
        that has waited meanwhile, for its body or for its turn, asks again before it changes anything."""
        if self.ended or (self.expires_at_ms is not None and now_ms >= self.expires_at_ms):
            raise _refusal()

    def require_commands(self, commands: list[tuple[int, bytes, bytes]], basin: str, stream: str) -> None:
        """Raises ApiError `permission_denied` unless the token covers the operations `fence` and `trim` of the command
        records in a batch, for which `append` alone is not enough."""
        for _, command, _ in commands:
            self.require(command.decode(), basin, stream)

    def stream_name(self, said: str) -> str:
        """The name of the stream that the bearer calls so."""
        if not self.stream_prefix:
            return said
        name = self.stream_prefix + said
        try:
            check_stream_name(name)
        except BadValueError as error:
            raise ApiError("invalid", f"with the prefix of the access token: {error.message}") from error
        return name

    @property
    def is_watched(self) -> bool:
        """Whether a session has been opened with it."""
        return bool(self._on_end)

    def watch(self, on_end: OnEnd, clock_ms: Callable[[], int]) -> None:
        """Have a session told when the token is no longer valid, also at once if it has ended already."""
        self._on_end.append(on_end)
        if self.ended:
            on_end(_refusal())
        elif self.expires_at_ms is not None and self._timer is None:
            self._await_expiry(self.expires_at_ms, clock_ms)

    def unwatch(self, on_end: OnEnd) -> None:
        with contextlib.suppress(ValueError):
            self._on_end.remove(on_end)
        if self._timer is not None and not self._on_end:
            self._timer.cancel()
            self._timer = None

    def _await_expiry(self, expires_at_ms: int, clock_ms: Callable[[], int]) -> None:
        left_s = (expires_at_ms - clock_ms()) / 1000
        if left_s <= 0:
            self.end()
        else:
            loop = asyncio.get_running_loop()
            wait_s = min(left_s, EXPIRY_CHECK_S)
            self._timer = loop.call_later(wait_s, self._await_expiry, expires_at_ms, clock_ms)

    def end(self) -> None:
        self.ended = True
        for on_end in list(self._on_end):
            try:
                on_end(_refusal())
            except Exception:
                log.exception("a session could not be told that its token has ended")


class Secrets:
    """New secrets, and the hashes that are kept of them. The `key` of these, where it is not given, lies beside the
    database, which alone is of no use to whoever reads or writes it; without a directory it ends with the process."""

    def __init__(self, directory: Path | None, key: bytes | None = None) -> None:
        self._directory = directory
        self._key = key

    def new(self) -> tuple[str, str, bytes]:
        """A secret, its selector, and the hash of its verifier."""
        selector, verifier = secrets.token_hex(SELECTOR_CHARACTERS // 2), secrets.token_urlsafe(32)
        return f"s2_{selector}_{verifier}", selector, self.hash(verifier)

    def hash(self, verifier: str) -> bytes:
        if self._key is None:
            self._key = secrets.token_bytes(KEY_BYTES) if self._directory is None else _stored_key(self._directory)
        return hmac.digest(self._key, verifier.encode(), hashlib.sha256)


def _stored_key(directory: Path) -> bytes:
    path = directory / KEY_NAME
    try:
        with contextlib.suppress(FileNotFoundError):
            with open(open_own(path, os.O_RDONLY), "rb") as file:
                key = file.read(KEY_BYTES + 1)
            if len(key) != KEY_BYTES:
                raise S2Error(f"{path} is damaged: it must have {KEY_BYTES} bytes")
            return key
        # Whole or not there: a key that is lost later takes all tokens with it.
        new = directory / f"{KEY_NAME}.new"
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        key = secrets.token_bytes(KEY_BYTES)
        with open(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        place = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(place)
        finally:
            os.close(place)
    except OSError as error:
        raise S2Error(f"cannot keep the key of the access tokens in {path}: {describe(error)}") from error
    return key


class Auth:
    """Checks access tokens. Exists only if the server has a root token: without one everybody may do everything."""

    def __init__(self, store: Store, clock_ms: Callable[[], int], secrets: Secrets, root_token: str) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._secrets = secrets
        self._root_hash = secrets.hash(root_token)
        self._root = Grant(root_row())
        self._known: dict[bytes, Grant] = {}
        self._by_id: WeakValueDictionary[str, Grant] = WeakValueDictionary()
        self._revocations = 0
        # Whether another server may revoke a token.
        self._is_shared = store.confirm is not None
        self._looking: dict[str, Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def authenticate(self, value: bytes | None) -> Grant:
        """Who sends a request with that `authorization` header. Raises ApiError `authn`."""
        if value is None:
            raise ApiError("authn", "an access token is required: send `Authorization: Bearer …`")
        grant = self._known.get(value)
        if grant is None:
            grant = await self._find(value)
        elif self._is_shared and grant is not self._root and not grant.ended:
            await self._see(grant)
        grant.check_valid(self._clock_ms())
        return grant

    async def _see(self, grant: Grant) -> None:
        """Have the store asked whether the token is still there, if that was long ago. Raises ApiError where it has not
        answered for too long."""
        loop = asyncio.get_running_loop()
        age_s = loop.time() - grant.seen_s
        if age_s >= LOOK_S:
            looking = self._look(grant)
            if age_s >= MOST_S:
                await asyncio.shield(looking)

    def _look(self, grant: Grant) -> Task[None]:
        looking = self._looking.get(grant.selector)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._look_once(grant))
            self._looking[grant.selector] = looking
            looking.add_done_callback(lambda task: self._end_look(grant.selector, task))
        return looking

    async def _look_once(self, grant: Grant) -> None:
        began_s = asyncio.get_running_loop().time()
        if await self._store.get_token(grant.selector) is not None:
            grant.seen_s = began_s
        elif self._by_id.get(grant.id) is grant:
            self.revoked(grant.id)
        else:
            grant.end()

    def _end_look(self, selector: str, task: Task[None]) -> None:
        del self._looking[selector]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more

    def _look_at_sessions(self) -> None:
        """Sessions ask for nothing: they are told."""
        grants = list(self._by_id.values())
        for grant in grants:
            if grant.is_watched and asyncio.get_running_loop().time() - grant.seen_s >= LOOK_S:
                self._look(grant)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S / 2, self._look_at_sessions) if grants else None

    async def _find(self, value: bytes) -> Grant:
        scheme, _, secret = value.decode("latin-1").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise ApiError("authn", "the `Authorization` header must be `Bearer` and an access token")
        grant: Grant | None = None
        if hmac.compare_digest(self._secrets.hash(secret), self._root_hash):
            grant = self._root
        else:
            revocations = -1
            # Whoever revokes the token while its row is on its way here must not be too early.
            while revocations != self._revocations:
                revocations = self._revocations
                grant = await self._load(secret)
        if grant is None:
            raise _refusal()
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[value] = grant
        return grant

    async def _load(self, secret: str) -> Grant | None:
        _, _, rest = secret.partition("_")
        selector, _, verifier = rest.partition("_")
        if len(selector) != SELECTOR_CHARACTERS:
            return None  # nothing to ask the store for
        began_s = asyncio.get_running_loop().time()
        row = await self._store.get_token(selector)
        if row is None or not hmac.compare_digest(self._secrets.hash(verifier), row.hash):
            return None
        grant = self._by_id.get(row.id)
        # One id may name several tokens, one after the other: a token that has expired leaves its own free.
        if grant is None or grant.selector != row.selector:
            grant = self._by_id[row.id] = Grant(row)
        if self._is_shared:
            grant.seen_s = began_s
            if self._timer is None:
                self._look_at_sessions()
        return grant

    def revoked(self, token_id: str) -> None:
        """The token is gone from the store: end what runs with it."""
        self._revocations += 1
        grant = self._by_id.pop(token_id, None)
        if grant is not None:
            self._known = {value: known for value, known in self._known.items() if known is not grant}
            grant.end()


def root_row() -> TokenRow:
    """The root token as if it had been issued."""
    return TokenRow(ROOT_ID, "", b"", everything().show())


def _refusal() -> ApiError:
    return ApiError("authn", "the access token is not valid: unknown, revoked or expired")
