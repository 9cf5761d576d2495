"""The files that configure the client: our profiles.toml, the official tool's config.toml, and files with a token.

`tomllib` (10 ms) is imported only where a file exists. No error quotes a file's text: a token may be in it.
"""

from __future__ import annotations

import os

from s2cli.errors import UsageError, file_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

COMPRESSIONS = ("none", "gzip", "zstd", "auto")


class Profile:
    """One table of profiles.toml."""

    __slots__ = (
        "access_token_file",
        "account_endpoint",
        "basin_endpoint",
        "ca_file",
        "http2",
        "insecure_http",
        "stream",
    )

    def __init__(self, table: dict[str, object], where: str) -> None:
        unknown = sorted(set(table) - set(self.__slots__))
        if unknown:
            raise UsageError(f"{where}: unknown setting {unknown[0]}", hint=f"there are {', '.join(self.__slots__)}")
        self.account_endpoint = _text(table, "account_endpoint", where)
        self.basin_endpoint = _text(table, "basin_endpoint", where)
        self.access_token_file = _text(table, "access_token_file", where)
        ca_file = _text(table, "ca_file", where)
        self.ca_file = ca_file and os.path.expanduser(ca_file)
        self.stream = _text(table, "stream", where)
        self.http2 = _flag(table, "http2", where)
        self.insecure_http = _flag(table, "insecure_http", where)


class OfficialConfig:
    """What the official tool's config.toml says; all None where there is none."""

    __slots__ = ("_legacy_token", "_stored_id", "account_endpoint", "basin_endpoint", "compression", "keyring", "path")

    def __init__(self, table: Mapping[str, object] | None = None, path: str = "") -> None:
        table = table or {}
        self.path = path
        self.account_endpoint = _text(table, "account_endpoint", path)
        self.basin_endpoint = _text(table, "basin_endpoint", path)
        self.compression = _text(table, "compression", path)
        self._legacy_token = _text(table, "access_token", path)
        stored = table.get("stored_access_token")
        store = stored.get("credential_store") if isinstance(stored, dict) else None
        # The token is in the keyring of the system, out of our reach.
        self.keyring = store == "keyring"
        self._stored_id = str(stored.get("credential_id")) if isinstance(stored, dict) and store == "file" else None

    def token(self) -> str | None:
        if self._stored_id is not None:
            return _stored_token(os.path.dirname(self.path), self._stored_id)
        if self._legacy_token:
            return checked_token(self._legacy_token, f"access_token in {self.path}")
        return None


def profiles_path(environ: Mapping[str, str]) -> str:
    """`profiles.toml` under XDG_CONFIG_HOME; a relative value of that is ignored, as its specification demands."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(_home(environ), ".config")
    return os.path.join(base, "s2", "profiles.toml")


def read_profile(name: str | None, environ: Mapping[str, str]) -> Profile:
    """The profile of that name in profiles.toml. Raises UsageError if there is none, or if the file is not valid."""
    path = profiles_path(environ)
    table = _read_toml(path)
    if table is None:
        raise UsageError(
            f"there is no profile {name}: {path} does not exist", hint="the profile local is built in: s2 --local …"
        )
    entry = table.get(str(name))
    if not isinstance(entry, dict):
        known = ", ".join(sorted(key for key, value in table.items() if isinstance(value, dict)))
        raise UsageError(f"there is no profile {name} in {path}", hint=f"the profiles there: {known or 'none'}")
    return Profile(entry, f"the profile {name} in {path}")


def read_official_config(environ: Mapping[str, str]) -> OfficialConfig:
    """What `~/.config/s2/config.toml` says; nothing is set if it does not exist. Raises UsageError if it is not
    valid."""
    path = os.path.join(_home(environ), ".config", "s2", "config.toml")
    return OfficialConfig(_read_toml(path), path)


def compression(environ: Mapping[str, str], *, with_file: bool) -> str:
    """S2_COMPRESSION, or `compression` of the official config.toml: "none", "gzip", "zstd" or "auto"."""
    chosen, name = environ.get("S2_COMPRESSION"), "S2_COMPRESSION"
    if not chosen and with_file:
        official = read_official_config(environ)
        chosen, name = official.compression, f"compression in {official.path}"
    if not chosen:
        return "auto"
    if chosen not in COMPRESSIONS:
        raise UsageError(f'{name} must be one of {", ".join(COMPRESSIONS)}, not "{chosen}"')
    return chosen


def read_token_file(path: str, source: str) -> str:
    """The token in a file, or on standard input where the path is `-`; `source` is what names the file."""
    hint = "a token does not belong in a command line: put it in a file, or export S2_ACCESS_TOKEN=…"
    data = _read_secret(path, source, hint, dash_is_stdin=True)
    return checked_token(data.decode("utf-8", "replace"), f"the access token in {os.path.expanduser(path)}")


def names_file(path: str) -> bool:
    """Whether `path` is an existing file (or `-`), and so may be shown in messages. Any other text may be the secret
    itself, given by mistake."""
    return path == "-" or os.path.exists(os.path.expanduser(path))


def checked_token(text: str, name: str) -> str:
    """The access token in `text`, without white space around it. `name` says in the UsageError where it came from."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{name} is not a valid token: it must be ASCII without spaces")
    return token


