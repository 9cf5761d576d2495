"""The grammar of all commands as data, taken from the typer commands, for what is generated from it.

Used by completions/generate and by `s2 completion`, never on the way of another command.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from s2cli.cli import command_tree, typer_app

# What an option or operand takes: True or False (a switch that means this), "text", "many" (text, repeatable),
# a tuple of choices, a range of integers.
Kind = bool | str | tuple[str, ...] | range


class Option(NamedTuple):
    flags: tuple[str, ...]
    parameter: str
    kind: Kind
    metavar: str
    help: str
    hidden: bool


class Operand(NamedTuple):
    parameter: str
    kind: Kind
    required: bool
    metavar: str
    help: str


class Command(NamedTuple):
    name: str
    module: str
    help: str
    operands: tuple[Operand, ...]
    options: tuple[Option, ...]  # without the global ones


def read_commands() -> list[Command]:
    """Every command, the hidden ones too (their help is empty)."""
    return [_read_command(name) for name in command_tree.COMMANDS]


def read_global_options() -> tuple[Option, ...]:
    """What every command has beside its own options, but for help and version."""
    params = typer_app.build_group(typer_app.PROGRAM).params
    return tuple(option for param in params if param.name != "version" for option in _read_options(param))


def _read_command(name: str) -> Command:
    module, _, line = command_tree.COMMANDS[name]
    command = typer_app.build_command(name)
    globals_ = {option.parameter for option in read_global_options()}
    own = [param for param in command.params if param.name not in globals_]
    return Command(
        name=name,
        module=module,
        help=line,
        operands=tuple(_read_operand(param) for param in own if param.param_type_name == "argument"),
        options=tuple(option for param in own if param.param_type_name == "option" for option in _read_options(param)),
    )


def _read_operand(param: Any) -> Operand:
    return Operand(param.name, _kind(param), param.required, param.metavar or param.name.upper(), param.help or "")


def _read_options(param: Any) -> list[Option]:
    """One for a parameter, and one more for the negative form of a switch."""
    kind: Kind = True if param.is_flag else _kind(param)
    options = [Option(tuple(param.opts), param.name, kind, param.metavar or "", param.help or "", param.hidden)]
    if param.secondary_opts:
        options.append(Option(tuple(param.secondary_opts), param.name, False, "", f"Not: {param.help}", param.hidden))
    return options


def _kind(param: Any) -> Kind:
    if getattr(param, "multiple", False) or param.nargs == -1:
        return "many"
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        return tuple(str(choice) for choice in choices)
    if hasattr(param.type, "min"):
        return range(param.type.min, param.type.max + 1 if param.type.max is not None else 1 << 64)
    return "text"


_HEAD = '''\
"""The table of the strict parser{what}. Made by completions/generate; do not edit.{text}"""
# fmt: off

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
'''

_FIRST = _HEAD.format(
    what="",
    text="""

From s2cli/declared: the flags of each command with their parameter and what they take: True or False (a switch that
means this), "text", "many" (text, repeatable), a tuple of choices, a range of integers. Operands: parameter, kind,
whether it must be there. The commands that are about records stand here, the others in strict_table_others: a start
reads what it needs.
""",
)


def strict_tables() -> dict[str, str]:
    """The texts of cli/strict_table.py and cli/strict_table_others.py, by their names."""
    commands = read_commands()
    record_commands = [
        command for command in commands if command_tree.COMMANDS[command.name][1].startswith("record_commands:")
    ]
    first = [
        _FIRST + "    Kind = bool | str | tuple[str, ...] | range",
        "    Flags = dict[str, tuple[str, Kind]]",
        "    Operands = tuple[tuple[str, Kind, bool], ...]",
        "",
        "U64 = range(1 << 64)",
        "",
        "GLOBAL: Flags = {",
        *_flag_lines(read_global_options(), "    "),
        "}",
        "",
        f"GROUPS = {tuple(command_tree.GROUPS)!r}".replace("'", '"'),
        "",
        *_command_lines(record_commands),
    ]
    others = [
        _HEAD.format(what=": what is not about records", text="")
        + "    from s2cli.cli.strict_table import Flags, Operands",
        "",
        "U64 = range(1 << 64)",
        "",
        *_command_lines([command for command in commands if command not in record_commands]),
    ]
    return {"cli/strict_table.py": "\n".join(first) + "\n", "cli/strict_table_others.py": "\n".join(others) + "\n"}


def _command_lines(commands: list[Command]) -> list[str]:
    lines = ["COMMANDS: dict[str, tuple[str, Operands, Flags]] = {"]
    by_declaration: dict[str, str] = {}
    same: list[str] = []
    for command in commands:
        _, declaration, _ = command_tree.COMMANDS[command.name]
        if declaration in by_declaration:
            same.append(f'COMMANDS["{command.name}"] = COMMANDS["{by_declaration[declaration]}"]')
            continue
        by_declaration[declaration] = command.name
        operands = [f'("{o.parameter}", {_source(o.kind)}, {o.required}),' for o in command.operands]
        head = f'    "{command.name}": ("{command.module}", ({" ".join(operands)}), {{'
        if len(head) > 120:
            head = (
                f'    "{command.name}": ("{command.module}", (\n'
                + "".join(f"        {o}\n" for o in operands)
                + "    ), {"
            )
        lines.append(head)
        lines += _flag_lines(command.options, "        ")
        lines.append("    }),")
    return [*lines, "}", *same]


def _flag_lines(options: tuple[Option, ...], indent: str) -> list[str]:
    """A line for each option, with all its flags as far as they fit."""
    lines: list[str] = []
    for option in options:
        entries = [f'"{flag}": ("{option.parameter}", {_source(option.kind)}),' for flag in option.flags]
        line = indent + " ".join(entries)
        lines += [line] if len(line) <= 120 else [indent + entry for entry in entries]
    return lines


def _source(kind: Kind) -> str:
    if isinstance(kind, range):
        return "U64" if kind == range(1 << 64) else f"range({kind.start or ''}{', ' if kind.start else ''}{kind.stop})"
    return repr(kind).replace("'", '"')
