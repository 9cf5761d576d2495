"""The table of the strict parser. Made by completions/generate; do not edit.

From s2cli/cli/declared: the flags of each command with their parameter and what they take: True or False (a switch that
means this), "text", "many" (text, repeatable), a tuple of choices, a range of integers. Operands: parameter, kind,
whether it must be there. The commands that are about records stand here, the others in strict_table_others: a start
reads what it needs.
"""
# fmt: off

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Kind = bool | str | tuple[str, ...] | range
    Flags = dict[str, tuple[str, Kind]]
    Operands = tuple[tuple[str, Kind, bool], ...]

U64 = range(1 << 64)

GLOBAL: Flags = {
    "--local": ("local", True),
    "--profile": ("profile", "text"),
    "--account-endpoint": ("account_endpoint", "text"),
    "--basin-endpoint": ("basin_endpoint", "text"),
    "--access-token-file": ("access_token_file", "text"),
    "--ca-file": ("ca_file", "text"),
    "--insecure-http": ("insecure_http", True),
    "--http2": ("http2", True),
    "--timeout": ("timeout", "text"),
    "-q": ("quiet", True), "--quiet": ("quiet", True),
    "-v": ("verbose", True), "--verbose": ("verbose", True),
    "--color": ("color", ("always", "auto", "never")),
    "--no-color": ("no_color", True),
}

GROUPS = ("records", "basins", "streams", "tokens", "metrics", "locations")

COMMANDS: dict[str, tuple[str, Operands, Flags]] = {
}
