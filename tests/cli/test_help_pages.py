"""Help and the version: what they say, and how they look in a pipe and on a terminal."""

import inspect
import os
import pty
import re
import select
import shlex
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S

from s2cli import __version__
from s2cli.cli import command_tree, option_table, typer_app
from s2cli.errors import ExitCode

TOPICS = ("commands", "options", "environment", "exit-codes", "formats")
SHOWN = [name for name, (_, _, line) in command_tree.COMMANDS.items() if line]
FOR_PEOPLE = re.compile(r"\x1b|[─-╿]")  # escape sequences, and the characters that boxes are made of


def test_no_arguments_print_short_help_and_succeed(run_s2):
    done = run_s2()
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) < 10
    assert done.stdout.count(b"s2 --local") == 2


@pytest.mark.parametrize("topic", ["exit-codes", "read"])
@pytest.mark.parametrize("options", [["--local"], ["--profile", "local"], ["--profile=help", "-v"]])
def test_options_of_every_command_stand_before_or_behind_help_and_its_topic(run_s2, topic, options):
    alone = run_s2("help", topic)
    assert alone.returncode == 0
    for words in ([*options, "help", topic], ["help", topic, *options], ["help", *options, topic]):
        assert run_s2(*words).stdout == alone.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["--local", "--help"]])
def test_the_overview_names_every_first_word_on_one_screen(run_s2, arguments):
    done = run_s2(*arguments)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    for name in {*(name for name in SHOWN if " " not in name), *command_tree.GROUPS} - {"records"}:
        assert re.search(rf"^  (.*, )?{name}(,|  )", text, re.MULTILINE), name
    for topic in TOPICS:
        assert re.search(rf"\b{topic}[,.]", text)
    assert not FOR_PEOPLE.search(text)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 23  # of 24: the prompt comes behind it


def test_topics_list_every_command_option_variable_code_and_format(run_s2):
    everything = {
        "commands": SHOWN,
        "options": [spelling for spelling, _ in command_tree.GLOBAL_OPTIONS.values()],
        "environment": [*command_tree.ENVIRONMENT, *command_tree.FILES],
        "exit-codes": command_tree.EXIT_CODES,
        "formats": [
            *command_tree.RECORD_FORMATS,
            *command_tree.TEMPLATE_VERBS,
            *command_tree.TEMPLATE_MODIFIERS,
            *command_tree.RESOURCE_FORMATS,
        ],
    }
    assert tuple(everything) == TOPICS
    for topic, words in everything.items():
        done = run_s2("help", topic)
        text = done.stdout.decode()
        assert (done.returncode, done.stderr) == (0, b"")
        for word in words:
            assert f"  {word}" in text
        assert not FOR_PEOPLE.search(text)
        assert max(map(len, text.splitlines())) <= 80
    assert run_s2("help", "nothing").returncode == 2


def test_every_exit_code_has_its_text():
    codes = {code for name, code in vars(ExitCode).items() if name.isupper()}
    assert {int(code) for codes in command_tree.EXIT_CODES for code in codes.split(", ")} == codes


def test_help_shows_no_hidden_command(run_s2):
    words = run_s2("--help").stdout.decode().split()
    assert "basins" in words
    assert not {name for name, (_, _, line) in command_tree.COMMANDS.items() if not line and "-" in name} & set(words)


@pytest.mark.parametrize("name", command_tree.COMMANDS)
def test_every_command_has_help_with_examples_and_all_its_options(run_s2, name):
    done = run_s2(*name.split(), "--help")
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert text.index("Usage: s2 " + name) < text.index("Examples:") < text.index("Options:")
    command = next(command for command in option_table.read_commands() if command.name == name)
    for option in command.options:
        if not option.hidden:
            assert all(flag in text for flag in typer_app.shown_flags(option.parameter, option.flags))
    assert not FOR_PEOPLE.search(text)
    assert max(map(len, text.splitlines())) <= 80
    assert run_s2("help", *name.split()).stdout == done.stdout


@pytest.mark.parametrize("group", command_tree.GROUPS)
def test_a_group_alone_lists_its_commands(run_s2, group):
    done = run_s2(group)
    assert done.returncode == 0
    for name in command_tree.COMMANDS:
        if name.startswith(group + " "):
            assert f"  {name.partition(' ')[2]} " in done.stdout.decode()
    assert run_s2(group, "--help").stdout == done.stdout


def test_examples_of_the_help_are_command_lines_that_exist():
    for name in command_tree.COMMANDS:
        page = inspect.cleandoc(typer_app.build_command(name).help)
        examples = page.partition("Examples:\n")[2].partition("\n\n")[0].replace("\\\n", "")
        assert examples.count("s2 ") >= 1, name
        for line in examples.splitlines():
            for before, command in re.findall(r"(^ *|\| |xargs -0 -n1 |<\()(?:\w+=\S+ )?s2 ([^|>)]*)", line):
                operand = ["s2://a-basin/s"] if "xargs" in before else []
                assert typer_app.run(shlex.split(command) + operand), line


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["--local", "--version"], ["-qV"]])
def test_version(run_s2, arguments):
    done = run_s2(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"s2 {__version__} (s2cli)\n".encode(), b"")


