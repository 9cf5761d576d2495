"""The endpoints of the API: their texts, the Target that the client connects to, and what may not be sent there."""

from __future__ import annotations

from s2cli.errors import UsageError

# Protocol section 1.1.
CLOUD_ACCOUNT = "https://a.s2.dev"
CLOUD_BASIN = "https://{basin}.b.s2.dev"
LOCAL = "local"

_PLACEHOLDER = "{basin}"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Target:
    """Where to connect and as whom. URLs are bare origins; `basin_url` may hold `{basin}`. With a `socket_path` the
    connection goes to that Unix socket, and the URLs only name it."""

    __slots__ = (
        "account_url",
        "basin_url",
        "ca_file",
        "command",
        "http2",
        "local",
        "socket_path",
        "source",
        "token",
        "withheld",
    )

    def __init__(
        self,
        *,
        account_url: str,
        basin_url: str,
        token: str | None = None,
        socket_path: str | None = None,
        ca_file: str | None = None,
        http2: bool = False,
        local: bool = False,
        source: str = "",
        withheld: str | None = None,
    ) -> None:
        self.account_url = account_url
        self.basin_url = basin_url
        self.token = token
        self.socket_path = socket_path
        self.ca_file = ca_file
        self.http2 = http2
        self.local = local
        self.source = source  # what chose the endpoints, for a person
        self.command = "s2"  # how a command line begins that goes to the same place: for hints
        self.withheld = withheld  # why a token that is there was not sent: the hint of a 401 or 403

    def __repr__(self) -> str:
        """Without the token: it must not get into a traceback or a log."""
        place = self.socket_path or self.account_url
        return f"Target({place!r}, {self.basin_url!r}, source={self.source!r})"

    @property
    def server(self) -> str:
        """What a state calls this server, to compare one run with the next. The local one is always the same, though
        its socket may be another."""
        return "local" if self.local else self.basin_url

    def account_origin(self) -> tuple[str, str, int]:
        """Scheme, host and port for basins."""
        return split_origin(self.account_url)

    def basin_origin(self, basin: str) -> tuple[str, str, int, bool]:
        """Scheme, host and port for the streams of this basin, and whether a request has to name it in `s2-basin`."""
        named = _PLACEHOLDER in self.basin_url
        return *split_origin(self.basin_url.replace(_PLACEHOLDER, basin)), not named


def split_origin(url: str) -> tuple[str, str, int]:
    """Scheme, host (without brackets) and port of a checked origin."""
    scheme, _, rest = url.partition("://")
    host, port = _split_port(rest)
    return scheme, host, port if port is not None else _DEFAULT_PORTS[scheme]


def make_target(
    account: str,
    basin: str,
    token: str | None,
    *,
    ca_file: str | None,
    http2: bool,
    insecure_http: bool,
    source: str,
    withheld: str | None = None,
) -> Target:
    """A Target for a pair of checked origins; refuses to send a token in the clear."""
    for url in (account, basin):
        scheme, host, _ = split_origin(url)
        if token is not None and scheme == "http" and not is_loopback(host) and not insecure_http:
            raise UsageError(
                f"the access token would go unencrypted to {url} ({source})",
                hint="use https://, or allow it with --insecure-http or S2_INSECURE_HTTP=1",
            )
    return Target(
        account_url=account,
        basin_url=basin,
        token=token,
        ca_file=ca_file,
        http2=http2,
        source=source,
        withheld=withheld,
    )


def pair(account: str | None, basin: str | None, account_name: str, basin_name: str) -> tuple[str, str] | None:
    """Both endpoints as checked origins, None where neither is given; the names say in an error where they came from.

    One alone is an error unless the other follows from it: a loopback address is a server that has everything on one
    origin, and the two of s2.dev belong together."""
    if account is None and basin is None:
        return None
    if account is None:
        given = parse_endpoint(basin or "", basin_name, placeholder=True)
        return _other_of(given, CLOUD_BASIN, CLOUD_ACCOUNT, basin_name, account_name), given
    given = parse_endpoint(account, account_name)
    if basin is None:
        return given, _other_of(given, CLOUD_ACCOUNT, CLOUD_BASIN, account_name, basin_name)
    both = given, parse_endpoint(basin, basin_name, placeholder=True)
    if both[0].partition("://")[0] != both[1].partition("://")[0]:
        raise UsageError(
            f"the endpoints must have the same scheme: {account_name} is {both[0]}, {basin_name} is {both[1]}"
        )
    return both


def _other_of(given: str, cloud: str, other: str, name: str, missing: str) -> str:
    if given == cloud:
        return other
    if _PLACEHOLDER not in given and is_loopback(split_origin(given)[1]):
        return given
    raise UsageError(
        f"{name} is set but {missing} is not", hint=f"set both; if one server is both, set {missing} to {given} too"
    )


def parse_endpoint(text: str, name: str, *, placeholder: bool = False) -> str:
    """`[SCHEME://]HOST[:PORT]` as an origin with its scheme: https where none is given, http for loopback."""
    url = text.strip()
    scheme, separator, rest = url.partition("://")
    if not separator:
        rest = url
        scheme = ""
    scheme = scheme.lower()
    # The path that every request begins with may be written out, as some tools want it.
    rest = rest.removesuffix("/").removesuffix("/v1")
    host, port = _split_port(rest)
    readable = rest.replace(_PLACEHOLDER, "") if placeholder else rest
    if (separator and scheme not in _DEFAULT_PORTS) or not host or any(bad in readable for bad in "/?#@{} \\"):
        example = CLOUD_BASIN if placeholder else CLOUD_ACCOUNT
        raise UsageError(f'{name}: "{text}" is not a valid endpoint: write {example} or http://localhost:8080')
    if port is not None and not 0 < port < 65536:
        raise UsageError(f'{name}: "{text}" has no valid port')
    if not scheme:
        scheme = "http" if is_loopback(host) else "https"
    return f"{scheme}://{rest.lower()}"


def _split_port(rest: str) -> tuple[str, int | None]:
    """Host without brackets, and port: None if none is given, 0 if it is not a number."""
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            return "", None
        colon, port = tail[:1], tail[1:]
    else:
        host, colon, port = rest.partition(":")
    if not colon:
        return host, None
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


def is_loopback(host: str) -> bool:
    """Whether traffic to this host never leaves the machine."""
    if host in ("localhost", "::1") or host.endswith(".localhost"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isascii() and part.isdigit() for part in parts)
