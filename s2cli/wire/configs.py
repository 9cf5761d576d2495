"""Configurations of streams and basins (protocol sections 3.1 to 3.3): JSON values are checked, merged and written.

A *layer* is a dict with only the members that were set, each valid; None and an absent member mean the same. Client and
server share these functions, so both give the same error for an invalid value.
"""

from __future__ import annotations

from s2cli.errors import BadValueError
from s2cli.wire.bodies import is_u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Layer = dict[str, Any]

TIMESTAMPING_MODES = ("client-prefer", "client-require", "arrival")
STREAM_CIPHERS = ("aegis-256", "aes-256-gcm")
# The classes that clients know. A stream may name any other: which there are depends on the place where it lives.
STORAGE_CLASSES = ("standard", "express")
MAX_STORAGE_CLASS_BYTES = 64

# Protocol section 3.1: what a stream has where neither it nor its basin says otherwise.
SYSTEM_DEFAULTS: Layer = {
    "storage_class": "express",
    "retention_policy": {"age": 604_800},
    "timestamping": {"mode": "client-prefer", "uncapped": False},
    "delete_on_empty": {"min_age_secs": 0},
}


class ConfigShapeError(BadValueError):
    """A member has the wrong type, or is not one of the words that are allowed. The API answers 400 `bad_json` for
    these, and 422 `invalid` for any other BadValueError."""


def parse_stream_config(value: object, where: str = "config") -> Layer:
    """The layer that a JSON StreamConfig sets. `where` names the value in messages."""
    members = _members(value, where)
    layer: Layer = {}
    for name, parse in _STREAM_MEMBERS.items():
        member = members.get(name)
        if member is not None:
            parsed = parse(member, f"{where}.{name}")
            # A group in which nothing is set is itself unset.
            if parsed != {}:
                layer[name] = parsed
    return layer


def parse_basin_config(value: object, where: str = "config") -> Layer:
    """The BasinConfig that a JSON value stands for, complete but for `default_stream_config`, which is a layer.

    The members of a stream's config are taken at the top level too, as in the published Introduction; where both
    stand, the nested one wins (protocol section 16.4).
    """
    members = _members(value, where)
    shorthand = parse_stream_config(members, where)
    nested = members.get("default_stream_config")
    layer = parse_stream_config({} if nested is None else nested, f"{where}.default_stream_config")
    cipher = members.get("stream_cipher")
    return {
        "default_stream_config": overlay(layer, shorthand),
        "stream_cipher": None if cipher is None else _choice(cipher, STREAM_CIPHERS, f"{where}.stream_cipher"),
        "create_stream_on_append": _flag(members, "create_stream_on_append", where),
        "create_stream_on_read": _flag(members, "create_stream_on_read", where),
    }


def overlay(*layers: Layer) -> Layer:
    """One layer out of several; for each leaf the first that sets it wins."""
    merged: Layer = {}
    for layer in reversed(layers):
        for name, member in layer.items():
            # A retention policy is one of two kinds, not a group of members.
            if name == "retention_policy" or not isinstance(member, dict):
                merged[name] = member
            else:
                merged[name] = {**merged.get(name, {}), **member}
    return {name: merged[name] for name in SYSTEM_DEFAULTS if name in merged}


def resolve_stream_config(layer: Layer, basin_defaults: Layer) -> Layer:
    """The full form of a stream's config (protocol section 3.3): every member has a value."""
    return overlay(layer, basin_defaults, SYSTEM_DEFAULTS)


def patch_stream_layer(layer: Layer, value: object, where: str = "config") -> Layer:
    """`layer` after a StreamReconfiguration: at every depth an absent member stays, a value is set, null is unset
    (protocol section 2.6)."""
    patched = dict(layer)
    for name, member in _members(value, where).items():
        parse = _STREAM_MEMBERS.get(name)
        if parse is None:
            continue
        if member is None:
            patched.pop(name, None)
        elif name in _GROUPS:
            patched[name] = _patch_group(patched.get(name, {}), member, parse(member, f"{where}.{name}"), _GROUPS[name])
            if not patched[name]:
                del patched[name]
        else:
            patched[name] = parse(member, f"{where}.{name}")
    return patched


def _patch_group(group: Layer, value: Layer, parsed: Layer, names: tuple[str, ...]) -> Layer:
    patched = {}
    for name in names:
        # What is absent and what is null only the JSON says: parsing fills in defaults.
        if name not in value:
            if name in group:
                patched[name] = group[name]
        elif value[name] is not None:
            patched[name] = parsed[name]
    return patched


