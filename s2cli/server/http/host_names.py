"""The host names that a server without tokens accepts: the defence against DNS rebinding.

A page from `evil.example` can make its own name point to 127.0.0.1. Then the browser treats a server there as the
page's own origin, and lets it send any request. Only the `Host` of these requests shows it. So a server without tokens
accepts only addresses, which nobody can redirect, names that no stranger can own, and names that it was given. A server
that requires tokens accepts any name: no page has a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2cli.errors import ApiError
from s2cli.server.client_log import quoted
from s2cli.server.http.authority import address_in, is_local_name, split_authority

if TYPE_CHECKING:
    from collections.abc import Iterable

# Docker's name for the machine that its containers are on.
_DOCKER_HOST = "host.docker.internal"
MAX_KNOWN = 1024


class HostNames:
    """`own` are names of the server itself, with all that is below those in `domains`; `allowed` is what else is let
    in: `NAME`, `.SUFFIX` for a name and all below it, `*` for everything."""

    __slots__ = ("_everything", "_known", "_names", "_suffixes")

    def __init__(self, own: Iterable[str] = (), domains: Iterable[str] = (), allowed: Iterable[str] = ()) -> None:
        names = {_DOCKER_HOST, *(name.lower().rstrip(".") for name in own)}
        suffixes = set()
        for given in (*(f".{domain}" for domain in domains), *allowed):
            name = given.lower().rstrip(".")
            if name.startswith("."):
                suffixes.add(name)
            names.add(name.removeprefix("."))
        self._everything = "*" in names
        self._names = frozenset(names)
        self._suffixes = tuple(suffixes)
        # Each request brings one, and the clients' are few.
        self._known: set[bytes] = set()

    def check(self, host: bytes | None) -> None:
        """Raises ApiError `permission_denied` if the header `Host` names a host that is not accepted. A request without
        one, or with an empty one, does not come from a browser and is accepted."""
        if not host or self._everything or host in self._known:
            return
        parts = split_authority(host.decode("latin-1"))
        if parts is None or not self._accepts(parts[0]):
            name = quoted(host) if parts is None else parts[0]
            raise ApiError(
                "permission_denied",
                f"the request is for the host `{name}`, which is not a name of this server; "
                f"start the server with --allow-host {'NAME' if parts is None else name} to allow it",
            )
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(host)

    def _accepts(self, name: str) -> bool:
        return (
            name in self._names
            or "." not in name  # of this machine or network: no page outside can have one
            or is_local_name(name)
            or name.endswith(self._suffixes)
            or address_in(name) is not None
        )
