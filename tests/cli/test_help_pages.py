"""Help, the version, and what a wrong command line is told."""

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


POSITION = (
    '"%s" is not a position: write a sequence number, -N (N before the tail), start, end, now, 5m (ago), '
    "2026-01-31T12:00:00Z, 2026-01-31, yesterday, 10:00 or @EPOCH"
)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("frobnicate", "unrecognized subcommand 'frobnicate'", "s2 --help lists the commands"),
        ("apend s2://b/s", "unrecognized subcommand 'apend'", "did you mean s2 append?"),
        ("list-tokens", "unrecognized subcommand 'list-tokens'", "did you mean s2 tokens list?"),
        ("ensure-basin my-basin", "unrecognized subcommand 'ensure-basin'", "did you mean s2 basins ensure?"),
        ("ensure-stream", "unrecognized subcommand 'ensure-stream'", "did you mean s2 streams ensure?"),
        ("rm-token", "unrecognized subcommand 'rm-token'", "did you mean s2 tokens revoke?"),
        ("list-things", "unrecognized subcommand 'list-things'", "s2 --help lists the commands"),
        ("basins lst", "unrecognized subcommand 'basins lst'", "did you mean s2 basins list?"),
        ("token", "unrecognized subcommand 'token'", "did you mean s2 tokens?"),
        ("token list", "unrecognized subcommand 'token'", "did you mean s2 tokens list?"),
        ("basin create s2://a", "unrecognized subcommand 'basin'", "did you mean s2 basins create s2://a?"),
        (
            "--local stream rm s2://a/b",
            "unrecognized subcommand 'stream'",
            "did you mean s2 --local streams delete s2://a/b?",
        ),
        ("rm s2://b/s", "unrecognized subcommand 'rm'", "did you mean s2 delete?"),
        ("show s2://b/s", "unrecognized subcommand 'show'", "did you mean s2 get?"),
        ("issue t", "unrecognized subcommand 'issue'", "did you mean s2 tokens issue?"),
        (
            "update b",
            "unrecognized subcommand 'update'",
            "did you mean s2 basins reconfigure or s2 streams reconfigure?",
        ),
        ("cat s2://b/s", "unrecognized subcommand 'cat'", "did you mean s2 read?"),
        ("basins show", "unrecognized subcommand 'basins show'", "did you mean s2 basins get?"),
        ("basins gte", "unrecognized subcommand 'basins gte'", "did you mean s2 basins get?"),
        ("records apend", "unrecognized subcommand 'records apend'", "did you mean s2 records append?"),
        (
            "s2://b/s",
            "unrecognized subcommand 's2://b/s'",
            "a command comes first: s2 read URI prints the records of a stream",
        ),
        ("streams rm a", "unrecognized subcommand 'streams rm'", "did you mean s2 streams delete?"),
        ("tokens rm a", "unrecognized subcommand 'tokens rm'", "did you mean s2 tokens revoke?"),
        (
            "login",
            "unrecognized subcommand 'login'",
            "export S2_ACCESS_TOKEN=…, or --access-token-file FILE; s2 help environment",
        ),
        ("read --form 1", "s2 read has no option --form", "did you mean --from?"),
        ("read --count -1", "s2 read: --count: -1 is below 0", None),
        ("--color sometimes ls", '--color: "sometimes" is none of always, auto, never', None),
        ("read --folow", "s2 read has no option --folow", "did you mean --follow?"),
        ("read --fol", "s2 read has no option --fol", "did you mean --follow?"),
        ("read -X", "s2 read has no option -X", "s2 read --help shows the usage"),
        (
            "read --reverse",
            "s2 read has no option --reverse",
            "records come in the order of the stream; --from -N begins N before its end",
        ),
        ("basins list --reverse", "s2 basins list has no option --reverse", "lists are in the order of names"),
        ("tail --revers", "s2 tail has no option --revers", "s2 tail --help shows the usage"),
        ("read --json", "s2 read has no option --json", "did you mean -o json?"),
        ("streams get --json a", "s2 streams get has no option --json", "did you mean -o json?"),
        (
            "append --json",
            "s2 append has no option --json",
            "did you mean -o json for the account, --format json for the input?",
        ),
        ("read --since 5m", "s2 read has no option --since", "did you mean --from POSITION?"),
        ("read --limit 5", "s2 read has no option --limit", "did you mean -n, --count N?"),
        ("list --count 5", "s2 list has no option --count", "did you mean -n, --limit N?"),
        ("read --tail 5", "s2 read has no option --tail", "did you mean --from -N, or s2 tail?"),
        ("tail --tail 5", "s2 tail has no option --tail", "did you mean -n, --lines N?"),
        ("delete b --force", "s2 delete has no option --force", "did you mean -y, --yes?"),
        (
            "read --encryption-key=c2VjcmV0",
            "s2 read has no option --encryption-key",
            "a key does not belong in a command line: -k FILE, or export S2_ENCRYPTION_KEY=…",
        ),
        (
            "ls --token x",
            "s2 ls has no option --token",
            "a token does not belong in a command line: --access-token-file FILE, or export S2_ACCESS_TOKEN=…",
        ),
        (
            "lite --wal-bucket b",
            "s2 lite has no option --wal-bucket",
            "s2 lite keeps its data in a directory: --data DIR",
        ),
        (
            "lite --tls-self",
            "s2 lite has no option --tls-self",
            "s2 lite serves http:// alone: put a proxy for TLS before it",
        ),
        ("--colour always", "s2 has no option --colour", "did you mean --color?"),
        ("read -n five", 's2 read: --count: "five" is not a whole number', "s2 read --help shows the usage"),
        ("append --format yaml", 's2 append: --format: "yaml" is not text, json or json-base64', None),
        ("basins get", "s2 basins get: BASIN is missing", None),
        ("read a b", "s2 read: one operand too many: b", None),
        ("append -m", "s2 append: option '-m' requires an argument", None),
        (
            "append --linger soon",
            's2 append: --linger: "soon" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d',
            None,
        ),
        ("append --inflight lots", 's2 append: --inflight: "lots" is not a size: write 65536, 512KiB or 4MiB', None),
        (
            "read -o yaml",
            '--output: "yaml" is not text, jsonl, json-base64 or pretty',
            "to write to a file of that name: -O yaml",
        ),
        ("read -o json --format text", "--format text and --output json ask for two formats", None),
        ("read -o x.json -O y", "--output x.json and --output-file y name two files", None),
        ("trim s2://my-basin/s", "TRIM_POINT is missing", "s2 trim s2://BASIN/STREAM TRIM_POINT"),
        ("trim s2://my-basin/s five", 'TRIM_POINT must be a whole number, not "five"', None),
        ("trim my-basin/s 5", 'neither "my-basin/s" nor "5" is a stream: it must begin with s2://', None),
        ("fence s2://a/b s2://c/d", "two streams were given, and no NEW_TOKEN: s2://a/b and s2://c/d", None),
        ("lite start", 's2 lite: [ACTION]: "start" is none of status, stop, check, repair, backup, restore', None),
        ("completion tcsh", 's2 completion: bash|zsh|fish: "tcsh" is none of bash, zsh, fish', None),
        (
            "create my-basin/s",
            '"my-basin/s" is not a basin or stream: a stream begins with s2://, as in s2://BASIN/STREAM',
            "did you mean s2://my-basin/s?",
        ),
        (
            "read S2://my-basin/$x",
            '"S2://my-basin/$x" is not a stream: a stream begins with s2://, as in s2://BASIN/STREAM',
            "did you mean 's2://my-basin/$x'?",
        ),
        ("read http://a/b", '"http://a/b" is not a stream: a stream begins with s2://, as in s2://BASIN/STREAM', ""),
        ("list basins", "Basin name must be between 8 and 48 bytes, not 6", "did you mean s2 basins list?"),
        (
            "--local get stream s2://a/b",
            "s2 get: one operand too many: s2://a/b",
            "did you mean s2 --local streams get s2://a/b?",
        ),
        ("rm token x", "unrecognized subcommand 'rm'", "did you mean s2 tokens revoke x?"),
        (
            "list basins --access-token hunter2 -p x --key=hunter2 -khunter2 -k hunter2",
            "s2 list has no option --access-token",
            "did you mean s2 basins list --access-token … -p x --key=… -k… -k …?",
        ),
        ("read -5 s2://a/b", "s2 read has no option -5", "did you mean --from -5, or -n 5?"),
        (
            "tail -n +5 s2://a/b",
            's2 tail: --lines: "+5" is not a whole number',
            "to start at that record: s2 read --from 4; sequence numbers begin with 0",
        ),
        (
            "tail +0 s2://a/b",
            "s2 tail: one operand too many: s2://a/b",
            "to start at that record: s2 read --from 0; sequence numbers begin with 0",
        ),
        ("read -n 1_000 s2://a/b", 's2 read: --count: "1_000" is not a whole number', "s2 read --help shows the usage"),
        ("lite --port ٣", 's2 lite: --port: "٣" is not a whole number', "s2 lite --help shows the usage"),
        ("local list", "unrecognized subcommand 'local'", "it is an option: s2 --local COMMAND"),
        (
            "tokens issue x --basins-prefix y",
            "the token would allow nothing",
            "--ops read,append for some operations, --op-group-perms stream=rw for all of streams",
        ),
        ("tail 10 s2://a/b", "s2 tail: one operand too many: s2://a/b", "did you mean s2 tail -n 10 s2://a/b?"),
        ("tail -f s2://a/b 10", "s2 tail: one operand too many: 10", "did you mean s2 tail -n 10 s2://a/b?"),
        ("read s2://a/$b 5", "s2 read: one operand too many: 5", "did you mean s2 read -n 5 's2://a/$b'?"),
        (
            "create my-basin my-basin-2",
            "s2 create: one operand too many: my-basin-2",
            "one basin at a time: s2 create my-basin, then s2 create my-basin-2; or did you mean "
            "s2://my-basin/my-basin-2?",
        ),
        (
            "basins create my-basin my-basin-2",
            "s2 basins create: one operand too many: my-basin-2",
            "one basin at a time: s2 basins create my-basin, then s2 basins create my-basin-2",
        ),
        ("create AAAAAAAA BBBBBBBB", "s2 create: one operand too many: BBBBBBBB", "one basin or stream at a time"),
        ("create my-basin web", "s2 create: one operand too many: web", "did you mean s2://my-basin/web?"),
        ("read s2://my-basin a/b", "s2 read: one operand too many: a/b", "did you mean s2://my-basin/a/b?"),
        ("read s2://a/b --from -1h", "--from: " + POSITION % "-1h", "did you mean 1h? A duration is how long ago"),
        ("read s2://a/b --to=-90m", "--to: " + POSITION % "-90m", "did you mean 90m? A duration is how long ago"),
        (
            "read s2://a/b --from +5m",
            "--from: " + POSITION % "+5m",
            "nothing lies in the future: a duration is how long ago",
        ),
        ("read s2://a/b --from x", "--from: " + POSITION % "x", ""),
        (
            "read s2://a/b --ago soon",
            '--ago: "soon" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d',
            "",
        ),
        ("help env", 'no help on "env"', "did you mean s2 help environment?"),
        ("help exitcodes", 'no help on "exitcodes"', "did you mean s2 help exit-codes?"),
        ("help raed", 'no help on "raed"', "did you mean s2 help read?"),
        ("help rm", 'no help on "rm"', "did you mean s2 delete?"),
        (
            "help frobnicate",
            'no help on "frobnicate"',
            "topics: commands, options, environment, exit-codes, formats; commands: s2 --help",
        ),
        ("tail -n -5 s2://a/b", "s2 tail: --lines: -5 is below 0", "s2 tail --help shows the usage"),
        (
            "create my-basin --retention-policy forever",
            '--retention-policy: "forever" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d, or infinite',
            None,
        ),
        ("create s2://my-basin/s --location x", "--location is for basins, but s2://my-basin/s is a stream", None),
        ("basins create b", "Basin name must be between 8 and 48 bytes, not 1", None),
        ("basins list --prefix ÄÖ", "basin prefix must have at most 48 lowercase letters, numbers, and hyphens", None),
        ("streams list s2://my-basin/a -p b", "s2://my-basin/a and --prefix b name two prefixes: give one of them", ""),
        ("create my-basin --retention-policy 0s", "--retention-policy must be at least one second, or infinite", None),
        ("create s2://my-basin --retention-policy 1ms", "--retention-policy must be in whole seconds, not 1ms", None),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong_and_what_to_type(run_s2, line, message, hint):
    done = run_s2(*line.split())
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert lines[0] == f"error: {message}"
    assert len(lines) <= 2
    if hint:
        assert lines[1] == f"hint: {hint}"


