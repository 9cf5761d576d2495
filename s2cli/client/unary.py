"""Unary calls: attempts, deadlines, and what an error says about the place that was asked."""

from __future__ import annotations

import os
import select
import time

from s2cli.amounts import format_seconds
from s2cli.client import connection as duplex
from s2cli.client.retry import Interrupts, RetryPolicy, Waiter
from s2cli.client.sockets import LostError
from s2cli.client.stream_client import inflated
from s2cli.endpoints import is_loopback
from s2cli.errors import ApiError, ProtocolError, S2Error, error_from_response
from s2cli.wire.compression import parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s2cli.client.connection import Headers
    from s2cli.client.sockets import Peer
    from s2cli.endpoints import Target

# Protocol section 9.2, with the request timeout of the official tool.
ATTEMPTS = 3
FIRST_BACKOFF_MS = 100
MAX_BACKOFF_MS = 1000


class Response:
    """A successful answer. The names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> object:
        try:
            return parse_json(self.body)
        except ValueError:
            raise ProtocolError("the server's answer is not JSON: is this the endpoint of an S2 server?") from None


class Connection:
    """Unary calls to one target. `tell` hears of failed attempts; `timeout_s` is for a call with all its attempts."""

    __slots__ = ("_spare", "_tell", "_timeout_s", "target")

    def __init__(self, target: Target, timeout_s: float, tell: Callable[[str], None]) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._tell = tell
        self._spare: dict[str, duplex.Connection] = {}  # by the peer's name

    def close(self) -> None:
        """Close the sockets that are kept for a next call."""
        while self._spare:
            self._spare.popitem()[1].close()

    def request(
        self,
        method: str,
        path: str,
        *,
        basin: str | None = None,
        json: object = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One call to the account endpoint, or to the endpoint of `basin`; raises ApiError, UnreachableError and more.

        It must be one that may be repeated: a GET, or a write with a request token.
        """
        peer, all_headers = duplex.account_peer(self.target) if basin is None else duplex.basin_peer(self.target, basin)
        all_headers += [("accept", "application/json"), *(headers or {}).items()]
        if peer.socket_path is None and not is_loopback(peer.host):
            all_headers.append(("accept-encoding", "zstd, gzip"))
        if query:
            from urllib.parse import quote, urlencode

            path += "?" + urlencode(query, quote_via=quote)
        body = b""
        if json is not None:
            from json import dumps

            body = dumps(json, separators=(",", ":")).encode()
            all_headers.append(("content-type", "application/json"))
        waiter = Waiter(Interrupts())  # never entered: a signal ends the command as it is
        waiter.deadline = deadline = time.monotonic() + self._timeout_s
        waiter.retry = RetryPolicy(self._timeout_s, self._tell, option="--timeout")
        waiter.retry.expect()
        attempt = 0
        uncertain = False
        while True:
            attempt += 1
            try:
                return self._attempt(peer, waiter, method, path, all_headers, body)
            except S2Error as error:
                delay_s = _delay_ms(error, attempt) / 1000
                if not _may_repeat(error) and uncertain and method != "GET":
                    error.message += " (an earlier attempt, whose answer was lost, may have taken effect)"
                if attempt == ATTEMPTS or not _may_repeat(error) or time.monotonic() + delay_s >= deadline:
                    raise
                uncertain = uncertain or not _changed_nothing(error)
                self._tell(f"{error.message}; trying again in {format_seconds(delay_s)}")
            time.sleep(delay_s)

    def _attempt(self, peer: Peer, waiter: Waiter, method: str, path: str, headers: Headers, body: bytes) -> Response:
        connection = self._connect(peer, waiter)
        try:
            answer = duplex.call(connection, waiter, method, path, headers, body, self._timeout_s)
        except LostError as error:
            connection.close()
            place = "the local server" if self.target.local else str(peer)
            in_time = waiter.deadline is None or time.monotonic() < waiter.deadline
            why = f"the connection to {place} failed: {error.message}"
            error.message = why if in_time else f"{place} did not answer in time"
            raise
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._spare[str(peer)] = connection
        else:
            connection.close()
        content = inflated(answer.headers, answer.body, duplex.MAX_RESPONSE_BYTES)
        if not 200 <= answer.status < 300:
            raise error_from_response(answer.status, content, answer.headers)
        return Response(answer.status, answer.headers, content)

    def _connect(self, peer: Peer, waiter: Waiter) -> duplex.Connection:
        spare = self._spare.pop(str(peer), None)
        if spare is not None:
            poll = select.poll()
            poll.register(spare.fd, select.POLLIN)
            if not poll.poll(0):
                return spare
            spare.close()  # nothing is asked for: this is its end
        try:
            return duplex.connect(peer, waiter)
        except LostError as error:
            error.unprocessed = True
            raise


def _may_repeat(error: S2Error) -> bool:
    return error.retryable if isinstance(error, ApiError) else isinstance(error, LostError)


def _changed_nothing(error: S2Error) -> bool:
    """Whether the request of that attempt cannot have taken effect."""
    return error.no_side_effect if isinstance(error, ApiError) else isinstance(error, LostError) and error.unprocessed


def _delay_ms(error: S2Error, attempt: int) -> float:
    """Exponential, with up to 100 % on top so that clients do not come back all at once; never less than asked for."""
    base = min(FIRST_BACKOFF_MS << (attempt - 1), MAX_BACKOFF_MS)
    delay = base + base * os.urandom(1)[0] / 256
    asked = error.retry_after_ms if isinstance(error, ApiError) else None
    return max(delay, asked or 0)