def test_closed_stdout_is_no_failure():
    for arguments in (["--help"], ["--version"], [], ["read", "--help"], ["completion", "bash"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run([sys.executable, "-m", "s2cli", *arguments], stdout=write_end, stderr=subprocess.PIPE)
        os.close(write_end)
        assert (done.returncode, done.stderr) == (0, b""), arguments


def shell(line: str) -> subprocess.CompletedProcess:
    command = line.replace("s2 ", f"{sys.executable} -m s2cli ")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=TIMEOUT_S)


def test_a_stream_that_is_not_open_at_all():
    done = shell("s2 frobnicate 2>&-")
    assert (done.returncode, done.stdout) == (2, "")
    done = shell("s2 --version >&-")
    assert (done.returncode, done.stderr) == (1, "error: cannot write to standard output: bad file descriptor\n")
    assert shell("s2 --version <&-").returncode == 0
    done = shell("s2 append s2://my-basin/s --account-endpoint http://127.0.0.1:1 <&-")
    assert (done.returncode, done.stderr) == (2, "error: standard input is closed: there is nothing to read\n")


def test_a_stdout_that_takes_no_more(tmp_path):
    done = shell(f"ulimit -f 0; s2 --help > {tmp_path}/full")
    assert (done.returncode, done.stderr) == (1, "error: cannot write to standard output: file too large\n")


def on_a_terminal(arguments, columns, environ=None):
    """What the command prints where stdout is a terminal of that width."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **(environ or {})}
    process = subprocess.Popen([sys.executable, "-m", "s2cli", *arguments], stdout=follower, env=env)
    os.close(follower)
    data = b""
    while select.select([leader], [], [], TIMEOUT_S)[0]:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        data += piece
    os.close(leader)
    assert process.wait(TIMEOUT_S) == 0
    return data.decode().replace("\r\n", "\n")


def test_help_on_a_terminal_has_bold_headings_and_its_width():
    text = on_a_terminal(["read", "--help"], 60)
    assert "\x1b[1mExamples:\x1b[0m" in text
    options = text[text.index("\x1b[1mOptions:") : text.index("`s2 help options`")]
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in options.splitlines()) <= 60
    assert "\x1b" not in on_a_terminal(["read", "--help"], 60, {"NO_COLOR": "1"})


PAGES = [
    ["--help"],
    ["read", "--help"],
    ["append", "--help"],
    ["streams"],
    ["lite", "-h"],
    *(["help", t] for t in TOPICS),
]


@pytest.mark.parametrize("arguments", PAGES, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_is_as_wide_as_the_terminal_and_loses_no_word(arguments, columns, run_s2):
    """On a narrow one in one column; command lines and single words stay whole."""
    text = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(arguments, columns))
    assert text.split() == run_s2(*arguments).stdout.decode().split()
    for line in text.splitlines():
        whole = (line.startswith("  ") and "s2 " in line) or line.startswith("Usage:")
        assert len(line) <= columns or whole or len(line.split()) == 1, line


@pytest.mark.parametrize(("columns", "width"), [("40", 40), ("200", 120), ("0", 80), ("wide", 80)])
def test_help_in_a_pipe_is_as_wide_as_columns_says(run_s2, columns, width):
    lines = run_s2("help", "environment", env={"COLUMNS": columns}).stdout.decode().splitlines()
    # Words that are too long stay whole.
    assert max(len(line) for line in lines if len(line.split()) > 1) <= width
    assert width < 80 or max(map(len, lines)) > width - 20


def test_the_options_of_every_day_come_first(run_s2):
    text = run_s2("read", "--help").stdout.decode()
    first = text[text.index("Options:") : text.index("If this creates the stream:")]
    assert re.findall(r"^  (?:-\w, )?(--[a-z-]+)", first, re.MULTILINE)[:5] == [
        "--from",
        "--to",
        "--follow",
        "--count",
        "--output",
    ]
    assert "--seq-num" not in first
    assert "--transport" not in first


def test_prose_is_not_bold_and_headings_are():
    text = on_a_terminal(["--color", "always", "lite", "--help"], 80, {"NO_COLOR": "1"})
    bold = re.findall(r"\x1b\[1m(.*?)\x1b\[0m", text)
    assert bold == ["Usage:", "Examples:", "Operands:", "Where the data is:", "Who may use it:", "Options:"]
    from s2cli.cli import help_pages

    assert "\x1b" not in help_pages.prose("This line ends in a colon:\nand goes on.\n", 80)


@pytest.mark.parametrize(
    "line",
    ["--color always --help", "read --help --color=always", "help read --color always", "streams --color always"],
)
def test_color_always_colours_help_in_a_pipe(run_s2, line):
    assert b"\x1b[1m" in run_s2(*line.split()).stdout
    assert b"\x1b" not in run_s2(*line.replace("always", "never").split(), env={"FORCE_COLOR": "1"}).stdout


def test_a_dumb_terminal_gets_no_escapes():
    for arguments in PAGES[:3]:
        assert "\x1b" not in on_a_terminal(arguments, 80, {"TERM": "dumb"})