@pytest.mark.parametrize(
    ("options", "environment", "hint"),
    [
        ([], {}, "without an account: s2 --local read s2://BASIN/STREAM"),
        (["--local"], {}, "s2 --local list shows the basins, s2 --local list BASIN the streams of one"),
        ([], {"S2_PROFILE": "local"}, "s2 list shows the basins, s2 list BASIN the streams of one"),
        ([], {"S2_ACCESS_TOKEN": "t"}, "s2 list shows the basins, s2 list BASIN the streams of one"),
        (
            ["--account-endpoint", "http://localhost:1", "--basin-endpoint", "http://localhost:1"],
            {},
            "{0} list shows the basins, {0} list BASIN the streams of one".format(
                "s2 --account-endpoint http://localhost:1 --basin-endpoint http://localhost:1"
            ),
        ),
    ],
)
def test_without_a_stream_it_is_told_where_they_are(run_s2, options, environment, hint):
    done = run_s2(*options, "read", env=environment)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[1] == f"hint: {hint}"


def test_an_error_in_json_mode_is_json_on_stderr(run_s2):
    import json

    done = run_s2("basins", "list", "-o", "json", "--prefix", "ÄÖ")
    assert (done.returncode, done.stdout) == (2, b"")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "bad_value"
    assert error["exit_code"] == 2
    assert "basin prefix" in error["message"]


def test_a_bug_is_one_line_with_where_to_report_it(run_s2, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nclass Broken:\n    def list_basins(args):\n"
        "        raise RuntimeError('oh\\nno')\n"
        "sys.modules['s2cli.commands.basins'] = Broken\n"
    )
    done = run_s2("basins", "list", env={"PYTHONPATH": str(tmp_path)})
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert lines[0] == "error: this is a bug in s2: RuntimeError: oh\\x0ano at sitecustomize.py:5"
    assert lines[1].startswith("hint: report this line")
    traced = run_s2("basins", "list", env={"PYTHONPATH": str(tmp_path), "S2_DEBUG": "1"})
    assert b"Traceback" in traced.stderr


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
    assert bold == ["Usage:", "Examples:", "Operands:", "Options:"]
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
