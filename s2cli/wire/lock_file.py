"""What a server writes into the LOCK file of its data directory, so that clients of the profile `local` find it.

The lock on the file shows that a server runs; its text says how to reach it. The text is lines of `name value`, and
`end` as the last: without `end`, it was read while it was being written. It is not JSON, whose import would slow down a
plain append.
"""

from __future__ import annotations

LOCK_FILE = "LOCK"
MAX_NOTE_BYTES = 4096


def encode_note(fields: dict[str, str]) -> bytes:
    """The text for these fields: `version`, `pid`, `socket` (a path), `url`, `bucket` (its URL), `started` ("user" or
    "itself")."""
    lines = [f"{name} {value}\n" for name, value in fields.items()]
    return "".join([*lines, "end\n"]).encode("utf-8", "surrogateescape")


def decode_note(data: bytes) -> dict[str, str] | None:
    """The fields, or None if the text is empty, cut off, or was not written by `encode_note`."""
    if not data.endswith(b"end\n"):
        return None
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    # The last two are `end` and what follows its newline.
    return dict(line.split(" ", 1) for line in lines[:-2] if " " in line)


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers that compare in order. A part that is not a number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
