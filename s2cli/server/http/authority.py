"""Hosts and origins as requests name them: `NAME[:PORT]` and `SCHEME://NAME[:PORT]`, taken apart as a browser does."""

from __future__ import annotations

import ipaddress
import re

# What a name may hold once a browser has been at it, and what names of services have beside that.
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?")
# As long as one may be in DNS.
_MAX_NAME_CHARACTERS = 253
_PORT = re.compile(r"(?::([0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def split_authority(text: str) -> tuple[str, int | None] | None:
    """The name, in small letters and without a dot at its end, and the port. None if the text is not a host with at
    most a port, for example because it has a user or a path too. An IPv6 address keeps its brackets."""
    text = text.lower()
    if text.startswith("["):
        literal, bracket, rest = text[1:].partition("]")
        try:
            name = f"[{ipaddress.IPv6Address(literal)}]"
        except ValueError:
            return None
        if not bracket or "%" in literal:
            return None
    else:
        name, colon, rest = text.partition(":")
        name, rest = name.removesuffix("."), colon + rest
        if len(name) > _MAX_NAME_CHARACTERS or _NAME.fullmatch(name) is None or ".." in name:
            return None
    port = _PORT.fullmatch(rest)
    if port is None:
        return None
    number = int(port[1]) if port[1] else None
    return None if number is not None and number > 65535 else (name, number)


def split_origin(origin: str) -> tuple[str, str, int | None] | None:
    """Scheme, name and port of the origin of a web page; the port is None if it is the default one. None for `null` and
    for schemes other than http and https."""
    scheme, separator, authority = origin.partition("://")
    scheme = scheme.lower()
    parts = split_authority(authority) if separator and scheme in _DEFAULT_PORTS else None
    if parts is None:
        return None
    name, port = parts
    return scheme, name, None if port == _DEFAULT_PORTS[scheme] else port


def is_same_host(origin: bytes, host: bytes | None) -> bool:
    """Whether a page of that origin came from the host that it asks. Behind a proxy for TLS the schemes differ."""
    page = split_origin(origin.decode("latin-1"))
    asked = None if host is None else split_authority(host.decode("latin-1"))
    if page is None or asked is None:
        return False
    name, port = asked
    return page[1:] == (name, None if port in _DEFAULT_PORTS.values() else port)


def address_in(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `name` is a literal of."""
    try:
        return ipaddress.IPv6Address(name[1:-1]) if name.startswith("[") else ipaddress.IPv4Address(name)
    except ValueError:
        return None


def is_local_name(name: str) -> bool:
    """Whether it always means this machine."""
    return name == "localhost" or name.endswith(".localhost")
