"""The grammar of all commands as data, taken from the typer commands, for what is generated from it.

Used by completions/generate, never on the way of a command.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from s2cli.cli import args, command_tree, typer_app
from s2cli.cli.shared_options import Declaration

# What an option or operand takes: True or False (a switch that means this), "text", "many" (text, repeatable),
# a tuple of choices, a range of integers, what makes a value of the text.
Kind = bool | str | tuple[str, ...] | range | Callable[[str], object]


class Option(NamedTuple):
    owner: str  # the class that declares it
    flags: tuple[str, ...]
    parameter: str
    kind: Kind
    metavar: str
    help: str
    hidden: bool
    in_resume_command: bool
    written: Callable[[Any], str]


class Operand(NamedTuple):
    parameter: str
    kind: Kind
    required: bool
    metavar: str
    help: str


class Command(NamedTuple):
    name: str
    function: str
    declaration: str
    help: str
    operands: tuple[Operand, ...]
    options: tuple[Option, ...]  # without the global ones


@functools.cache
def read_commands() -> tuple[Command, ...]:
    """Every command, the hidden ones too (their help is empty)."""
    return tuple(_read_command(name) for name in command_tree.COMMANDS)


@functools.cache
def read_global_options() -> tuple[Option, ...]:
    """What every command has beside its own options, but for help and version."""
    params = typer_app.build_group(typer_app.PROGRAM).params
    declarations = typer_app.read_declarations(args.CommonArgs)
    return tuple(
        option
        for param in params
        if param.name != "version"
        for option in _read_options(param, "", declarations[param.name][1])
    )


def _read_command(name: str) -> Command:
    function, declaration, line = command_tree.COMMANDS[name]
    command = typer_app.build_command(name)
    globals_ = {option.parameter for option in read_global_options()}
    own = [param for param in command.params if param.name not in globals_]
    declared = args.declared_class(declaration)
    declarations = typer_app.read_declarations(declared)
    return Command(
        name=name,
        function=function,
        declaration=declaration,
        help=line,
        operands=tuple(_read_operand(param) for param in own if param.param_type_name == "argument"),
        options=tuple(
            option
            for param in own
            if param.param_type_name == "option"
            for option in _read_options(param, _owner(declared, param.name), declarations[param.name][1])
        ),
    )


def _owner(declared: type, parameter: str) -> str:
    return next(owner.__name__ for owner in declared.__mro__ if parameter in inspect.get_annotations(owner))


def _read_operand(param: Any) -> Operand:
    return Operand(param.name, kind_of(param), param.required, param.metavar or param.name.upper(), param.help or "")


def _read_options(param: Any, owner: str, declaration: Declaration) -> list[Option]:
    """One for a parameter, and one more for the negative form of a switch."""
    option = Option(
        owner=owner,
        flags=tuple(param.opts),
        parameter=param.name,
        kind=True if param.is_flag else kind_of(param),
        metavar=param.metavar or "",
        help=param.help or "",
        hidden=param.hidden,
        in_resume_command=declaration.in_resume_command,
        written=declaration.written,
    )
    if not param.secondary_opts:
        return [option]
    negative = option._replace(
        flags=tuple(param.secondary_opts), kind=False, help=f"Not: {param.help}", in_resume_command=False
    )
    return [option, negative]


def kind_of(param: Any) -> Kind:
    if getattr(param, "multiple", False) or param.nargs == -1:
        return "many"
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        return tuple(str(choice) for choice in choices)
    if hasattr(param.type, "func"):
        parser: Callable[[str], object] = param.type.func
        return parser
    if hasattr(param.type, "min"):
        return range(param.type.min, param.type.max + 1 if param.type.max is not None else 1 << 64)
    return "text"


_HEAD = '''\
"""The table of the strict parser{what}. Made by completions/generate; do not edit.{text}"""
# fmt: off

from __future__ import annotations

{functions}

TYPE_CHECKING = False
if TYPE_CHECKING:
'''

_TEXT = """

