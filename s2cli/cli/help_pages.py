"""Pages of help on stdout, for a terminal of any width: `s2 --help`, `s2 help TOPIC`, and the layout of all others.

Nothing heavy is imported here: `s2 --help` prints what is in this file and in command_tree.
"""

from __future__ import annotations

from s2cli.cli import command_tree, console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Rows = Sequence[tuple[str, str]]

# Prose in the sources is as wide as this, and so is help that goes to no terminal, where COLUMNS does not choose.
WIDTH = 80
MAX_WIDTH = 120
# Two columns need more.
MIN_WIDTH_OF_COLUMNS = 60
MAX_LEFT = 28

_SHORT = """\
s2: append to and read from S2 durable streams, in the cloud or on this machine.

  seq 1000 | s2 --local append --create s2://quickstart/numbers
  s2 --local read s2://quickstart/numbers --from -5

`s2 --help` lists the commands, `s2 COMMAND --help` explains one.
"""

_INTRODUCTION = """\
Append to and read from S2 durable streams, in the cloud or on this machine.

Usage: s2 [OPTIONS] COMMAND [ARGS]…

  seq 1000 | s2 --local append --create s2://quickstart/numbers
  s2 --local read s2://quickstart/numbers --from -5
"""

# One screen of 80x24, with the prompt that follows.
OVERVIEW: dict[str, Rows] = {
    "Records of a stream, s2://BASIN/STREAM": (
        ("append, read, tail, copy", "Add records; print all or the last; copy them"),
        ("check-tail, trim, fence", "Find the end; delete old ones; lock others out"),
    ),
    "Basins and streams": (
        ("list, get, create, delete", "A basin or a stream, as the URI says"),
        ("ensure, basins, streams", "Create or change it; one kind: basins COMMAND"),
    ),
    "The account and this machine": (
        ("tokens, metrics, locations", "Access; usage; where basins are stored"),
        ("lite, bench", "Run a server here; measure any"),
        ("state, completion", "What --state keeps; completion for a shell"),
    ),
    "Options, before or after the command": (
        ("--local, --profile NAME", "Which server: that of this machine, or a profile"),
        ("-q, -v, --color WHEN", "Say less, say more; colour always, auto or never"),
    ),
}

TOPICS = ("commands", "options", "environment", "exit-codes", "formats")

_END = """\
`s2 COMMAND --help` explains a command. Topics of `s2 help TOPIC`: commands,
options, environment, exit-codes, formats.
"""


def print_short_help() -> None:
    console.write(_SHORT.encode())


def print_help() -> None:
    """The overview of `s2` itself."""
    width = _width()
    column = _column(row for rows in OVERVIEW.values() for row in rows)
    sections = [_heading(title) + _rows(rows, width, column) for title, rows in OVERVIEW.items()]
    console.write("\n".join([prose(_INTRODUCTION, width), "".join(sections), prose(_END, width)]).encode())


