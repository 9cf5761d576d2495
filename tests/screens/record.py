"""Records the picture in README: runs the real `s2`, with a server of its own, on a terminal, and draws what stands on
that terminal then. Beside it lies what it wrote last.

    .venv/bin/python tests/screens/record.py                 # writes tests/screens/readme.svg
"""

import contextlib
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).with_name("readme.svg")
COLUMNS, ROWS = 104, 40

# What is not shown: requests of a day, so that their times are the same in each picture.
SETUP = r"""
printf '%s\n' '{"at":"2026-01-31T12:00:00.5Z","status":200,"path":"/"}' \
    '{"at":"2026-01-31T12:00:01.25Z","status":500,"path":"/cart","error":"no stock"}' \
    '{"at":"2026-01-31T12:00:03Z","status":200,"path":"/help"}' > web.log
printf '%s\n' '{"at":"2026-01-31T12:00:01.2Z","query":"update stock","error":"deadlock"}' \
    '{"at":"2026-01-31T12:00:02Z","query":"select 1"}' > db.log
"""
SHOWN = (
    "seq 1000000 | s2 append --create s2://web-shop/numbers",
    "s2 append --create --timestamp-from at s2://web-shop/logs/web web.log",
    "s2 append --create --timestamp-from at s2://web-shop/logs/db db.log",
    "s2 read 's2://web-shop/logs/*'",
    "s2 read s2://web-shop/logs/web --grep error -o pretty",
    "s2 read s2://web-shop/logs/web -o jsonl | s2 append --create --format jsonl s2://web-shop/again",
    "s2 copy s2://web-shop/logs/ s2://shop-copy/ --create",
    "s2 check-tail s2://web-shop/missing",
)


def main() -> None:
    PICTURE.write_text(draw(record()))


def record() -> list[tuple[str, str]]:
    """The commands, each with what it wrote to its terminal."""
    with tempfile.TemporaryDirectory(prefix="s2-screen-") as home:
        env = {"HOME": home, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        env |= {"S2_PROFILE": "local", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        env |= {"XDG_RUNTIME_DIR": home}
        subprocess.run(["bash", "-c", SETUP], cwd=home, env=env, check=True)
        try:
            return [(command, run(command, home, env)) for command in SHOWN]
        finally:
            subprocess.run(["s2", "lite", "stop"], cwd=home, env=env, check=True, capture_output=True)


def run(command: str, home: str, env: dict[str, str]) -> str:
    """What the command wrote, with its colours; a live line that was taken away again is not in it."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", command], cwd=home, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 65536):
                said += piece
    os.close(ours)
    lines = said.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r\x1b[K")[2] for line in lines).rstrip("\n")


def draw(screens: list[tuple[str, str]]) -> str:
    """The picture, as SVG that refers to nothing elsewhere."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for command, said in screens:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            if said:
                console.print(Text.from_ansi(said))
        drawing = console.export_svg(title="s2", theme=MONOKAI, unique_id="s2")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL)


if __name__ == "__main__":
    main()
