"""The file of basins and streams that a server begins with (protocol section 3.4): read, checked, and ensured.

It is the format of `s2 apply`, whose configurations differ from the API's: durations are words. Everything is checked
before anything is made, and making it again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2cli.errors import ApiError, BadValueError, S2Error, UsageError, file_error
from s2cli.values import parse_whole_seconds
from s2cli.wire.bodies import json_flaw, parse_json
from s2cli.wire.configs import parse_basin_config, parse_stream_config
from s2cli.wire.names import check_basin_name, check_stream_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2cli.server.core.resources import Resources
    from s2cli.wire.configs import Layer

_STREAM_MEMBERS = {"storage_class", "retention_policy", "timestamping", "delete_on_empty"}
_BASIN_MEMBERS = {"default_stream_config", "stream_cipher", "create_stream_on_append", "create_stream_on_read"}


@dataclass(frozen=True, slots=True)
class InitialBasin:
    """A basin of the file; `streams` are names and layers."""

    name: str
    config: Layer
    streams: dict[str, Layer]


def read_init_file(path: str) -> list[InitialBasin]:
    """Raises UsageError for a file that cannot be read, or says something that cannot be."""
    try:
        with open(path, "rb") as file:
            value = parse_json(file.read())
    except OSError as error:
        raise file_error(f"--init-file: cannot read {path}", error) from error
    except ValueError as error:
        raise UsageError(f"--init-file: {path} is not valid JSON: {json_flaw(error)}") from error
    try:
        if not isinstance(value, dict):
            raise BadValueError("it must be an object")
        found: dict[str, InitialBasin] = {}
        for number, basin in enumerate(_array(value, "basins", "")):
            parsed = _basin(basin, f"basins[{number}]")
            if parsed.name in found:
                raise BadValueError(f"basins[{number}]: the basin `{parsed.name}` is listed twice")
            found[parsed.name] = parsed
    except BadValueError as error:
        raise UsageError(f"--init-file: {path}: {error.message}") from error
    return list(found.values())


async def ensure_initial(resources: Resources, basins: Sequence[InitialBasin]) -> None:
    """Make what is missing, and give the rest the configuration of the file, before the first request comes."""
    for basin in basins:
        what = f"the basin `{basin.name}`"
        try:
            await resources.ensure_basin(basin.name, basin.config, _nothing, _nothing)
            for name, layer in basin.streams.items():
                what = f"the stream `{name}` in basin `{basin.name}`"
                await resources.ensure_stream(basin.name, name, layer, _nothing, _nothing)
        except ApiError as error:
            if error.code not in ("basin_deletion_pending", "stream_deletion_pending"):
                raise
            raise S2Error(f"{what} of the init file is being deleted", hint="start again in a moment") from error


def _nothing() -> None:
    """Whoever wrote the file may do all, and nobody revokes it meanwhile."""


def _basin(value: object, where: str) -> InitialBasin:
    members = _object(value, {"name", "config", "streams"}, where)
    name = _name(members, where)
    try:
        check_basin_name(name)
    except BadValueError as error:
        raise BadValueError(f"{where}.name: {error.message}") from error
    streams: dict[str, Layer] = {}
    for number, stream in enumerate(_array(members, "streams", f"{where}.")):
        at = f"{where}.streams[{number}]"
        parsed = _object(stream, {"name", "config"}, at)
        stream_name = _name(parsed, at)
        try:
            check_stream_name(stream_name)
        except BadValueError as error:
            raise BadValueError(f"{at}.name: {error.message}") from error
        if stream_name in streams:
            raise BadValueError(f"{at}: the stream `{stream_name}` is listed twice")
        config = _stream_config(parsed.get("config"), f"{at}.config")
        streams[stream_name] = parse_stream_config(config, f"{at}.config")
    config = _object(_given(members.get("config")), _BASIN_MEMBERS, f"{where}.config")
    nested = f"{where}.config.default_stream_config"
    config["default_stream_config"] = _stream_config(config.get("default_stream_config"), nested)
    return InitialBasin(name, parse_basin_config(config, f"{where}.config"), streams)


def _stream_config(value: object, where: str) -> dict[str, Any]:
    """A stream's configuration as the API writes it."""
    members = _object(_given(value), _STREAM_MEMBERS, where)
    retention = members.get("retention_policy")
    if retention is not None:
        at = f"{where}.retention_policy"
        infinite = retention == "infinite"
        members["retention_policy"] = {"infinite": {}} if infinite else {"age": _seconds(retention, at)}
    if members.get("timestamping") is not None:
        members["timestamping"] = _object(members["timestamping"], {"mode", "uncapped"}, f"{where}.timestamping")
    if members.get("delete_on_empty") is not None:
        group = _object(members["delete_on_empty"], {"min_age"}, f"{where}.delete_on_empty")
        age = group.get("min_age")
        at = f"{where}.delete_on_empty.min_age"
        members["delete_on_empty"] = {} if age is None else {"min_age_secs": _seconds(age, at)}
    return members


def _seconds(value: object, where: str) -> int:
    if not isinstance(value, str):
        raise BadValueError(f'{where} must be a duration, as "7days"')
    try:
        return parse_whole_seconds(value)
    except BadValueError as error:
        raise BadValueError(f"{where}: {error.message}") from error


def _given(value: object) -> object:
    return {} if value is None else value


def _object(value: object, known: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValueError(f"{where} must be an object")
    for name in value:
        if name not in known:
            raise BadValueError(f"{where} has an unknown member `{name}`; it may have {', '.join(sorted(known))}")
    return dict(value)


def _array(members: dict[str, Any], name: str, where: str) -> list[Any]:
    value = members.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadValueError(f"{where}{name} must be an array")
    return value


def _name(members: dict[str, Any], where: str) -> str:
    name = members.get("name")
    if not isinstance(name, str):
        raise BadValueError(f"{where} needs a `name`, a string")
    return name
