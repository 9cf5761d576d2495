"""Checks and normalises the heads of HTTP/1.1 requests: refuses some, and brings others into the form that the
application expects."""

from __future__ import annotations

from httptools import parse_url

from s2cli.server.http.authority import is_same_host

Headers = list[tuple[bytes, bytes]]

BAD_REQUEST = b"400 Bad Request"
TOO_LARGE = b"431 Request Header Fields Too Large"

_OF_UPGRADE = frozenset((b"connection", b"upgrade", b"http2-settings"))


class RefusedError(Exception):
    """A request that is refused. `status` is the status line of the response, without the version."""

    def __init__(self, status: bytes) -> None:
        super().__init__(status.decode())
        self.status = status


def check_version(version: str, hosts: int, *, is_chunked: bool) -> None:
    """Raises RefusedError for a version other than 1.0 and 1.1; for a number of `Host` headers (`hosts`) that the
    version does not allow (RFC 9112, 3.2); and for a chunked body in version 1.0 (6.1)."""
    if version not in ("1.1", "1.0"):
        raise RefusedError(b"505 HTTP Version Not Supported")
    if (hosts != 1 and (hosts or version == "1.1")) or (is_chunked and version == "1.0"):
        raise RefusedError(BAD_REQUEST)


def origin_form(url: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """The path and query of a request target, and the headers. If the target is a whole URL, its host becomes the first
    `Host` header (RFC 9112, 3.2.2). A `Host` that differs from it is kept too: the application refuses a request that
    has two."""
    if url == b"*":
        return url, headers
    parsed = parse_url(url)  # its error is one of the parser to the caller
    if parsed.host:
        host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
        if parsed.port is not None:
            host = b"%b:%d" % (host, parsed.port)
        headers = [(b"host", host), *(header for header in headers if not _is_host(header, host))]
    path = parsed.path or b"/"
    return path if parsed.query is None else b"%b?%b" % (path, parsed.query), headers


def _is_host(header: tuple[bytes, bytes], host: bytes) -> bool:
    name, value = header
    return name == b"host" and (value.lower() == host.lower() or is_same_host(b"http://" + host, value))


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Writes the head of a request without its headers that offer an upgrade to another protocol."""
    closes = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] not in _OF_UPGRADE]
    lines.append(b"connection: close\r\n\r\n" if closes or version == "1.0" else b"\r\n")
    return b"\r\n".join(lines)
