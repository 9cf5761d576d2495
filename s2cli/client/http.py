"""Unary calls over httpx: attempts, deadlines, and the one seam where its exceptions become ours.

httpx is imported in the function that needs it, without its own command line, which would load click and rich.
"""

from __future__ import annotations

import os
import sys
import time

from s2cli import __version__
from s2cli.amounts import format_seconds
from s2cli.client.outage import Outage, Watch
from s2cli.client.proxy import refuse_proxy
from s2cli.client.sockets import LostError, connect_hint
from s2cli.endpoints import is_loopback, split_origin
from s2cli.errors import ApiError, ProtocolError, S2Error, UnreachableError, UsageError, error_from_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    from httpx import Client

    from s2cli.client.records import StreamClient
    from s2cli.endpoints import Target

# Protocol section 9.2, with the request timeout of the official tool.
ATTEMPTS = 3
FIRST_BACKOFF_MS = 100
MAX_BACKOFF_MS = 1000
CONNECT_TIMEOUT_S = 3.0
# An answer to a unary call is a page of 1000 names at most; whoever sends more is no S2 server.
MAX_BODY_BYTES = 16 << 20


class Response:
    """A successful answer. The names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> object:
        import json

        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise ProtocolError("the server's answer is not JSON: is this the endpoint of an S2 server?") from None


class Connection:
    """Unary calls to one target. `tell` hears of failed attempts; `timeout_s` is for a call with all its attempts."""

    __slots__ = ("_clients", "_tell", "_timeout_s", "target")

    def __init__(self, target: Target, timeout_s: float, tell: Callable[[str], None]) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._tell = tell
        self._clients: dict[str, Client] = {}

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
        url, all_headers = self._address(path, basin)
        all_headers.update(headers or {})
        outage = Outage(self._timeout_s, self._tell, option="--timeout")
        outage.expect()
        with Watch(outage):
            return self._request(method, url, all_headers, json, query)

    def _request(
        self,
        method: str,
        url: str,
        all_headers: Mapping[str, str],
        json: object,
        query: Mapping[str, str | int] | None,
    ) -> Response:
        deadline = time.monotonic() + self._timeout_s
        attempt = 0
        uncertain = False
        while True:
            attempt += 1
            try:
                return self._attempt(method, url, all_headers, json, query, deadline - time.monotonic())
            except S2Error as error:
                delay_s = _delay_ms(error, attempt) / 1000
                if not _may_repeat(error) and uncertain and method != "GET":
                    error.message += " (an earlier attempt, whose answer was lost, may have taken effect)"
                if attempt == ATTEMPTS or not _may_repeat(error) or time.monotonic() + delay_s >= deadline:
                    raise
                uncertain = uncertain or not _changed_nothing(error)
                self._tell(f"{error.message}; trying again in {format_seconds(delay_s)}")
            time.sleep(delay_s)

    def _address(self, path: str, basin: str | None) -> tuple[str, dict[str, str]]:
        target = self.target
        headers = {"user-agent": f"s2cli/{__version__}", "accept": "application/json"}
        if target.token is not None:
            headers["authorization"] = f"Bearer {target.token}"
        origin = target.account_url
        if basin is not None:
            origin = target.basin_url.replace("{basin}", basin)
            if origin == target.basin_url:
                headers["s2-basin"] = basin
        if target.socket_path is None:
            refuse_proxy(*split_origin(origin))
        if target.socket_path is not None or is_loopback(split_origin(origin)[1]):
            headers["accept-encoding"] = "identity"  # elsewhere httpx asks for what it can read
        return origin + path, headers

    def _attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: object,
        query: Mapping[str, str | int] | None,
        timeout_s: float,
    ) -> Response:
        httpx = _import_httpx()
        scheme = url.partition("://")[0]
        client = self._clients.get(scheme)
        if client is None:
            client = self._clients[scheme] = self.open(scheme)
        timeout = httpx.Timeout(max(timeout_s, 0.001), connect=min(CONNECT_TIMEOUT_S, max(timeout_s, 0.001)))
        try:
            with client.stream(method, url, headers=headers, json=json, params=query, timeout=timeout) as answer:
                body = _read_body(answer.iter_bytes())
                status = int(answer.status_code)
                lower_case = {name.lower(): value for name, value in answer.headers.items()}
        except httpx.InvalidURL as error:
            raise UsageError(f"{url} is no valid URL: {error}") from error
        except httpx.HTTPError as error:
            raise self.our_error(error, url) from error
        if not 200 <= status < 300:
            raise error_from_response(status, body, lower_case)
        return Response(status, lower_case, body)

    def open(self, scheme: str) -> Client:
        """A client of httpx for this target."""
        httpx = _import_httpx()
        target = self.target
        verify: object = False
        if scheme == "https":
            from s2cli.client.tls import client_context

            verify = client_context(target.ca_file, ["http/1.1"])
        # Prior knowledge of HTTP/2 is asked for; over TLS, HTTP/1.1 does for single calls.
        http2 = target.http2 and scheme == "http"
        transport = httpx.HTTPTransport(
            verify=verify, http1=not http2, http2=http2, uds=target.socket_path, trust_env=False
        )
        client: Client = httpx.Client(transport=transport, trust_env=False, follow_redirects=False)
        return client

    def our_error(self, error: Exception, url: str) -> S2Error:
        """What an HTTPError of httpx means."""
        httpx = _import_httpx()
        scheme, host, port = split_origin("/".join(url.split("/", 3)[:3]))
        place = "the local server" if self.target.local else f"{host}:{port}"
        cause: BaseException | None = error
        while cause is not None:
            if type(cause).__name__ == "SSLCertVerificationError":
                why = getattr(cause, "verify_message", str(cause))
                return UntrustedError(
                    f"the certificate of {place} is not trusted: {why}",
                    hint="to trust the certificates in a file: --ca-file FILE",
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.TimeoutException):
            return UnreachableError(f"{place} did not answer in time")
        if isinstance(error, httpx.ConnectError):
            return UnreachableError(f"cannot connect to {place}: {_reason(error)}", hint=connect_hint(scheme, host))
        return UnreachableError(f"the connection to {place} broke: {_reason(error)}")


def open_events(stream: StreamClient, query: str, silence_s: float) -> Iterator[tuple[str, str]]:
    """The names and the data of the server-sent events of a read. Raises LostError, also where nothing comes for
    `silence_s`, and what the server answers instead."""
    httpx = _import_httpx()
    import httpx_sse

    peer = stream.peer
    connection = Connection(stream.target, silence_s, lambda _text: None)
    url = f"{peer.scheme}://{peer.authority}{stream.path}?{query}"
    headers = dict(stream.headers) | {"accept": "text/event-stream", "s2-format": "base64"}
    headers["accept-encoding"] = "identity"
    timeout = httpx.Timeout(silence_s, connect=CONNECT_TIMEOUT_S)
    with connection.open(peer.scheme) as client:
        try:
            with client.stream("GET", url, headers=headers, timeout=timeout) as answer:
                if answer.status_code != 200:
                    lower_case = {name.lower(): value for name, value in answer.headers.items()}
                    raise stream.error(answer.status_code, _read_body(answer.iter_bytes()), lower_case)
                for event in httpx_sse.EventSource(answer).iter_sse():
                    yield event.event, event.data
        except httpx_sse.SSEError as error:
            raise ProtocolError(f"the server's answer is no event stream: {error}") from error
        except httpx.HTTPError as error:
            ours = connection.our_error(error, url)
            raise (ours if isinstance(ours, UntrustedError) else LostError(ours.message, hint=ours.hint)) from error


class UntrustedError(UnreachableError):
    """The server did not prove who it is: another attempt would not help."""


def _import_httpx() -> ModuleType:
    # Its command line is imported by its __init__ where click and rich are installed: 50 ms of the 113.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how an import is made to fail
    import httpx

    return httpx


def _read_body(pieces: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise ProtocolError(f"the server's answer is longer than {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


def _may_repeat(error: S2Error) -> bool:
    if isinstance(error, ApiError):
        return error.retryable
    return isinstance(error, UnreachableError) and not isinstance(error, UntrustedError)


def _changed_nothing(error: S2Error) -> bool:
    """Whether the request of that attempt cannot have taken effect."""
    if isinstance(error, ApiError):
        return error.no_side_effect
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout")


def _delay_ms(error: S2Error, attempt: int) -> float:
    """Exponential, with up to 100 % on top so that clients do not come back all at once; never less than asked for."""
    base = min(FIRST_BACKOFF_MS << (attempt - 1), MAX_BACKOFF_MS)
    delay = base + base * os.urandom(1)[0] / 256
    asked = error.retry_after_ms if isinstance(error, ApiError) else None
    return max(delay, asked or 0)


def _reason(error: BaseException) -> str:
    """The system's words for what happened, without its number."""
    text = str(error) or type(error).__name__
    if text.startswith("[Errno") and "] " in text:
        text = text.partition("] ")[2]
    return text[:1].lower() + text[1:]
