"""The strict parser of the command line: what it is sure about needs no typer, which costs a start 35 ms.

It knows the flags of strict_table and strict_table_others (made from the classes that args.py explains) and simple
values. Anything else is "not sure": an unknown or repeated flag, help, a bad value, a missing operand. Then typer has
the word, and the real message.
"""

from __future__ import annotations

from s2cli.cli.strict_table import COMMANDS, GLOBAL, GROUPS
from s2cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.strict_table import Command, Kind


def parse(argv: list[str]) -> tuple[str, str, str, dict[str, object]] | None:
    """The function to run, the class of the options, the full name of the command, and what was written by parameter
    name. None: not sure."""
    raw: dict[str, object] = {}
    name = ""
    function = declaration = ""
    options = GLOBAL
    operands: tuple[tuple[str, Kind, bool], ...] = ()
    found = 0
    only_operands = False
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if only_operands or word == "-" or word[:1] != "-":
            if not function:
                name = f"{name} {word}" if name else word
                command = COMMANDS.get(name)
                if command is None and name not in GROUPS:
                    command = _other_command(name)
                    if command is None:
                        return None
                if command is not None:
                    function, declaration, operands, options = command
            elif found == len(operands) or not _fits(word, operands[found][1]):
                return None
            elif operands[found][1] == "many":  # the last one
                _add(raw, operands[found][0], "many", word)
            else:
                raw[operands[found][0]] = word
                found += 1
            continue
        if word == "--":
            if not function:
                return None
            only_operands = True
            continue
        # One long option, or short ones in a row: -qn5.
        option, equals, value = word.partition("=") if word[1] == "-" else (word[:2], "", word[2:])
        while True:
            entry = options.get(option) or GLOBAL.get(option)
            if entry is None:
                return None
            parameter, kind = entry
            if isinstance(kind, bool):
                if equals or parameter in raw:
                    return None
                raw[parameter] = kind
                if not value:
                    break
                option, value = "-" + value[0], value[1:]
                continue
            if not (equals or value):
                if at == len(argv):
                    return None
                value = argv[at]
                at += 1
                if value[:1] == "-" and value != "-" and not value[1:].isdigit():
                    return None
            if not _fits(value, kind) or not _add(raw, parameter, kind, value):
                return None
            break
    if not function or any(required for _, _, required in operands[found:]):
        return None
    return function, declaration, name, raw


def _other_command(name: str) -> Command | None:
    """One that is not about records: their table costs the start of an append nothing."""
    from s2cli.cli.strict_table_others import COMMANDS as others

    return others.get(name)


def _fits(value: str, kind: Kind) -> bool:
    if isinstance(kind, range):
        return value.isascii() and value.isdigit() and len(value) <= 20 and int(value) in kind
    return not isinstance(kind, tuple) or value in kind


def _add(raw: dict[str, object], parameter: str, kind: Kind, value: str) -> bool:
    if kind == "many":
        before = raw.get(parameter, ())
        assert isinstance(before, tuple)
        raw[parameter] = (*before, value)
        return True
    if parameter in raw:
        return False
    if callable(kind):
        try:
            raw[parameter] = kind(value)
        except UsageError:
            return False
    else:
        raw[parameter] = int(value) if isinstance(kind, range) else value
    return True
