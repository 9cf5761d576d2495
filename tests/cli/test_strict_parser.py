"""The strict parser and typer understand a command line alike; where the strict one is not sure, typer has the word."""

import importlib
import inspect
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cli.cli import (
    args,
    command_tree,
    option_table,
    shared_options,
    strict_parser,
    strict_table,
    strict_table_others,
    typer_app,
)
from s2cli.client import transports
from s2cli.commands import metrics
from s2cli.config import files
from s2cli.errors import UsageError
from s2cli.server.api import metric_handlers
from s2cli.wire import configs

pytestmark = pytest.mark.usefixtures("commands_built_once")

ROOT = Path(__file__).parents[2]
COMMANDS = strict_table.COMMANDS | strict_table_others.COMMANDS

# Command lines that people type every day: none of them may cost the start of typer.
GOLDEN = """
append s2://b/s
append --create s2://b/s
--local append --create s2://quickstart/numbers
append --local --create s2://quickstart/numbers
append s2://b/s --create --local -q
append -i file.txt s2://b/s
append -i - s2://b/s
append -m5 -f token s2://b/s
append --match-seq-num=5 --fencing-token= s2://b/s
append --linger 5ms --inflight 8MiB --format json s2://b/s
append -H a=b -H c=d s2://b/s -o json
append -0 --on-lost-ack stop --max-outage 5s s2://b/s
append s2://b/s --raw a.jpg b.jpg
append --delimiter ; --timestamp-from time --on-error bad.log --rate 500/s s2://b/s
append --dry-run s2://b/s -o json
append s2://b/s --follow-file app.log --state app
records append s2://b/s
copy s2://b/s s2://c/s --create --grep E --grep-not x -H a=b --jq .a -f
read s2://b/s
read s2://b/s --from -5
read s2://b/s --from=-5
read s2://b/s --from 0
read --follow s2://b/s --from end
read -f s2://b/s
read -fn5 s2://b/s
read -n 5 s2://b/s -o json
read s2://b/s --seq-num 0 --count 100 --format text
read s2://b/s --ago 5m --until 1700000000000 --bytes 100 --clamp
read s2://b/s --to 2026-01-31T12:00:00Z --from @1700000000
read s2://b/s -t %o:%v -O out.txt
read s2://b/s --grep error --grep-not x -H a=b --header c=d --jq .body --speed 10x
read s2://b/s --raw
read s2://b/s --delimiter=, --skip-damaged
tail --parse-json -o jsonl s2://b/s
read -- s2://b/s
read
--profile x read --timeout 5s
tail s2://b/s
tail -f -n 0 s2://b/s
tail -fn0 s2://b/s
tail -H -5 s2://b/s
tail -n5 -o json-base64 s2://b/s -O out.json
check-tail s2://b/s
check-tail -q --local s2://b/s
trim s2://b/s 5
trim 5
fence s2://b/s token -f old
fence s2://b/s token --color never
create s2://b/s --retention-policy 7d
create s2://basin --create-stream-on-append
append s2://b/s --timestamping-mode arrival --delete-on-empty-min-age 1h
read s2://b/s --retention-policy 7d
ensure s2://b/s --retention-policy 7d --unset timestamping-mode --unset storage-class
basins ensure my-basin --location aws:us-east-1 -o json
basins reconfigure my-basin --no-create-stream-on-append --unset stream-cipher
streams ensure s2://b/s
streams reconfigure s2://b/s --timestamping-uncapped true --request-token t
tokens issue t --basins-prefix= --streams-exact==s --op-group-perms account=r,stream=rw --ops append --expires-in 1d
tokens list -o name
tokens revoke t
metrics account active-basins
metrics basin my-basin storage --from 1h --to now -o json
metrics stream s2://b/s storage --interval minute
locations list
locations get-default
locations set-default aws:us-east-1
issue-access-token t --basins-exact b --ops list_streams,read --auto-prefix-streams
list-access-tokens -p a -s b -n 5 --no-auto-paginate
get-account-metrics active-basins --start-timestamp 5 --end-ago 0s
get-basin-metrics my-basin append-ops --start-ago 1d --end-timestamp 1700000000 --interval hour
reconfigure-basin my-basin --create-stream-on-append true
reconfigure-stream s2://b/s --storage-class express
set-default-location aws:us-east-1
basins list
basins list -o json -n 5 --prefix a
--local basins list
basins --local list
basins delete -y my-basin
streams list my-basin
list-basins
ls
lite
lite --data d --port 0
lite status
completion bash
bench b -b 100 -t 5 -d 10s -w 0s -c express
bench s2://b/s --max --streams 3 --writers 2 --readers 0 --compare old.json --tolerance 5 -o json
""".strip().splitlines()

