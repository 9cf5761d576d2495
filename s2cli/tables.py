"""The grammar of all commands as data, taken from the typer commands; fasttable.py and the completions are made of it.

Used by completions/generate and by `s2 completion`, never on the way of another command.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from s2cli import cli, root

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
    return [_read_command(name) for name in root.COMMANDS]


def read_global_options() -> tuple[Option, ...]:
    """What every command has beside its own options, but for help and version."""
    params = cli.build_group(cli.PROGRAM).params
    return tuple(option for param in params if param.name != "version" for option in _read_options(param))


def _read_command(name: str) -> Command:
    module, _, line = root.COMMANDS[name]
    command = cli.build_command(name)
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
    if getattr(param, "multiple", False):
        return "many"
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        return tuple(str(choice) for choice in choices)
    if hasattr(param.type, "min"):
        return range(param.type.min, param.type.max + 1 if param.type.max is not None else 1 << 64)
    return "text"


_HEAD = '''\
"""The table of the strict parser. Made by completions/generate from s2cli/declared; do not edit.

Flags of each command with their parameter and what they take: True or False (a switch that means this), "text",
"many" (text, repeatable), a tuple of choices, a range of integers. Operands: parameter, kind, whether it must be there.
"""
# fmt: off

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Kind = bool | str | tuple[str, ...] | range
    Flags = dict[str, tuple[str, Kind]]
    Operands = tuple[tuple[str, Kind, bool], ...]

U64 = range(1 << 64)
'''


def fast_table() -> str:
    """The text of fasttable.py."""
    lines = [_HEAD.rstrip("\n"), ""]
    lines += ["GLOBAL: Flags = {", *_flag_lines(read_global_options(), "    "), "}", ""]
    lines += [f"GROUPS = {tuple(root.GROUPS)!r}".replace("'", '"'), ""]
    lines += ["COMMANDS: dict[str, tuple[str, Operands, Flags]] = {"]
    by_declaration: dict[str, str] = {}
    same: list[str] = []
    for command in read_commands():
        _, declaration, _ = root.COMMANDS[command.name]
        if declaration in by_declaration:
            same.append(f'COMMANDS["{command.name}"] = COMMANDS["{by_declaration[declaration]}"]')
            continue
        by_declaration[declaration] = command.name
        operands = "".join(f'("{o.parameter}", {_source(o.kind)}, {o.required}), ' for o in command.operands).rstrip(
            " "
        )
        lines.append(f'    "{command.name}": ("{command.module}", ({operands}), {{')
        lines += _flag_lines(command.options, "        ")
        lines.append("    }),")
    return "\n".join([*lines, "}", *same]) + "\n"


def _flag_lines(options: tuple[Option, ...], indent: str) -> list[str]:
    return [
        f'{indent}"{flag}": ("{option.parameter}", {_source(option.kind)}),'
        for option in options
        for flag in option.flags
    ]


def _source(kind: Kind) -> str:
    if isinstance(kind, range):
        return "U64" if kind == range(1 << 64) else f"range({kind.start or ''}{', ' if kind.start else ''}{kind.stop})"
    return repr(kind).replace("'", '"')