def patch_basin_config(config: Layer, value: object, where: str = "config") -> Layer:
    """`config`, a parsed BasinConfig, after a BasinReconfiguration. A null for `create_stream_on_append` or `_read`
    changes nothing, since those are never unset; the short members of the top level are patched before the nested ones,
    so that the latter win."""
    members = _members(value, where)
    layer = patch_stream_layer(config["default_stream_config"], members, where)
    if "default_stream_config" in members:
        nested = members["default_stream_config"]
        layer = {} if nested is None else patch_stream_layer(layer, nested, f"{where}.default_stream_config")
    patched = {**config, "default_stream_config": overlay(layer)}
    if "stream_cipher" in members:
        cipher = members["stream_cipher"]
        patched["stream_cipher"] = None if cipher is None else _choice(cipher, STREAM_CIPHERS, f"{where}.stream_cipher")
    for name in "create_stream_on_append", "create_stream_on_read":
        if members.get(name) is not None:
            patched[name] = _flag(members, name, where)
    return patched


def show_stream_layer(layer: Layer) -> Layer | None:
    """A layer as the API shows it in a basin: unset members are null, and so is a layer that sets nothing."""
    if not layer:
        return None
    shown: Layer = {name: layer.get(name) for name in SYSTEM_DEFAULTS}
    if shown["timestamping"] is not None:
        shown["timestamping"] = {"mode": None, "uncapped": None, **shown["timestamping"]}
    return shown


def show_basin_config(config: Layer) -> Layer:
    """A parsed BasinConfig as the API shows it."""
    return {**config, "default_stream_config": show_stream_layer(config["default_stream_config"])}


def _members(value: object, where: str) -> Layer:
    if not isinstance(value, dict):
        raise ConfigShapeError(f"{where} must be an object, not {_kind(value)}")
    return value


def _storage_class(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigShapeError(f"{where} must be a string, not {_kind(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ConfigShapeError(f"{where} is not valid Unicode") from error
    if not 1 <= size <= MAX_STORAGE_CLASS_BYTES:
        raise BadValueError(f"{where} must have 1 to {MAX_STORAGE_CLASS_BYTES} bytes, it has {size}")
    if "\0" in value:
        raise BadValueError(f"{where} must not contain NUL bytes")
    return value


def _retention_policy(value: object, where: str) -> Layer:
    members = _members(value, where)
    if len(members.keys() & {"age", "infinite"}) != 1:
        raise ConfigShapeError(f'{where} must be {{"age": SECONDS}} or {{"infinite": {{}}}}')
    if "infinite" in members:
        _members(members["infinite"], f"{where}.infinite")
        return {"infinite": {}}
    age = _u64(members["age"], f"{where}.age")
    if age == 0:
        raise BadValueError("age must be greater than 0 seconds")
    return {"age": age}


def _timestamping(value: object, where: str) -> Layer:
    members = _members(value, where)
    layer: Layer = {}
    if members.get("mode") is not None:
        layer["mode"] = _choice(members["mode"], TIMESTAMPING_MODES, f"{where}.mode")
    if members.get("uncapped") is not None:
        layer["uncapped"] = _bool(members["uncapped"], f"{where}.uncapped")
    return layer


def _delete_on_empty(value: object, where: str) -> Layer:
    members = _members(value, where)
    # `{}` is an explicit 0, which overrides what the basin says.
    age = members.get("min_age_secs")
    return {"min_age_secs": 0 if age is None else _u64(age, f"{where}.min_age_secs")}


_STREAM_MEMBERS: dict[str, Callable[[object, str], Any]] = {
    "storage_class": _storage_class,
    "retention_policy": _retention_policy,
    "timestamping": _timestamping,
    "delete_on_empty": _delete_on_empty,
}

# The members that are groups of members, and those.
_GROUPS = {"timestamping": ("mode", "uncapped"), "delete_on_empty": ("min_age_secs",)}


def _flag(members: Layer, name: str, where: str) -> bool:
    value = members.get(name)
    return False if value is None else _bool(value, f"{where}.{name}")


def _bool(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigShapeError(f"{where} must be true or false, not {_kind(value)}")
    return value


def _u64(value: object, where: str) -> int:
    if not is_u64(value):
        raise ConfigShapeError(f"{where} must be an integer from 0 to 2^64 - 1, not {_kind(value)}")
    return value


def _choice(value: object, choices: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ConfigShapeError(f"{where} must be one of {', '.join(choices)}, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
