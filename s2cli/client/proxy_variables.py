"""Proxy variables: none is ever bypassed, and until proxies work one that would apply is refused."""

from __future__ import annotations

import os

from s2cli.endpoints import is_loopback
from s2cli.errors import UsageError

# Scheme of a connection -> the variables that may name a proxy for it, the first one that is set wins.
_VARIABLES = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}


def refuse_proxy(scheme: str, host: str, port: int) -> None:
    """Raises UsageError if the environment says that a connection to that place goes through a proxy.

    A loopback address never does: a proxy would look for it on its own machine.
    """
    if is_loopback(host):
        return
    for variable in _VARIABLES[scheme]:
        # A web server passes the header `Proxy:` on as HTTP_PROXY: like everybody, we look at the lower-case name alone
        # where such a server calls us.
        if variable == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ:
            continue
        if os.environ.get(variable) and not _is_exempt(host, port):
            raise UsageError(
                f"{variable} asks for a proxy to {host}, and proxies do not work yet",
                hint=f"to connect directly: NO_PROXY={host}",
            )


def _is_exempt(host: str, port: int) -> bool:
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    host = host.lower()
    for entry in exempt.replace(",", " ").split():
        if entry == "*":
            return True
        name = entry.lower().lstrip(".")
        if name in (host, f"{host}:{port}") or host.endswith("." + name):
            return True
    return False