def encryption_key(path: str | None, option: str, environ: Mapping[str, str]) -> str | None:
    """The key for encrypted streams, in Base64: from the file of `option` (also a pipe, /dev/fd/N, or `-` for standard
    input), else S2_ENCRYPTION_KEY, else none. What can be read only once is remembered, since a command may open
    several streams."""
    if path is None:
        text = environ.get("S2_ENCRYPTION_KEY")
        return checked_key(text, "S2_ENCRYPTION_KEY") if text else None
    if path in _keys_from_pipes:
        return _keys_from_pipes[path]
    hint = "a key does not belong in a command line: put it in a file, or export S2_ENCRYPTION_KEY=…"
    data = _read_secret(path, option, hint, dash_is_stdin=True)
    key = checked_key(data.decode("latin-1"), "the encryption key in the file")
    if not os.path.isfile(path):
        _keys_from_pipes[path] = key
    return key


_keys_from_pipes: dict[str, str] = {}


def checked_key(text: str, name: str) -> str:
    """The encryption key in `text`: 32 bytes in Base64. `name` says in the UsageError where it came from."""
    import binascii

    key = text.strip()
    try:
        size = len(binascii.a2b_base64(key, strict_mode=True))
    except ValueError:
        raise UsageError(f"{name} is not valid Base64") from None
    if size != 32:
        raise UsageError(
            f"{name} has {size} bytes, but a key has 32", hint="head -c 32 /dev/urandom | base64 makes one"
        )
    return key


def _read_secret(path: str, source: str, hint: str, *, dash_is_stdin: bool = False) -> bytes:
    try:
        if dash_is_stdin and path == "-":
            return _read_descriptor(0)
        descriptor = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_descriptor(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file name"
        named = path if names_file(path) else "what was given"
        raise UsageError(f"{source} needs a file, but {named} cannot be read: {why}", hint=hint) from None


def _read_descriptor(descriptor: int) -> bytes:
    # More than any token; a directory or a device is not read for ever.
    limit = 1 << 20
    data = b""
    while len(data) < limit and (piece := os.read(descriptor, limit)):
        data += piece
    return data


def _stored_token(directory: str, credential_id: str) -> str:
    """The token that the official tool keeps in a private file beside its config.toml."""
    import json

    for entry in sorted(os.listdir(directory)):
        if not (entry.startswith("access-token-") and entry.endswith(".json")):
            continue
        path = os.path.join(directory, entry)
        try:
            with open(path, encoding="utf-8") as file:
                fields = json.load(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the stored access token in {path}") from error
        if isinstance(fields, dict) and fields.get("credential_id") == credential_id:
            return checked_token(str(fields.get("access_token", "")), f"the access token in {path}")
    raise UsageError(
        f"the stored access token that {directory}/config.toml points to is not there", hint="export S2_ACCESS_TOKEN=…"
    )


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _read_toml(path: str) -> dict[str, object] | None:
    try:
        with open(path, "rb") as file:
            import tomllib

            try:
                return tomllib.load(file)
            except ValueError:
                raise UsageError(f"{path} is not valid TOML") from None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error(f"cannot read {path}", error) from error


def _text(table: Mapping[str, object], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} must be a string")
    return value


def _flag(table: Mapping[str, object], key: str, where: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {key} must be true or false")
    return value