def print_topic(name: str) -> bool:
    """The page `s2 help NAME`; False where there is no such topic."""
    if name == "commands":
        shown = [(command, line) for command, (_, _, line) in command_tree.COMMANDS.items() if line]
        page = ("Every command, and what it does.\n", [("Commands", shown)], "`s2 COMMAND --help` explains one.\n")
    elif name == "options":
        page = (
            "Options of every command; give them before or after it.\n",
            [("Options", [*command_tree.GLOBAL_OPTIONS.values(), *command_tree.COMMON_OPTIONS])],
            "An option wins over the environment: `s2 help environment`.\n",
        )
    elif name == "environment":
        page = (
            "Environment variables that s2 reads.\n",
            [("Environment", list(command_tree.ENVIRONMENT.items())), ("Files", list(command_tree.FILES.items()))],
            "Order, the first wins: option, environment, profile, the official tool's\n"
            "~/.config/s2/config.toml, default.\n",
        )
    elif name == "exit-codes":
        codes = list(command_tree.EXIT_CODES.items())
        page = ("What the exit codes of s2 mean.\n", [("Exit codes", codes)], "The reason is on stderr.\n")
    elif name == "formats":
        sections = [
            (
                "append --format FORMAT reads",
                [(form, reads) for form, (reads, _) in command_tree.RECORD_FORMATS.items()],
            ),
            (
                "read and tail -o FORMAT write",
                [
                    *((form, writes) for form, (_, writes) in command_tree.RECORD_FORMATS.items()),
                    ("pretty", command_tree.PRETTY),
                ],
            ),
            ("Templates, as in -t '%o %d %v\\n'", list(command_tree.TEMPLATE_VERBS.items())),
            ("Behind a verb, as in '%v{hex}\\n'", list(command_tree.TEMPLATE_MODIFIERS.items())),
            ("Lists and resources, -o FORMAT", list(command_tree.RESOURCE_FORMATS.items())),
            ("bench -o json", list(command_tree.BENCH_RESULT.items())),
        ]
        page = ("Formats of records and of resources.\n", sections, "`s2 append --help` has examples.\n")
    else:
        return False
    print_page(*page)
    return True


def print_page(introduction: str, sections: Iterable[tuple[str, Rows]], end: str) -> None:
    """Prose, sections of two columns, and more prose. Sections without rows are left out."""
    width = _width()
    pieces = [_heading(title) + _rows(rows, width) for title, rows in sections if rows]
    console.write("\n".join([prose(introduction, width), *pieces, prose(end, width)]).encode("utf-8", "replace"))


def _width() -> int:
    width = console.terminal_width() if console.stdout_is_terminal() else console.chosen_width() or WIDTH
    return min(width, MAX_WIDTH)


def _heading(title: str) -> str:
    return console.paint(f"{title}:", console.BOLD, 1) + "\n"


def prose(text: str, width: int) -> str:
    """Paragraphs as they are, or filled anew where they are wider than the terminal. Indented lines are command
    lines: they stay whole, so that they can be copied."""
    done: list[str] = []
    paragraph: list[str] = []

    def fill() -> None:
        if any(len(line) > width for line in paragraph):
            done.extend(_filled(" ".join(paragraph), "", "", width))
        else:
            done.extend(paragraph)
        paragraph.clear()

    for line in text.splitlines():
        heading, colon, rest = line.partition(":")
        if line and not line[0].isspace() and heading not in ("Usage", "Examples"):
            paragraph.append(line)
            continue
        fill()
        known = colon and heading in ("Usage", "Examples")
        done.append(_heading(heading).rstrip("\n") + rest if known else line)
    fill()
    return "\n".join(done) + "\n"


def _column(rows: Iterable[tuple[str, str]]) -> int:
    """Where the second column begins."""
    return min(max(len(left) for left, _ in rows), MAX_LEFT) + 4


def _rows(rows: Rows, width: int, column: int | None = None) -> str:
    """Two columns, the second one wrapped; a left side that is too long has its text on the next line, and on a narrow
    terminal all have."""
    column = column or _column(rows)
    narrow = width < MIN_WIDTH_OF_COLUMNS
    lines: list[str] = []
    for left, right in rows:
        if narrow or len(left) + 4 > column:
            indent = "      " if narrow else " " * column
            lines += _filled(left, "  ", "  ", width) + _filled(right, indent, indent, width)
        else:
            lines += _filled(right, f"  {left}".ljust(column), " " * column, width)
    return "\n".join(lines) + "\n"


def _filled(text: str, first: str, indent: str, width: int) -> list[str]:
    """Words in lines as wide as that, the first behind `first`. A word that is too long stays whole."""
    lines: list[str] = []
    line = first
    empty = True
    for word in text.split():
        if not empty and len(line) + len(word) > width:
            lines.append(line.rstrip())
            line = indent
        line += word + " "
        empty = False
    return [*lines, line.rstrip()]
