"""The rules for names and tokens (protocol sections 2.1 and 14.1), and the names of the operations that access tokens
allow, in one place for both halves.

Each check raises BadValueError; the server turns it into the API's error for the place where the name stood.
"""

from __future__ import annotations

from s2cli.errors import BadValueError

MAX_STREAM_NAME_BYTES = 512
MAX_TOKEN_ID_BYTES = 96
MAX_FENCING_TOKEN_BYTES = 36
MAX_REQUEST_TOKEN_BYTES = 36
MIN_BASIN_NAME_BYTES = 8
MAX_BASIN_NAME_BYTES = 48

_BASIN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LOCATION_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:.-")

# Protocol section 8.2: group -> what its read and its write permission contain.
OP_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "account": {
        "read": ("list-basins", "list-access-tokens", "account-metrics", "list-locations", "get-default-location"),
        "write": (
            "create-basin",
            "delete-basin",
            "reconfigure-basin",
            "issue-access-token",
            "revoke-access-token",
            "set-default-location",
        ),
    },
    "basin": {
        "read": ("get-basin-config", "list-streams", "basin-metrics"),
        "write": ("create-stream", "delete-stream", "reconfigure-stream"),
    },
    "stream": {
        "read": ("get-stream-config", "check-tail", "read", "stream-metrics"),
        "write": ("append", "trim", "fence"),
    },
}

OPERATIONS = tuple(op for group in OP_GROUPS.values() for ops in group.values() for op in ops)


def check_basin_name(name: str) -> None:
    size = len(_utf8(name, "basin name"))
    if not MIN_BASIN_NAME_BYTES <= size <= MAX_BASIN_NAME_BYTES:
        raise BadValueError(
            f"Basin name must be between {MIN_BASIN_NAME_BYTES} and {MAX_BASIN_NAME_BYTES} bytes, not {size}"
        )
    if not _BASIN_CHARACTERS.issuperset(name):
        raise BadValueError("Basin name must comprise lowercase letters, numbers, and hyphens")
    if name[0] == "-" or name[-1] == "-":
        raise BadValueError("Basin name must begin and end with a lowercase letter or number")


def check_stream_name(name: str) -> None:
    if not 1 <= len(_utf8(name, "stream name")) <= MAX_STREAM_NAME_BYTES:
        # The very words of the published Introduction (protocol section 16.3).
        raise BadValueError(f"Stream name must be between 1 and {MAX_STREAM_NAME_BYTES} bytes")
    _check_path_safe(name, "stream name")


def check_token_id(name: str) -> None:
    if not 1 <= len(_utf8(name, "access token id")) <= MAX_TOKEN_ID_BYTES:
        raise BadValueError(f"Access token id must be between 1 and {MAX_TOKEN_ID_BYTES} bytes")
    _check_path_safe(name, "access token id")


def check_location(name: str) -> None:
    if not 1 <= len(name) <= 64 or not _LOCATION_CHARACTERS.issuperset(name):
        raise BadValueError("Location must be 1 to 64 letters, numbers, colons, dots and hyphens")


def check_fencing_token(token: str) -> None:
    size = len(_utf8(token, "fencing token"))
    if size > MAX_FENCING_TOKEN_BYTES:
        raise BadValueError(f"Fencing token must not exceed {MAX_FENCING_TOKEN_BYTES} bytes, it has {size}")


def check_request_token(token: str) -> None:
    if not 1 <= len(_utf8(token, "request token")) <= MAX_REQUEST_TOKEN_BYTES:
        raise BadValueError(f"Request token must be between 1 and {MAX_REQUEST_TOKEN_BYTES} bytes")


def check_basin_prefix(text: str, kind: str) -> None:
    """A `prefix` or `start_after` (which of them `kind` says) of a list of basins."""
    if len(text) > MAX_BASIN_NAME_BYTES or not _BASIN_CHARACTERS.issuperset(text):
        raise BadValueError(
            f"basin {kind} must have at most {MAX_BASIN_NAME_BYTES} lowercase letters, numbers, and hyphens"
        )
    if text.startswith("-"):
        raise BadValueError(f"basin {kind} must begin with a lowercase letter or number")


def check_stream_prefix(text: str, kind: str) -> None:
    """A `prefix` or `start_after` of a list of streams."""
    _check_text_prefix(text, f"stream {kind}", kind, MAX_STREAM_NAME_BYTES)


def check_token_prefix(text: str, kind: str) -> None:
    """A `prefix` or `start_after` of a list of access tokens."""
    _check_text_prefix(text, f"access token {kind}", f"access token {kind}", MAX_TOKEN_ID_BYTES)


def _check_text_prefix(text: str, what: str, nul_what: str, max_bytes: int) -> None:
    if len(_utf8(text, what)) > max_bytes:
        raise BadValueError(f"{what} must not exceed {max_bytes} bytes")
    if "\0" in text:
        raise BadValueError(f"{nul_what} must not contain NUL bytes")


def _check_path_safe(name: str, what: str) -> None:
    if name in (".", ".."):
        raise BadValueError(f'{what} must not be "." or ".."')
    if "\0" in name:
        raise BadValueError(f"{what} must not contain NUL bytes")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadValueError(f"{what} must be valid UTF-8") from error
