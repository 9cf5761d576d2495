"""The completion scripts in zsh and in fish. Not every machine that runs the tests has these: .ci/interop runs this
file, and installs them where they are missing."""

import os
import pty
import subprocess
import time

import pytest
from support.completion_lines import SCRIPTS, TYPED, make_files
from support.waiting import TIMEOUT_S, until_readable


@pytest.fixture
def directory(tmp_path, monkeypatch):
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("directory")
def test_fish():
    lines = [f"source {SCRIPTS}/s2.fish"]
    for typed, _ in TYPED:
        lines += [f"complete -C '{typed}' | string split -f 1 \\t", "echo =="]
    done = subprocess.run(
        ["fish", "--no-config"], input="\n".join(lines), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    for (typed, expected), said in zip(TYPED, done.stdout.split("==\n"), strict=False):
        offered = {word.removeprefix("--color=") for word in said.split()}
        assert offered == expected, typed


class Zsh:
    """An interactive zsh on a terminal, which shows what it completes to."""

    def __init__(self) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", PS1="", COLUMNS="1000", LINES="1000")
            os.execvp("zsh", ["zsh", "-f", "-i"])
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
            until_readable(self.terminal, self.said)
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
