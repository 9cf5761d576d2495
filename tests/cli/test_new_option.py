"""Whoever adds an option to `s2 read` declares it in its class; the parsers, help, completion and the command that
resumes follow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DECLARATION = """
    every: Annotated[
        int,
        option(
            "--every N",
            "Only each Nth record",
            heading="Which records are printed",
            in_resume_command=True,
            least=1,
            most=64,
        ),
    ] = 1
"""

# The words of the command that resumes this one, and whether the parser needed typer.
RESUME = """
import sys
from s2cli.cli import args, strict_parser
function, declaration, name, raw = strict_parser.parse(["read", "s2://b/s", "--every", "7"])
print(*args.resolve(declaration, name, raw).words_to_resume(), "typer" in sys.modules)
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python on a copy of the sources, in which nothing but the class of `s2 read` has the new option."""
    for folder in ("s2cli", "completions"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    declared = tmp_path / "s2cli/cli/read_args.py"
    before, found, after = declared.read_text().partition("    follow: Follow = False\n")
    assert found
    declared.write_text(before + found + DECLARATION + after)

    def run(*arguments):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_an_option_is_written_where_it_is_declared_and_nowhere_else(run, tmp_path):
    generated = run("completions/generate").split()
    assert "s2cli/cli/strict_table.py" in generated
    assert all("every" in (tmp_path / path).read_text() for path in generated)
    page = run("-m", "s2cli", "read", "--help")
    section = page.partition("\nWhich records are printed:\n")[2].partition("\n\n")[0]
    assert "--every N" in section
    assert "Only each Nth record" in section
    assert run("-c", RESUME) == "--every 7 False\n"
