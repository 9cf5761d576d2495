"""`s2 completion`: prints a completion script."""

from __future__ import annotations

from pathlib import Path

from s2cli.cli import console
from s2cli.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.other_args import CompletionArgs

FILE_NAMES = {"bash": "s2.bash", "zsh": "_s2", "fish": "s2.fish"}


def print_script(args: CompletionArgs) -> int:
    package = Path(__file__).parents[1]
    # A wheel has the scripts inside the package; a checkout has them beside it.
    inside = package / "completions"
    directory = inside if inside.is_dir() else package.parent / "completions"
    console.write((directory / FILE_NAMES[args.shell]).read_bytes())
    return ExitCode.OK
