"""An option that takes one value and is given twice: an error that names it, in every command and by both parsers."""

import pytest

from s2cli import values
from s2cli.cli import command_tree, option_table, strict_parser, typer_app
from s2cli.errors import UsageError

pytestmark = pytest.mark.usefixtures("commands_built_once")

VALUES = {
    "text": ["1s", "2s"],
    "many": ["a=1", "b=2"],
    values.parse_seconds: ["1s", "2s"],
    values.parse_duration_ms: ["1s", "2s"],
    values.parse_size_bytes: ["1KiB", "2KiB"],
    values.parse_bool: ["true", "false"],
    values.parse_delimiter: [";", r"\r\n"],
    values.parse_rate: ["5/s", "2MiB/s"],
    values.parse_record_format: ["json", "text"],
    values.parse_print_format: ["json", "pretty"],
    values.parse_speed: ["2x", "max"],
}


def values_of(kind):
    """Two values that the option takes."""
    if isinstance(kind, tuple):
        return [kind[0], kind[-1]]
    return [str(kind.start + 1), str(kind.start + 2)] if isinstance(kind, range) else VALUES[kind]


def operands_of(command):
    return [values_of(operand.kind)[0] for operand in command.operands if operand.required]


def taking_values(options):
    """Each option with its flags, the forms of a switch that has a negative one among them."""
    found: dict[str, list[option_table.Option]] = {}
    for option in options:
        found.setdefault(option.parameter, []).append(option)
    for parameter, forms in found.items():
        if not isinstance(forms[0].kind, bool) or len(forms) > 1:
            yield parameter, forms


def spellings(forms):
    """Words that give the option one value, in every spelling there is, with its first or its second value."""
    for option in forms:
        for flag in option.flags:
            if isinstance(option.kind, bool):
                yield [flag], [flag]
                continue
            first, second = values_of(option.kind)
            yield [flag, first], [flag, second]
            if flag.startswith("--"):
                yield [f"{flag}={first}"], [f"{flag}={second}"]


def pairs(forms):
    once = list(spellings(forms))
    return [(once[0][0], once[at % len(once)][1]) for at in range(max(2, len(once)))]


GLOBAL = list(taking_values(option_table.read_global_options()))
COMMANDS = {command.name: command for command in option_table.read_commands()}


def assert_refused(words, forms):
    assert strict_parser.parse(words) is None, words
    with pytest.raises(UsageError) as caught:
        typer_app.run(words)
    flags = [flag for option in forms for flag in option.flags]
    option, _, rest = caught.value.message.partition(" ")
    assert (option in flags, rest) == (True, "given twice"), (words, caught.value.message)


@pytest.mark.parametrize("name", sorted(command_tree.COMMANDS))
def test_every_option_is_taken_once(name):
    command = COMMANDS[name]
    checked = 0
    for _, forms in [*taking_values(command.options), *GLOBAL]:
        for first, second in pairs(forms):
            words = [*name.split(), *first, *operands_of(command), *second]
            if forms[0].kind == "many":
                raw = strict_parser.parse(words)[3]
                assert len(raw[forms[0].parameter]) == 2
            else:
                assert_refused(words, forms)
            checked += 1
    assert checked >= len(GLOBAL)


@pytest.mark.parametrize("name", sorted(command_tree.COMMANDS))
def test_nor_once_before_the_command_and_once_behind_it(name):
    for _, forms in GLOBAL:
        for first, second in pairs(forms):
            assert_refused([*first, *name.split(), *operands_of(COMMANDS[name]), *second], forms)
            if " " in name:
                group, verb = name.split()
                assert_refused([group, *first, verb, *operands_of(COMMANDS[name]), *second], forms)


def test_a_switch_may_be_repeated():
    assert typer_app.run(["append", "--create", "-v", "--create", "-v"]).create


def test_help_explains_whatever_stands_beside_it(capfd):
    assert typer_app.run(["read", "-n", "1", "-n", "2", "--help"]) is None
    assert b"Usage: s2 read" in capfd.readouterr().out.encode()


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["read", "s2://my-basin/s", "--count", "1", "-n", "2"], "--count"),
        (["create-stream", "s2://my-basin/s", "--storage-class", "a", "--storage-class", "b"], "--storage-class"),
    ],
)
def test_as_it_is_typed(run_s2, words, option):
    result = run_s2(*words)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(f"error: {option} given twice\n".encode())
