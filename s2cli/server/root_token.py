"""The root token: from a file that nobody else can read, or from the environment, never from the command line."""

from __future__ import annotations

import os
import stat

from s2cli.errors import UsageError, file_error
from s2cli.values import shell_word

VARIABLE = "S2_ROOT_TOKEN"
MAX_BYTES = 4096


def find_root_token(path: str | None) -> str | None:
    """The token in the file, or without one in the environment; None where there is neither."""
    if path is not None:
        return _checked(_read(path), path)
    value = os.environ.get(VARIABLE)
    return _checked(value.encode("utf-8", "surrogateescape"), VARIABLE) if value else None


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & 0o077:
                raise UsageError(
                    f"others may read or change {path}: its mode is {mode:04o}", hint=f"chmod 600 {shell_word(path)}"
                )
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise file_error(f"cannot read the root token in {path}", error) from error


def _checked(data: bytes, where: str) -> str:
    token = data.strip()
    # As it is in a header, with no blank in it.
    if not token or len(data) > MAX_BYTES or any(not 0x21 <= byte <= 0x7E for byte in token):
        raise UsageError(f"{where} has no token: it must be one word of printable ASCII")
    return token.decode()