# What typer has to explain, or what only it knows.
UNSURE = """
--help
--version
append --help
read -h
read --folow
read --fol
read -n five
read -n -5
read -n 99999999999999999999999
read -f -f
read -o
read --from --to
read --count=
append --format yaml
append --rate fast
append --on-lost-ack never
append --create=yes
basins
basins get
basins lst
unknown
lite --port 70000
lite sttus
basins list -n 0
read --count 1 --count 1
--timeout 3s read s2://b/s --timeout 3s
reconfigure-basin my-basin --create-stream-on-append
metrics basin my-basin nothing
tokens issue
completion
completion powershell
""".strip().splitlines()


@pytest.mark.parametrize("line", GOLDEN)
def test_golden_command_lines_need_no_typer(line):
    words = line.split()
    sure = strict_parser.parse(words)
    assert sure is not None
    function, declaration, name, raw = sure
    assert command_tree.COMMANDS[name][:2] == (function, declaration)
    meant = args.resolve(declaration, name, raw)
    by_typer = typer_app.run(words)
    assert (type(meant), vars(meant)) == (type(by_typer), vars(by_typer))


def readme_command_lines() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = "\n".join(blocks).replace("\\\n", " ")
    found = re.findall(r"(?:^|[|&;/(] ?)s2 ((?:'[^']*'|[^|&;#>'\n])*)", script, re.MULTILINE)
    return [shlex.split(line) for line in found]


def test_command_lines_of_the_readme_need_no_typer():
    lines = [words for words in readme_command_lines() if words != ["--version"]]
    assert len(lines) > 20
    assert [words for words in lines if strict_parser.parse(words) is None] == []


@pytest.mark.parametrize("line", UNSURE)
def test_what_needs_an_explanation_goes_to_typer(line):
    assert strict_parser.parse(line.split()) is None


