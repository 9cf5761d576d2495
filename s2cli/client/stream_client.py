"""Unary calls about the records of one stream: tail, read and creation, with retries."""

from __future__ import annotations

from s2cli.client.connection import basin_peer, call, connect, explain, records_path
from s2cli.client.sockets import LostError
from s2cli.endpoints import split_origin
from s2cli.errors import ApiError, AuthError, NotFoundError, ProtocolError, RangeNotSatisfiableError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from s2cli.client.connection import Connection, Headers, Response
    from s2cli.client.retry import RetryPolicy, Waiter
    from s2cli.endpoints import Target

    Answer = TypeVar("Answer")

PROTOBUF = "application/protobuf"
READ_RECORDS = 1000  # the most that one unary read brings (protocol section 5.2)


class StreamClient:
    """One stream, where it is, and how long a call may take."""

    __slots__ = (
        "_config_told", "_spare", "accepts", "basin", "codings", "headers", "path", "peer", "stream", "target",
        "timeout_s",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        basin: str,
        stream: str,
        timeout_s: float,
        encryption_key: str | None = None,
        stream_config: str | None = None,
        codings: tuple[str, ...] = (),
    ) -> None:
        """`stream_config` is what the stream is to be like where an append or a read creates it (section 17.1).
        `codings`: how what is sent and what comes may be compressed, the best first."""
        self.target = target
        self.basin = basin
        self.stream = stream
        self.timeout_s = timeout_s
        self.peer, self.headers = basin_peer(target, basin)
        if encryption_key is not None:
            self.headers.append(("s2-encryption-key", encryption_key))
        if stream_config is not None:
            self.headers.append(("s2-stream-config", stream_config))
        self._config_told = stream_config is None
        self.codings = codings
        self.accepts = [("accept-encoding", ", ".join(codings))] if codings else []
        self.path = records_path(stream)
        self._spare: Connection | None = None

    def keep(self, connection: Connection) -> None:
        """Gives a connection back, for the next connect(), or closes it."""
        if connection.reusable and self._spare is None:
            self._spare = connection
        else:
            connection.close()

    def close(self) -> None:
        """Closes the connection that was given back, if there is one."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def connect(self, waiter: Waiter) -> Connection:
        if self._spare is not None:
            connection, self._spare = self._spare, None
            return connection
        try:
            return connect(self.peer, waiter)
        except LostError:
            if not self.target.local:
                raise
        # The server of the profile local ends when it is idle for long: whoever needs it starts it.
        from s2cli.client.local_start import ensure_server

        try:
            place = ensure_server()
        except S2Error as error:
            raise LostError(error.message, hint=error.hint) from error
        peer = self.peer
        if place.startswith("/"):
            peer.socket_path = place
        else:
            peer.socket_path = None
            peer.scheme, peer.host, peer.port = split_origin(place)
        return connect(peer, waiter)

    def check_tail(self, connection: Connection, waiter: Waiter) -> tuple[int, int]:
        """Sequence number and timestamp of the tail. Raises what the server answers instead."""
        if not self._config_told:
            self._tell_config(connection, waiter)
        return parse_tail(self._get(connection, waiter, self.path + "/tail").body)

    def _tell_config(self, connection: Connection, waiter: Waiter) -> None:
        """Where reads create streams, a question for the tail does so too, and takes no config: a read of nothing does
        that before."""
        try:
            self._get(connection, waiter, self.path + "?seq_num=0&count=0", [("accept", PROTOBUF)])
        except S2Error as error:
            if not is_forbidden(error):
                raise
        self._config_told = True

    def read(self, connection: Connection, waiter: Waiter, start: int, end: int) -> bytes:
        """A ReadBatch of the records from `start` on, before `end`: as many as one answer holds."""
        count = min(end - start, READ_RECORDS)
        path = f"{self.path}?seq_num={start}&count={count}"
        return self._get(connection, waiter, path, [("accept", PROTOBUF)]).body

    def find_time(self, connection: Connection, waiter: Waiter, timestamp: int) -> int:
        """The sequence number of the first record at or after that time, or the tail."""
        path = f"{self.path}?timestamp={timestamp}&count=1"
        try:
            data = self._get(connection, waiter, path, [("accept", PROTOBUF)]).body
        except RangeNotSatisfiableError as error:
            return error.tail_seq_num
        from s2cli.wire.messages import decode_received

        records = decode_received(data).records
        return records[0].seq_num if records else self.check_tail(connection, waiter)[0]

    def _get(self, connection: Connection, waiter: Waiter, path: str, headers: Headers | None = None) -> Response:
        headers = self.headers + self.accepts + (headers or [])
        response = call(connection, waiter, "GET", path, headers, b"", self.timeout_s)
        if response.status != 200:
            raise self.error(response.status, response.body, response.headers)
        return response

    def create(self, waiter: Waiter, config: dict[str, object], token: str, *, basin_too: bool) -> bool:
        """Makes the stream, and its basin where that is missing. Returns True if the stream is new. The configuration
        of what exists is never touched."""
        from s2cli.client.api import ApiClient

        client = ApiClient(self.target, self.timeout_s, lambda text: None)

        def create(path: str, basin: str | None, body: dict[str, object]) -> bool:
            headers = {"s2-request-token": token}
            try:
                response = client.call(waiter, "POST", path, basin=basin, json=body, headers=headers)
            except ApiError as error:
                if error.code == "resource_already_exists":
                    return False
                raise self.explain(error) from None
            return response.headers.get("s2-provision-result") != "noop"

        try:
            if basin_too:
                create("/v1/basins", None, {"basin": self.basin})
            return create("/v1/streams", self.basin, {"stream": self.stream} | ({"config": config} if config else {}))
        finally:
            client.close()

    def error(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> S2Error:
        """The exception for an error response, with what to do about it."""
        from s2cli.wire.bodies import error_from_response

        return self.explain(error_from_response(status, body, headers))

    def explain(self, error: S2Error) -> S2Error:
        """Adds what to do about an error of the server."""
        return explain(error, self.target, self.basin, self.stream)


def keep_trying(
    stream: StreamClient, waiter: Waiter, retry: RetryPolicy, ask: Callable[[Connection, Waiter], Answer]
) -> Answer:
    """What `ask` returns in the end. Raises what no retry helps, or UnreachableError when the server stays away."""

    def attempt() -> Answer:
        connection = stream.connect(waiter)
        try:
            answer = ask(connection, waiter)
        except BaseException:
            connection.close()
            raise
        stream.keep(connection)
        return answer

    return retry.keep_trying(attempt, waiter)


def parse_tail(body: bytes) -> tuple[int, int]:
    """The answer to check-tail. By hand where it is written as usual: importing `json` costs each append 5 ms."""
    head, _, rest = body.partition(b'{"tail":{"seq_num":')
    digits, _, rest = rest.partition(b',"timestamp":')
    more_digits, _, end = rest.partition(b"}}")
    if not head.strip() and not end.strip() and _is_short_number(digits) and _is_short_number(more_digits):
        return int(digits), int(more_digits)
    from s2cli.wire.bodies import is_u64, parse_json

    try:
        tail = parse_json(body)["tail"]  # type: ignore[index]  # what has no members is a TypeError
        seq_num, timestamp = tail["seq_num"], tail["timestamp"]
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError("the server's answer names no tail") from error
    if not (is_u64(seq_num) and is_u64(timestamp)):
        raise ProtocolError("the server's answer names no tail")
    return seq_num, timestamp


def _is_short_number(digits: bytes) -> bool:
    """Whether it is a number below 2^63, by its length."""
    return digits.isdigit() and len(digits) < 19


def is_missing(error: S2Error) -> bool:
    """Whether a stream or its basin does not exist."""
    return isinstance(error, NotFoundError) or (
        isinstance(error, ApiError) and error.code in ("stream_not_found", "basin_not_found")
    )


def is_forbidden(error: S2Error) -> bool:
    """Whether the token does not allow the call."""
    return isinstance(error, AuthError) or (isinstance(error, ApiError) and error.status == 403)
