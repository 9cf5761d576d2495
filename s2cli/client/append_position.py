"""Finds the sequence number for the next batch of an append: the tail at first, and after a lost connection the end of
the batches that arrived."""

from __future__ import annotations

from s2cli.client.stream_client import is_forbidden, is_missing
from s2cli.errors import RangeNotSatisfiableError, S2Error
from s2cli.wire.append_session import START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.connection import Connection
    from s2cli.client.retry import Waiter
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.append_session import AppendSession

    Creation = tuple[dict[str, object], str]  # the config and the request token of a stream that is missing


class AppendPosition:
    """Asks the server the questions that an AppendSession has. `missing` is the error of a stream that was not there,
    where the first batch may make it."""

    __slots__ = ("_create", "_create_on_append", "_detail", "_session", "_stream", "_waiter", "began", "missing")

    def __init__(
        self,
        stream: StreamClient,
        session: AppendSession,
        waiter: Waiter,
        create: Creation | None,
        create_on_append: bool,
        detail: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._session = session
        self._waiter = waiter
        self._create = create
        self._create_on_append = create_on_append
        self._detail = detail
        self.began = False
        self.missing: S2Error | None = None

    def begin(self, connection: Connection) -> None:
        """Before the first batch: asks for the tail, and makes the stream where it is missing and that is wanted."""
        is_wanted = self._session.state == START
        if is_wanted or self._create is not None:
            tail = self._find_tail(connection)
            if is_wanted and tail is not None:
                self._session.begin(tail)
        self.began = True

    def _find_tail(self, connection: Connection) -> int | None:
        try:
            return self._stream.check_tail(connection, self._waiter)[0]
        except S2Error as error:
            if is_forbidden(error):
                # Whether appending is allowed is another question: the first acknowledgement tells where it went.
                return None
            if not is_missing(error):
                raise
            return self._on_missing(error, connection)

    def _on_missing(self, error: S2Error, connection: Connection) -> int:
        code = getattr(error, "code", "")
        if self._create is None:
            if code != "stream_not_found" or not self._create_on_append:
                raise error
            # The basin may make the stream when something is appended to it; then it begins at 0.
            self.missing = error
            return 0
        config, token = self._create
        if self._stream.create(self._waiter, config, token, basin_too=code == "basin_not_found"):
            self._detail(f"created s2://{self._stream.basin}/{self._stream.stream}")
            return 0
        return self._stream.check_tail(connection, self._waiter)[0]  # somebody else was faster

    def resolve_lost_acks(self, connection: Connection) -> int:
        """After a loss: finds out which batches are durable. Returns how many; raises what ends the append."""
        resolver = self._session.lost_acks()
        try:
            resolver.on_tail(self._stream.check_tail(connection, self._waiter)[0])
            while resolver.wanted is not None:
                resolver.on_records(self._stream.read(connection, self._waiter, *resolver.wanted))
        except RangeNotSatisfiableError:
            resolver.on_unsatisfiable()
        except S2Error as error:
            if not (is_forbidden(error) or getattr(error, "code", "") == "decryption_failed"):
                raise
            resolver.give_up(f"cannot read the stream to see what arrived: {error.message}")
        pending = self._session.in_flight
        found = self._session.resolve(resolver)
        self._detail(f"checked {pending} batches whose acks were lost: {found} had arrived")
        return found