def test_generated_files_are_those_that_the_declarations_make():
    done = subprocess.run([sys.executable, ROOT / "completions/generate", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "run completions/generate"


@pytest.mark.parametrize("name", command_tree.COMMANDS)
def test_every_parameter_has_its_attribute_with_its_type_and_default(name):
    declared = args.declared_class(command_tree.COMMANDS[name][1])
    types = {}
    for owner in reversed(declared.__mro__[:-1]):
        types |= inspect.get_annotations(owner, locals=vars(shared_options), eval_str=True)
    for param in typer_app.build_command(name).params:
        kind, declared_type = option_table.kind_of(param), types[param.name]
        if not param.required:
            default = getattr(declared, param.name)
            assert fits(default, declared_type), param.name
            assert (param.default or None) == (default or None), param.name  # for () and False typer may have None
        if callable(kind):
            assert typing.get_type_hints(kind)["return"] in typing.get_args(declared_type.__origin__ | None), param.name
        elif getattr(param, "is_flag", False):
            assert fits(True, declared_type), param.name
        else:
            values = kind if isinstance(kind, tuple) else [7 if isinstance(kind, range) else EXAMPLES[kind]]
            assert all(fits(value, declared_type) for value in values), param.name


EXAMPLES = {"text": "a", "many": ("a", "b")}


def fits(value: object, declared: object) -> bool:
    """Whether the value is of the type, an Annotated one of plain types, Literals and tuples."""
    if hasattr(declared, "__metadata__"):
        declared = declared.__origin__
    if typing.get_origin(declared) is typing.Literal:
        return value in typing.get_args(declared)
    if typing.get_origin(declared) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if typing.get_args(declared):
        return any(fits(value, option) for option in typing.get_args(declared))
    return type(value) is declared


@pytest.mark.parametrize("name", command_tree.COMMANDS)
def test_what_runs_a_command_takes_the_class_that_declares_it(name):
    function, declaration, _ = command_tree.COMMANDS[name]
    module, _, attribute = function.partition(":")
    taken = inspect.signature(getattr(importlib.import_module(f"s2cli.commands.{module}"), attribute)).parameters[
        "args"
    ]
    bases = {base.__name__ for base in args.declared_class(declaration).__mro__}
    # The annotation is a text: its names are imported for type checking alone.
    assert bases & {kind.strip().rpartition(".")[2] for kind in taken.annotation.split("|")}, taken.annotation


def test_every_choice_is_one_that_the_wire_and_the_commands_know():
    choices = {}
    for command in option_table.read_commands():
        for entry in (*command.operands, *command.options):
            if isinstance(entry.kind, tuple):
                choices.setdefault((command.name, entry.parameter), entry.kind)
    choice = {parameter: kind for (_, parameter), kind in choices.items()}
    assert set(choice["timestamping_mode"]) == set(configs.TIMESTAMPING_MODES)
    assert set(choice["stream_cipher"]) == set(configs.STREAM_CIPHERS)
    assert set(choice["compression"]) == set(files.COMPRESSIONS)
    assert set(choice["interval"]) == set(metric_handlers.INTERVALS)
    for kind, sets in metrics.SETS.items():
        for command in (f"metrics {kind}", f"get-{kind}-metrics"):
            assert set(choices[command, "metric"]) == set(sets)
    transports_there_are = {transports.AUTO, transports.S2S, transports.SSE, transports.UNARY}
    assert set(choices["read", "transport"]) == set(choices["tail", "transport"]) == transports_there_are
    assert set(choices["append", "transport"]) == transports_there_are - {transports.SSE}


def test_no_letter_has_two_meanings_in_what_is_advertised():
    meanings: dict[str, set[str]] = {}
    for command in option_table.read_commands():
        for option in command.options:
            for flag in typer_app.shown_flags(option.parameter, option.flags):
                if len(flag) == 2:
                    meanings.setdefault(flag, set()).add(option.parameter)
    # -n is how many, of whatever there is.
    assert {flag: names for flag, names in meanings.items() if len(names) > 1} == {"-n": {"count", "lines", "limit"}}


def test_letters_of_the_official_tool_are_taken():
    for line, parameter in [
        ("append s2://b/s -f t", "fencing_token"),
        ("trim s2://b/s 5 -f t", "fencing_token"),
        ("read s2://b/s -s 5", "seq_num"),
        ("read s2://b/s -b 5", "bytes"),
        ("list-streams b -s x", "start_after"),
    ]:
        assert parameter in strict_parser.parse(line.split())[3]


# --- both parsers, on anything


TEXTS = ["5", "-", "json", "s2://my-basin/s", "my-basin", "", "a=b", "7d", "x.y", "5m ago", "é", " ", "true", "=", "-5"]
ODD = ["--", "--local", "1" * 25, "007", "-n5", "--help", "-qv", "text", "65536"]


def option_words(flag: str, kind: option_table.Kind) -> st.SearchStrategy[list[str]]:
    """The flag with a value, mostly one that fits."""
    if isinstance(kind, bool):
        return st.sampled_from([[flag]] * 6 + [[flag + "=x"], [flag + "q"]])
    fitting = st.sampled_from(TEXTS)
    if isinstance(kind, tuple):
        fitting = st.sampled_from(kind)
    elif callable(kind):
        fitting = st.sampled_from(["5s", "0", "true", "json", "", "1KiB", "raw", "x", "-1"])
    elif isinstance(kind, range):
        fitting = st.integers(max(0, kind.start - 1), 70_000).map(str)
    values = st.integers(0, 9).flatmap(lambda dice: fitting if dice else st.sampled_from(TEXTS + ODD))
    equals = "=" if flag.startswith("--") else ""
    return st.tuples(values, st.booleans()).map(
        lambda drawn: [flag + equals + drawn[0]] if drawn[1] else [flag, drawn[0]]
    )


def words_of(command: str) -> st.SearchStrategy[list[str]]:
    _, _, operands, flags = COMMANDS[command]

    def options(table: dict, size: int) -> st.SearchStrategy[list[list[str]]]:
        if not table:
            return st.just([])
        names = st.lists(st.sampled_from(sorted(table)), max_size=size, unique_by=lambda flag: table[flag][0])
        return names.flatmap(lambda drawn: st.tuples(*(option_words(flag, table[flag][1]) for flag in drawn)))

    def operand(kind: option_table.Kind) -> st.SearchStrategy[str]:
        return st.sampled_from(
            kind if isinstance(kind, tuple) else ["s2://my-basin/s", "my-basin", "5", "-", "", "a b"]
        )

    wanted = st.tuples(*(operand(kind) for _, kind, _ in operands)).flatmap(
        lambda drawn: st.sampled_from([drawn, drawn, drawn, drawn[:1], (), (*drawn, "more")])
    )
    noise = st.sampled_from([[]] * 12 + [["--"], ["--nothing"], ["-5"], ["--help"], ["-qv"]])

    def build(before, after, written, odd, at):
        pieces = [*after, [*written]] if at % 2 else [*after[:1], [*written], *after[1:]]
        pieces.insert(at % (len(pieces) + 1), odd)
        return [word for piece in (*before, command.split(), *pieces) for word in piece]

    return st.builds(build, options(strict_table.GLOBAL, 2), options(flags, 4), wanted, noise, st.integers(0, 5))


COMMAND_LINES = st.sampled_from(sorted(COMMANDS)).flatmap(words_of)


def outcome(function):
    try:
        return vars(function())
    except UsageError as error:
        return error.message, error.hint


@settings(max_examples=2500, deadline=None)
@given(COMMAND_LINES)
def test_what_the_strict_parser_is_sure_of_typer_understands_alike(words):
    sure = strict_parser.parse(words)
    if sure is None:
        return
    _, declaration, name, raw = sure
    assert outcome(lambda: args.resolve(declaration, name, raw)) == outcome(lambda: typer_app.run(words))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text(max_size=6), max_size=6))
def test_the_strict_parser_takes_any_words(words):
    strict_parser.parse(words)


def test_the_strict_parser_is_sure_of_what_it_should_be():
    """The property above says nothing where everything is unsure."""
    sure = 0

    @settings(max_examples=500, deadline=None, database=None)
    @given(COMMAND_LINES)
    def count(words):
        nonlocal sure
        sure += strict_parser.parse(words) is not None

    count()
    assert sure > 150
