"""The short way of small appends: JSON, to a stream in memory or a new one, from clients that need no token.

They are admitted and answered without a task, which saves a fifth of what an append costs. Whatever would have to wait
or is to be refused goes the general way (append.py), as if nothing had been tried: so each error is said in one place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s2cli.server.api.acks import json_ack
from s2cli.server.api.addressing import basin_of, stream_name
from s2cli.server.api.error_answers import error_response
from s2cli.server.api.media import JSON
from s2cli.server.api.routes import STREAMS_PREFIX
from s2cli.server.core.turnstile import LARGE_BYTES, in_one_go

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from s2cli.errors import S2Error
    from s2cli.server.api.server import Server
    from s2cli.server.core.stream import Admitted
    from s2cli.server.http.exchange import Exchange
    from s2cli.server.http.host_names import HostNames

_SUFFIX = b"/records"
_JSON_ACCEPTED = (b"*/*", JSON)
# Headers that ask for something else than the usual.
_SPECIAL = frozenset(
    (
        b"content-encoding",
        b"origin",
        b"s2-encryption-key",
        b"s2-format",
        b"s2-request-token",
        b"s2-stream-config",
    )
)


class SmallAppends:
    """For a server that asks for no tokens. `host_names` are None where any name is accepted; `answer` is the general
    way."""

    __slots__ = ("_answer", "_host_names", "_server")

    def __init__(
        self, server: Server, host_names: HostNames | None, answer: Callable[[Exchange], Coroutine[Any, Any, None]]
    ) -> None:
        self._server = server
        self._host_names = host_names
        self._answer = answer

    def take(self, exchange: Exchange) -> bool:
        """Admits the batch, and has it answered once it is durable. Returns False for a request that goes the general
        way: then nothing has happened."""
        path, fields, server = exchange.raw_path, exchange.fields, self._server
        if (
            exchange.method != "POST"
            or not path.startswith(STREAMS_PREFIX)
            or path[(end := path.find(b"/", len(STREAMS_PREFIX))) :] != _SUFFIX
            or fields.get(b"content-type") != JSON
            or fields.get(b"accept", JSON) not in _JSON_ACCEPTED
            or not fields.keys().isdisjoint(_SPECIAL)
            or not exchange.has_come
            or exchange.untaken_bytes > LARGE_BYTES
            or exchange.repeated is not None
            or server.draining
        ):
            return False
        # The decoder takes 10 ms to load.
        from s2cli.server.api.append_json import json_steps

        begun_s = server.now()
        try:
            if self._host_names is not None:
                self._host_names.check(fields.get(b"host"))
            name = stream_name(path[len(STREAMS_PREFIX) : end])
            basin = basin_of(exchange, server.base_domain)
            stream = server.streams.find(basin, name)
            if stream is None:
                if not (server.streams.expects_new and self._append_to_new(basin, name, exchange, begun_s)):
                    return False
            elif stream.cipher is not None or not stream.has_room:
                return False
            else:
                batch = in_one_go(json_steps(exchange.whole))
                stream.admit(batch, _Owner(server, exchange, begun_s))
                exchange.share.collected_bytes = exchange.untaken_bytes
                exchange.take_whole()
        except Exception:  # noqa: BLE001 - the general way finds it once more, and says it
            return False
        exchange.operation = "append"
        server.exchanges += 1
        return True

    def _append_to_new(self, basin: str, name: str, exchange: Exchange, begun_s: float) -> bool:
        """Whether the batch is on its way to a stream that it creates. If there is one of that name, the request goes
        the general way after all."""
        from s2cli.server.api.append_json import json_steps

        server = self._server

        def on_present() -> None:
            exchange.begin(asyncio.get_running_loop(), self._answer_after_all)

        batch = in_one_go(json_steps(exchange.whole))
        owner = _CreatingOwner(server, exchange, begun_s)
        return server.streams.append_to_new(basin, name, {}, batch, owner, on_present)

    async def _answer_after_all(self, exchange: Exchange) -> None:
        self._server.exchange_ended()  # it is counted once more
        await self._answer(exchange)


class _Owner:
    """The owner of such an append."""

    __slots__ = ("_begun_s", "_exchange", "_server")

    def __init__(self, server: Server, exchange: Exchange, begun_s: float) -> None:
        self._server = server
        self._exchange = exchange
        self._begun_s = begun_s

    def on_written(self, admitted: Admitted, error: S2Error | None) -> bool:
        server, exchange = self._server, self._exchange
        totals = server.meters.totals
        try:
            if error is None:
                exchange.answer(200, JSON, json_ack(admitted))
                totals.took("append", server.now() - self._begun_s)
            else:
                exchange.answer_json(*error_response(error))
        finally:
            totals.answered("append", exchange.status)
            server.exchange_ended()
            exchange.returned()
        return False

    def flush(self) -> None: ...


class _CreatingOwner(_Owner):
    """The owner of one that creates its stream. The body stays with the exchange until then."""

    __slots__ = ()

    def on_written(self, admitted: Admitted, error: S2Error | None) -> bool:
        self._exchange.take_whole()
        return super().on_written(admitted, error)
