"""Resources on stdout: as a table for people, as JSON with the API's field names, or as bare names for xargs."""

from __future__ import annotations

import json

from s2cli import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.args import Args

    Resource = dict[str, object]

BASIN_HEADERS = ("NAME", "STATE", "CREATED", "LOCATION")
STREAM_HEADERS = ("NAME", "STATE", "CREATED", "CIPHER")


def basin_row(item: Resource) -> tuple[str, ...]:
    return text_of(item.get("name")), state(item), text_of(item.get("created_at")), text_of(item.get("location"))


def stream_row(item: Resource) -> tuple[str, ...]:
    return text_of(item.get("name")), state(item), text_of(item.get("created_at")), text_of(item.get("cipher"))


def state(item: Resource) -> str:
    return "active" if item.get("deleted_at") is None else "deleting"


def print_list(
    args: Args,
    pages: Iterable[list[Resource]],
    headers: tuple[str, ...],
    row: Callable[[Resource], tuple[str, ...]],
    name: Callable[[Resource], str],
) -> None:
    """Every page as it arrives: a list may be longer than the memory."""
    output = args.output or "table"
    if output == "json":
        _print_array(pages)
        return
    table = console.Table(headers, show_headers=not args.no_headers)
    for items in pages:
        if output == "table":
            table.add([row(item) for item in items])
        elif output == "jsonl":
            _print_lines(compact(item) for item in items)
        else:
            _print_lines(name(item) for item in items)


def _print_array(pages: Iterable[list[Resource]]) -> None:
    """One array, as `json.dumps` with an indent would write it."""
    begun = False
    for items in pages:
        if items:
            text = json.dumps(items, indent=2, ensure_ascii=False)
            # Without the brackets of this page, and the newlines inside of them.
            console.write(((",\n" if begun else "[\n") + text[2:-2]).encode("utf-8", "surrogateescape"))
            begun = True
    console.print_line("\n]" if begun else "[]")


def print_created(
    args: Args,
    item: Resource,
    headers: tuple[str, ...],
    row: Callable[[Resource], tuple[str, ...]],
    name: str,
) -> None:
    """What a create brought forth, where `-o` asks for it."""
    if args.output is not None:
        print_one(args, item, headers, [row(item)], name)


def print_changed(args: Args, config: Resource, name: str) -> None:
    """What a config is after a change, where `-o` asks for it."""
    if args.output is not None:
        print_config(args, config, name)


def print_config(args: Args, config: Resource, name: str) -> None:
    """A config object: one setting to a line in a table."""
    print_one(args, config, ("SETTING", "VALUE"), list(settings(config)), name)


def print_one(args: Args, item: Resource, headers: tuple[str, ...], rows: list[tuple[str, ...]], name: str) -> None:
    """One thing, as `rows` in a table, else as `item` or `name`."""
    output = args.output or "table"
    if output == "json":
        print_json(item)
    elif output == "jsonl":
        console.print_line(compact(item))
    elif output == "name":
        console.print_line(name)
    else:
        console.Table(headers, show_headers=not args.no_headers).add(rows)


def settings(config: Resource, prefix: str = "") -> Iterable[tuple[str, str]]:
    """The settings of a config with dotted names, for people: durations with units, `-` for what is not set."""
    for key, value in config.items():
        name = prefix + key
        if key == "retention_policy" and isinstance(value, dict):
            yield name, _duration(value["age"]) if "age" in value else "infinite"
        elif isinstance(value, dict):
            yield from settings(value, name + ".")
        elif key == "min_age_secs":
            yield name.removesuffix("_secs"), _duration(value)
        else:
            yield name, text_of(value)


def print_json(value: object) -> None:
    console.print_line(json.dumps(value, indent=2, ensure_ascii=False))


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _print_lines(lines: Iterable[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    console.write(text.encode("utf-8", "surrogateescape"))


def text_of(value: object) -> str:
    """A cell of a table."""
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _duration(seconds: object) -> str:
    """In the largest unit that is exact; what was printed can be given back as an option."""
    if not isinstance(seconds, int):
        return text_of(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
