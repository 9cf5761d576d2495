"""The completion scripts, in the shells that they are for."""

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from s2cli import root

SCRIPTS = Path(__file__).parents[2] / "completions"

FIRST_WORDS = {name for name, (_, _, line) in root.COMMANDS.items() if line and " " not in name} | set(root.GROUPS)

# What is typed, and what is offered. A script completes what the tables say, so a few of each kind will do.
TYPED = [
    ("s2 app", {"append"}),
    ("s2 ", FIRST_WORDS),
    ("s2 basins ", {"list", "create", "get", "delete"}),
    ("s2 --local streams cr", {"create"}),
    ("s2 --profile x records che", {"check-tail"}),
    ("s2 read --fo", {"--follow", "--format"}),
    ("s2 -q tail --lin", {"--lines"}),
    ("s2 read s2://my-basin/s -o js", {"json", "json-base64"}),
    ("s2 append --on-lost-ack ", {"check", "resend", "stop"}),
    ("s2 basins list -o ", {"table", "json", "jsonl", "name"}),
    ("s2 --color ", {"always", "auto", "never"}),
    ("s2 read --color=a", {"always", "auto"}),
    ("s2 --profile ", {"local"}),
    ("s2 lite st", {"status", "stop"}),
    ("s2 completion ", {"bash", "zsh", "fish"}),
    ("s2 append -i subdir/notes", {"subdir/notes.txt"}),
    ("s2 append --linger ", set()),
]


@pytest.fixture
def directory(tmp_path, monkeypatch):
    (tmp_path / "subdir").mkdir()
    (tmp_path / "subdir/notes.txt").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("shell", "name"), [("bash", "s2.bash"), ("zsh", "_s2"), ("fish", "s2.fish")])
def test_the_command_prints_what_is_installed(run_s2, shell, name):
    done = run_s2("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (SCRIPTS / name).read_bytes()


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.usefixtures("directory")
def test_bash():
    lines = [f"source {SCRIPTS}/s2.bash"]
    for typed, _ in TYPED:
        # As bash itself splits a line.
        words = typed.replace("=", " = ").split()
        if typed.endswith(" "):
            words.append("")
        quoted = " ".join(f"'{word}'" for word in words)
        lines += [
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()",
            "_s2_completion",
            'echo "${COMPREPLY[*]}"',
        ]
    done = subprocess.run([shell("bash"), "--norc"], input="\n".join(lines), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    offered = [set(line.split()) for line in done.stdout.splitlines()]
    assert offered == [expected for _, expected in TYPED]


@pytest.mark.usefixtures("directory")
def test_fish():
    lines = [f"source {SCRIPTS}/s2.fish"]
    for typed, _ in TYPED:
        lines += [f"complete -C '{typed}' | string split -f 1 \\t", "echo =="]
    done = subprocess.run(
        [shell("fish"), "--no-config"], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    for (typed, expected), said in zip(TYPED, done.stdout.split("==\n"), strict=False):
        offered = {word.removeprefix("--color=") for word in said.split()}
        assert offered == expected, typed


class Zsh:
    """An interactive zsh on a terminal, which shows what it completes to."""

    def __init__(self) -> None:
        path = shell("zsh")
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", PS1="", COLUMNS="1000", LINES="1000")
            os.execv(path, ["zsh", "-f", "-i"])
        self.said = ""
        self.tell("PS1='' PS2='' RPS1=''; unsetopt prompt_cr prompt_sp; LISTMAX=1000")
        self.tell("autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word")
        self.tell("setopt no_list_beep no_always_last_prompt; zstyle ':completion:*' verbose no")
        # The candidates themselves, without what a terminal makes of them.
        self.tell(
            'compadd() { local -a found; builtin compadd -O found "$@"; offered+=($found); builtin compadd "$@" }'
        )
        self.tell(f"typeset -ga offered; fpath=({SCRIPTS} $fpath); autoload -Uz _s2; compdef _s2 s2")
        self.tell("_print_offered() { print -r -- \"<<${(j: :)offered}>>\"; offered=(); BUFFER=''; zle redisplay }")
        self.tell("zle -N _print_offered; bindkey '^X' _print_offered")

    def tell(self, line: str) -> None:
        os.write(self.terminal, (line + f"; print -r -- 'rea''dy'{time.monotonic_ns()}\n").encode())
        self.wait_for("ready")

    def wait_for(self, text: str) -> str:
        """What was said before that text."""
        while text not in self.said:
            assert select.select([self.terminal], [], [], 30)[0], self.said
            self.said += os.read(self.terminal, 65536).decode("utf-8", "replace")
        found, _, self.said = self.said.partition(text)
        return found

    def offered(self, typed: str) -> set[str]:
        os.write(self.terminal, typed.encode() + b"\t\x18")
        self.wait_for("<<")
        return set(self.wait_for(">>").split())

    def close(self) -> None:
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.mark.usefixtures("directory")
def test_zsh():
    zsh = Zsh()
    try:
        for typed, expected in TYPED:
            offered = zsh.offered(typed)
            # zsh completes a path part by part.
            assert offered == expected or ("notes.txt" in offered and "notes" in typed), typed
    finally:
        zsh.close()


def test_nothing_hidden_is_offered():
    for path in (SCRIPTS / "s2.bash", SCRIPTS / "_s2", SCRIPTS / "s2.fish"):
        text = path.read_text()
        assert "list-basins" not in text
        assert "no-auto-paginate" not in text


def test_the_script_starts_no_python():
    for path in (SCRIPTS / "s2.bash", SCRIPTS / "_s2", SCRIPTS / "s2.fish"):
        assert "python" not in path.read_text().lower()
