"""Basins and streams as resources: created, changed and marked as deleted. Right before each change it is checked once
more whether the request may still make it.

`confirm` is called right before a change, and raises if the request may no longer make it. `reply_of` makes the answer
that the store keeps with the change (None if the request has no request token).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError
from s2cli.server.store.interface import BasinRow, StreamRow
from s2cli.wire.configs import resolve_stream_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.core.cleanup import Cleanup
    from s2cli.server.core.registry import StreamRegistry
    from s2cli.server.store.interface import Reply, Store
    from s2cli.wire.configs import Layer

    Confirm = Callable[[], None]
    Config = dict[str, Any]
    # What became of a resource, and its row.
    BasinReply = Callable[[str, BasinRow], Reply | None]
    StreamReply = Callable[[str, StreamRow], Reply | None]

# What became of a resource, as the header `s2-provision-result` says it.
CREATED, UPDATED, NOOP = "created", "updated", "noop"
# A change is made again on what another server has made of the basin meanwhile.
CHANGE_ATTEMPTS = 5


def _no_reply(_outcome: str, _row: object) -> None:
    return None


class Resources:
    """The basins and streams of a server. `changing` is held around every change of a row that depends on what stands
    in it."""

    def __init__(
        self,
        store: Store,
        clock_ms: Callable[[], int],
        streams: StreamRegistry,
        cleanup: Cleanup,
        changing: asyncio.Lock,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._streams = streams
        self._cleanup = cleanup
        self._changing = changing
        streams.resources = self
        # The defaults of the basin in which a stream was last created, and what they resolve to.
        self._last_defaults: tuple[Layer, Config] | None = None

    async def create_basin(
        self, name: str, config: Config, confirm: Confirm, request_key: bytes | None = None
    ) -> tuple[BasinRow, bool]:
        """The new basin and True, or the one that has the name already and False. Raises `basin_deletion_pending`."""
        row = BasinRow(name, config, self._clock_ms(), request_key=request_key)
        confirm()
        existing = await self._store.insert_basin(row)
        if existing is None:
            return row, True
        _refuse_deleting_basin(existing)
        return existing, False

    async def ensure_basin(
        self, name: str, config: Config, permit_change: Confirm, confirm: Confirm, reply_of: BasinReply = _no_reply
    ) -> tuple[str, BasinRow]:
        """CREATED, UPDATED or NOOP, and the basin with that config. `permit_change` raises where an existing one may
        not be changed."""
        async with self._changing:
            row = BasinRow(name, config, self._clock_ms())
            reply = reply_of(CREATED, row)
            confirm()
            existing = await self._store.insert_basin(row, reply)
            if existing is None:
                return CREATED, row
            _refuse_deleting_basin(existing)
            if existing.config == config:
                return NOOP, existing
            permit_change()
            existing.config = config
            await self._update_basin(existing, confirm, reply_of)
            return UPDATED, existing

    async def reconfigure_basin(
        self, name: str, change: Callable[[Config], Config], confirm: Confirm, reply_of: BasinReply
    ) -> BasinRow:
        """The basin with the config that `change` makes of its own; only streams that are created later are
        concerned."""
        async with self._changing:
            for _ in range(CHANGE_ATTEMPTS):
                row = await self.active_basin(name)
                row.config = change(row.config)
                try:
                    await self._update_basin(row, confirm, reply_of)
                except ApiError as error:
                    if error.code != "transaction_conflict":
                        raise
                    conflict = error
                else:
                    return row
            raise conflict

    async def delete_basin(self, name: str, confirm: Confirm, reply_of: BasinReply) -> None:
        """Marks the basin, and with it all its streams. These, and then it, are removed behind the requests."""
        async with self._changing:
            row = await self.basin(name)
            if row.deleted_at_ms is not None:
                return
            row.deleted_at_ms = self._clock_ms()

            def made() -> None:
                self._streams.basin_deleted(row.name)
                self._cleanup.basin_marked(row)

            await self._update_basin(row, confirm, reply_of, made)

    async def _update_basin(
        self, row: BasinRow, confirm: Confirm, reply_of: BasinReply, made: Callable[[], None] = lambda: None
    ) -> None:
        reply = reply_of(UPDATED, row)
        confirm()
        await self._store.update_basin(row, reply, made)

    async def basin(self, name: str) -> BasinRow:
        """Raises `basin_not_found`."""
        row = await self._store.get_basin(name)
        if row is None:
            raise basin_not_found(name)
        return row

    async def active_basin(self, name: str) -> BasinRow:
        """The basin, for something that is to be created in it. Raises `basin_not_found`, `basin_deletion_pending`."""
        row = await self.basin(name)
        _refuse_deleting_basin(row)
        return row

    async def create_stream(
        self,
        basin: str,
        name: str,
        layer: Layer,
        confirm: Confirm,
        *,
        request_key: bytes | None = None,
        reply_of: StreamReply = _no_reply,
    ) -> tuple[StreamRow, bool]:
        """The new stream and True, or the one that has the name already and False. Raises what `active_basin` does,
        and `stream_deletion_pending`."""
        # Until the row is written: the removal of a basin waits for the streams that are on their way into it.
        self._cleanup.begin_creation(basin)
        try:
            of_basin = (await self.active_basin(basin)).config
            config = self._resolved(layer, of_basin["default_stream_config"])
            row = StreamRow(basin, name, config, self._clock_ms(), of_basin["stream_cipher"], request_key=request_key)
            reply = reply_of(CREATED, row)
            confirm()
            existing = await self._store.insert_stream(row, reply)
        finally:
            self._cleanup.end_creation(basin)
        self._streams.created(row)
        if existing is None:
            return row, True
        _refuse_deleting_stream(existing)
        return existing, False

    def _resolved(self, layer: Layer, defaults: Layer) -> Config:
        """The config of a new stream. Those that ask for nothing of their own share it."""
        if layer:
            return resolve_stream_config(layer, defaults)
        if self._last_defaults is None or self._last_defaults[0] is not defaults:
            self._last_defaults = defaults, resolve_stream_config(layer, defaults)
        return self._last_defaults[1]

    async def ensure_stream(
        self,
        basin: str,
        name: str,
        layer: Layer,
        permit_change: Confirm,
        confirm: Confirm,
        reply_of: StreamReply = _no_reply,
    ) -> tuple[str, StreamRow]:
        """CREATED, UPDATED or NOOP, and the stream with the config that `layer` and its basin give."""
        # New streams wait for nobody. One that is there already may be gone when it is our turn.
        while True:
            row, is_new = await self.create_stream(basin, name, layer, confirm, reply_of=reply_of)
            if is_new:
                return CREATED, row
            async with self._changing:
                present = await self._store.get_stream(basin, name)
                if present is not None:
                    return await self._change_stream(present, layer, permit_change, confirm, reply_of)

    async def _change_stream(
        self, row: StreamRow, layer: Layer, permit_change: Confirm, confirm: Confirm, reply_of: StreamReply
    ) -> tuple[str, StreamRow]:
        _refuse_deleting_stream(row)
        defaults = (await self.active_basin(row.basin)).config["default_stream_config"]
        config = resolve_stream_config(layer, defaults)
        if row.config == config:
            return NOOP, row
        permit_change()
        row.config = config
        await self._update_stream(row, confirm, reply_of, lambda: self._streams.config_changed(row))
        return UPDATED, row

    async def reconfigure_stream(
        self, basin: str, name: str, change: Callable[[Config], Layer], confirm: Confirm, reply_of: StreamReply
    ) -> StreamRow:
        """The stream with the config that `change` makes of its own; what is unset by it, the basin decides, or the
        system (protocol section 2.5)."""
        async with self._changing:
            row = await self.active_stream(basin, name)
            defaults = (await self.active_basin(basin)).config["default_stream_config"]
            row.config = resolve_stream_config(change(row.config), defaults)
            await self._update_stream(row, confirm, reply_of, lambda: self._streams.config_changed(row))
            return row

    async def delete_stream(self, basin: str, name: str, confirm: Confirm, reply_of: StreamReply) -> None:
        """Marks the stream, so that whatever is asked of it from now on fails. Its records, and then it, are removed
        behind the requests."""
        async with self._changing:
            row = await self._stream(basin, name)
            if row.deleted_at_ms is not None:
                return
            row.deleted_at_ms = self._clock_ms()

            def made() -> None:
                self._streams.deleted(row)
                self._cleanup.stream_marked(row)

            await self._update_stream(row, confirm, reply_of, made)

    async def _update_stream(
        self, row: StreamRow, confirm: Confirm, reply_of: StreamReply, made: Callable[[], None]
    ) -> None:
        """`made`: what follows from the change, whoever still waits for it."""
        reply = reply_of(UPDATED, row)
        confirm()
        await self._store.update_stream(row, reply, made)

    async def active_stream(self, basin: str, name: str) -> StreamRow:
        """Raises `stream_not_found`, `stream_deletion_pending`."""
        row = await self._stream(basin, name)
        _refuse_deleting_stream(row)
        return row

    async def _stream(self, basin: str, name: str) -> StreamRow:
        row = await self._store.get_stream(basin, name)
        if row is None:
            # Whether the basin exists is not checked: the official server does the same (protocol section 2.5).
            raise stream_not_found(basin, name)
        return row

    # What the registry of streams asks for, where it finds none.

    async def create_on_use(self, basin: str, name: str, use: str, layer: Layer, confirm: Confirm) -> StreamRow | None:
        """Creates the stream that an append or a read (which of them `use` says) found missing, if its basin creates
        streams so; `layer` is what the request says about its config. Of several first users one creates it, and gets
        the row; the others None."""
        if not (await self.active_basin(basin)).config[f"create_stream_on_{use}"]:
            raise stream_not_found(basin, name)
        row, is_new = await self.create_stream(basin, name, layer, confirm)
        return row if is_new else None

    def begin_creation(self, basin: str, name: str, layer: Layer) -> StreamRow | None:
        """The row of a stream that an append may create, as it is to be stored; None where that cannot be said without
        a wait, or the stream would be encrypted. Behind it, end_creation() is to be called once that is decided."""
        row = self._store.known_basin(basin)
        if row is None or row.deleted_at_ms is not None:
            return None
        config = row.config
        if not config["create_stream_on_append"] or config["stream_cipher"] is not None:
            return None
        resolved = self._resolved(layer, config["default_stream_config"])
        self._cleanup.begin_creation(basin)
        return StreamRow(basin, name, resolved, self._clock_ms())

    def end_creation(self, basin: str) -> None:
        self._cleanup.end_creation(basin)

    async def missing_stream(self, basin: str, name: str) -> ApiError:
        """What to answer to a request for records where the stream is not there: it may be the basin that is missing
        (protocol section 13.6)."""
        if await self._store.get_basin(basin) is None:
            return basin_not_found(basin)
        return stream_not_found(basin, name)


def basin_not_found(name: str) -> ApiError:
    return ApiError("basin_not_found", f"basin `{name}` not found")


def stream_not_found(basin: str, name: str) -> ApiError:
    return ApiError("stream_not_found", f"stream `{name}` in basin `{basin}` not found")


def _refuse_deleting_basin(row: BasinRow) -> None:
    if row.deleted_at_ms is not None:
        raise ApiError("basin_deletion_pending", f"basin `{row.name}` is being deleted")


def _refuse_deleting_stream(row: StreamRow) -> None:
    if row.deleted_at_ms is not None:
        raise ApiError("stream_deletion_pending", "stream deletion pending")
