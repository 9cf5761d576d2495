"""Resources on stdout: as a table for people, as JSON with the API's field names, or as bare names for xargs."""

from __future__ import annotations

from s2cli.amounts import format_duration
from s2cli.cli import console
from s2cli.errors import IncompleteError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.cli.resource_args import NamesArgs, OutputArgs

    Resource = dict[str, object]

BASIN_HEADERS = ("NAME", "STATE", "CREATED", "LOCATION")
STREAM_HEADERS = ("NAME", "STATE", "CREATED", "CIPHER")
ALL_NAMES = "-o name -0 prints all of them, each with a NUL byte behind it, for xargs -0"


def basin_row(item: Resource) -> tuple[str, ...]:
    return text_of(item.get("name")), state(item), text_of(item.get("created_at")), text_of(item.get("location"))


def stream_row(item: Resource) -> tuple[str, ...]:
    return text_of(item.get("name")), state(item), text_of(item.get("created_at")), text_of(item.get("cipher"))


def state(item: Resource) -> str:
    return "active" if item.get("deleted_at") is None else "deleting"


def print_list(
    args: NamesArgs,
    pages: Iterable[list[Resource]],
    headers: tuple[str, ...],
    row: Callable[[Resource], tuple[str, ...]],
    name: Callable[[Resource], str],
) -> None:
    """Prints a list in the format of --output. Each page is printed as it arrives: the whole list may not fit into
    memory."""
    output = args.output or "table"
    if args.zero and output != "name":
        raise UsageError("-0, --zero needs -o name")
    if output == "json":
        _print_array(pages)
    elif output == "jsonl":
        for items in pages:
            console.print_json_lines(items)
    elif output == "name":
        print_names(([name(item) for item in items] for items in pages), zero=args.zero)
    else:
        table = console.Table(headers, show_headers=not args.no_headers)
        for items in pages:
            table.add([row(item) for item in items])


def print_names(pages: Iterable[list[str]], *, zero: bool = False, hint: str = ALL_NAMES) -> None:
    """Prints names for xargs: one a line, or with `zero` each followed by a NUL byte. Names with control characters are
    printed only with `zero`, since a newline would make two names of one. If any was left out, raises IncompleteError
    with `hint` after the last."""
    left_out = 0
    for names in pages:
        if zero:
            console.write("".join(name + "\0" for name in names).encode("utf-8", "backslashreplace"))
            continue
        lines = [name for name in names if console.printable(name) == name]
        left_out += len(names) - len(lines)
        console.print_lines(lines)
    if left_out:
        names_were = "1 name was" if left_out == 1 else f"{left_out} names were"
        raise IncompleteError(f"{names_were} left out, because of control characters", hint=hint)


def _print_array(pages: Iterable[list[Resource]]) -> None:
    """One array, as `json.dumps` with an indent would write it."""
    begun = False
    for items in pages:
        if items:
            # Without the brackets of this page, and the newlines inside of them.
            console.write((b",\n" if begun else b"[\n") + console.encode_json(items, indent=2)[2:-2])
            begun = True
    console.write(b"\n]\n" if begun else b"[]\n")


def print_config(args: OutputArgs, config: Resource, name: str) -> None:
    """Prints a config object in the format of --output; in a table, one setting a line."""
    print_one(args, config, ("SETTING", "VALUE"), list(settings(config)), name)


def print_one(
    args: OutputArgs, item: Resource, headers: tuple[str, ...], rows: list[tuple[str, ...]], name: str
) -> None:
    """Prints one resource in the format of --output: `rows` as a table, `item` as JSON, or `name`."""
    output = args.output or "table"
    if output == "json":
        console.print_json(item, indent=2)
    elif output == "jsonl":
        console.print_json(item)
    elif output == "name":
        print_names([[name]], hint="-o json shows it")
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


def text_of(value: object) -> str:
    """`value` as it is shown in a cell of a table: `-` for None and for the empty string."""
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else console.encode_json(value).decode()


def _duration(seconds: object) -> str:
    return format_duration(seconds) if isinstance(seconds, int) and seconds >= 0 else text_of(seconds)
