"""The completion scripts: what is in them, and what bash offers. interop/completion_in_shells.py tries zsh and fish."""

import re
import subprocess

import pytest
from support.completion_lines import SCRIPTS, TYPED, make_files
from support.waiting import TIMEOUT_S

from s2cli.cli import command_tree


@pytest.mark.parametrize(("shell", "name"), [("bash", "s2.bash"), ("zsh", "_s2"), ("fish", "s2.fish")])
def test_the_command_prints_what_is_installed(run_s2, shell, name):
    done = run_s2("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (SCRIPTS / name).read_bytes()


def test_bash(tmp_path):
    make_files(tmp_path)
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
    done = subprocess.run(
        ["bash", "--norc"], input="\n".join(lines), capture_output=True, text=True, timeout=TIMEOUT_S, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    offered = [set(line.split()) for line in done.stdout.splitlines()]
    assert offered == [expected for _, expected in TYPED]


HIDDEN = {name for name, (_, _, line) in command_tree.COMMANDS.items() if not line}
SHOWN = command_tree.COMMANDS.keys() - HIDDEN


@pytest.mark.parametrize("name", ["s2.bash", "_s2", "s2.fish"])
def test_what_is_shown_is_offered_and_nothing_hidden(name):
    words = set(re.findall(r"[\w-]+", (SCRIPTS / name).read_text()))
    assert {word for command in SHOWN for word in command.split()} <= words
    assert len(HIDDEN) > 10
    assert not words & {command for command in HIDDEN if "-" in command and command not in SHOWN and " " not in command}
    assert not words & {"no-auto-paginate", "--no-auto-paginate"}
    assert "python" not in words