Of each command: the function that runs it, the class of its options, its operands (parameter, kind, whether it must be
there) and its flags. A flag has a parameter and takes what its kind says: True or False (a switch that means this),
"text", "many" (text, repeatable), a tuple of choices, a range of integers, or what makes a value of the text. The
commands that are about records are here, the others in strict_table_others: a start reads what it needs.
"""


def strict_tables() -> dict[str, str]:
    """The texts of cli/strict_table.py and cli/strict_table_others.py, by their names."""
    commands = read_commands()
    globals_ = read_global_options()
    about_records = ("record_args:", "read_args:")
    record_commands = [command for command in commands if command.declaration.startswith(about_records)]
    others = [command for command in commands if command not in record_commands]
    first = [
        _HEAD.format(what="", text=_TEXT, functions=_functions(record_commands, globals_))
        + "    from collections.abc import Callable",
        "    from typing import Any",
        "",
        "    Kind = bool | str | tuple[str, ...] | range | Callable[[str], object]",
        "    Flags = dict[str, tuple[str, Kind]]",
        "    Command = tuple[str, str, tuple[tuple[str, Kind, bool], ...], Flags]",
        "",
        "U64 = range(1 << 64)",
        "",
        "GLOBAL: Flags = {",
        *_flag_lines(globals_, "    "),
        "}",
        "",
        f"GROUPS = {tuple(command_tree.GROUPS)!r}".replace("'", '"'),
        "",
        *_command_lines(record_commands),
        "",
        "# Class of the options -> what the command line that resumes repeats: flag, parameter, what writes the value.",
        "IN_RESUME_COMMAND: dict[str, tuple[tuple[str, str, Callable[[Any], str]], ...]] = {",
        *_resume_lines(record_commands),
        "}",
    ]
    second = [
        _HEAD.format(what=": what is not about records", text="", functions=_functions(others, ()))
        + "    from s2cli.cli.strict_table import Command, Flags",
        "",
        "U64 = range(1 << 64)",
        "",
        *_command_lines(others),
    ]
    return {"cli/strict_table.py": "\n".join(first) + "\n", "cli/strict_table_others.py": "\n".join(second) + "\n"}


def _resume_lines(commands: list[Command]) -> list[str]:
    lines: list[str] = []
    for declaration in dict.fromkeys(command.declaration for command in commands):
        command = next(command for command in commands if command.declaration == declaration)
        repeated = [option for option in command.options if option.in_resume_command]
        entries = [f'("{max(o.flags, key=len)}", "{o.parameter}", {o.written.__name__}),' for o in repeated]
        if entries:
            lines += [f'    "{declaration.partition(":")[2]}": (', *(" " * 8 + entry for entry in entries), "    ),"]
    return lines


def _functions(commands: list[Command], more: tuple[Option, ...]) -> str:
    """The import of those that make values of texts, and texts of values."""
    options = [*more, *(option for command in commands for option in command.options)]
    parsers = {option.kind.__name__ for option in options if callable(option.kind)}
    names = sorted(parsers | {option.written.__name__ for option in options if option.written is not str})
    line = f"from s2cli.values import {', '.join(names)}"
    return line if len(line) <= 120 else "\n".join(["from s2cli.values import (", *(f"    {n}," for n in names), ")"])


def _command_lines(commands: list[Command]) -> list[str]:
    """The table, and before it the flags of each class that declares some."""
    groups: dict[tuple[Option, ...], str] = {}
    group_lines: list[str] = []
    lines = ["COMMANDS: dict[str, Command] = {"]
    first: dict[str, str] = {}
    same: list[str] = []
    for command in commands:
        if command.declaration in first:
            same.append(f'COMMANDS["{command.name}"] = COMMANDS["{first[command.declaration]}"]')
            continue
        first[command.declaration] = command.name
        names = []
        for owner in dict.fromkeys(option.owner for option in command.options):
            group = tuple(option for option in command.options if option.owner == owner)
            if group not in groups:
                name = "".join("_" + letter if letter.isupper() else letter.upper() for letter in owner)[1:]
                name = name.removesuffix("_ARGS")
                groups[group] = name + ("" if name not in groups.values() else "_PART")
                group_lines += [f"{groups[group]}: Flags = {{", *_flag_lines(group, "    "), "}"]
            names.append(groups[group])
        operands = [f'("{o.parameter}", {_source(o.kind)}, {o.required}),' for o in command.operands]
        flags = names[0] if len(names) == 1 else "{" + ", ".join(f"**{name}" for name in names) + "}"
        lines.append(f'    "{command.name}": ("{command.function}", "{command.declaration}",')
        rest = f"({' '.join(operands)}), {flags}),"
        lines += [" " * 8 + line for line in ([rest] if len(rest) < 112 else ["(", *operands, f"), {flags}),"])]
    return [*group_lines, "", *lines, "}", *same]


def _flag_lines(options: tuple[Option, ...], indent: str) -> list[str]:
    """A line for each option, with all its flags as far as they fit."""
    lines: list[str] = []
    for option in options:
        entries = [f'"{flag}": ("{option.parameter}", {_source(option.kind)}),' for flag in option.flags]
        line = indent + " ".join(entries)
        lines += [line] if len(line) <= 120 else [indent + entry for entry in entries]
    return lines


def _source(kind: Kind) -> str:
    if callable(kind):
        return kind.__name__
    if isinstance(kind, range):
        return "U64" if kind == range(1 << 64) else f"range({kind.start or ''}{', ' if kind.start else ''}{kind.stop})"
    return repr(kind).replace("'", '"')
