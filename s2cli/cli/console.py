"""The three standard streams: what they are, every byte that goes to them, and questions to whoever types.

stdout carries the result and nothing else. Whatever is told beside it (notices, warnings, errors, the status line) goes
to stderr, where a closed or full pipe must never stop the work. Only main and the commands use this module.
"""

from __future__ import annotations

import errno
import os
import select

from s2cli.errors import S2Error, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

# They can be read on dark terminals and on light ones: yellow and cyan cannot on white, nor blue on black.
BOLD, RED, MAGENTA = "1", "1;31", "1;35"

# Words between blanks. Blanks in single quotes, as a shell has them, and those between a number and its unit are part
# of a word.
_QUOTED = r"""(?<![^\s=])'(?:[^']|'"'"')*'"""
_NUMBER = r"(?<![\d.])\d[\d.]* (?=(?:%|s|ms|B|[KMG]iB|[a-z]+/s)(?:\W|$))"
_WORDS = rf"(?:{_QUOTED}|{_NUMBER}|\S)+"

# A reader of stderr that stands still must not hold up the data for longer.
STDERR_WAIT_MS = 1000


class ClosedOutput(Exception):
    """Whoever read our stdout has closed it."""


_quiet = False
_verbose = False
_color: str | None = None
_json_errors = False
_done = ""  # what the command has done, and not told
_status_lines = 0  # that stand on the terminal


def configure(*, quiet: bool, verbose: bool, color: str | None, json_errors: bool) -> None:
    """What the command line says about the streams; main calls this once, before the command."""
    global _quiet, _verbose, _color, _json_errors
    _quiet, _verbose, _color, _json_errors = quiet, verbose, color, json_errors


def stdin_is_terminal() -> bool:
    return _is_terminal(0)


def stdout_is_terminal() -> bool:
    return _is_terminal(1)


def stderr_is_terminal() -> bool:
    return _is_terminal(2)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def has_color(descriptor: int) -> bool:
    """Whether text for this descriptor may be coloured. `--color` beats the environment, and there NO_COLOR wins over
    FORCE_COLOR: no-color.org and force-color.org do not agree on which does."""
    if _color in ("always", "never"):
        return _color == "always"
    environ = os.environ
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR") or environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if environ.get("CLICOLOR") == "0" or environ.get("TERM") == "dumb":
        return False
    return _is_terminal(descriptor)


def paint(text: str, style: str, descriptor: int) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if has_color(descriptor) else text


def printable(text: str) -> str:
    """`text` as one line that drives no terminal: what a server or a name says is somebody else's."""
    if text.isprintable():
        return text
    from s2cli.escapes import escape_line

    return escape_line(text)


def write(data: bytes) -> None:
    """All of `data` to stdout, waiting where it is full; raises ClosedOutput when nobody reads it any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BlockingIOError:
            # Whoever shares the descriptor with us has made it non-blocking.
            poll = select.poll()
            poll.register(1, select.POLLOUT)
            poll.poll()
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise ClosedOutput from None
            done = f"; this was done: {_done}" if _done else ""
            raise S2Error(f"cannot write to standard output: {os.strerror(error.errno or 0).lower()}{done}") from error


def print_line(text: str) -> None:
    print_lines((text,))


def print_lines(lines: Iterable[str]) -> None:
    """Lines for people on stdout, with escapes for what is not printable."""
    write("".join(printable(line) + "\n" for line in lines).encode())


def print_json(value: object, *, indent: int | None = None) -> None:
    """A value as JSON on stdout: on one line, or as many as `indent` makes of it."""
    print_json_lines((value,), indent=indent)


def print_json_lines(values: Iterable[object], *, indent: int | None = None) -> None:
    write(b"".join(encode_json(value, indent=indent) + b"\n" for value in values))


def encode_json(value: object, *, indent: int | None = None) -> bytes:
    import json

    from s2cli.escapes import encode_json_text

    separators = (",", ":") if indent is None else None
    return encode_json_text(json.dumps(value, ensure_ascii=False, indent=indent, separators=separators))


def notice(text: str) -> None:
    """What was done, for a person: one line on stderr, unless `--quiet`."""
    if not _quiet:
        _tell(printable(text))


def done(text: str, *, told: bool = True) -> None:
    """What was done and stays. What is not told in a notice, by `--quiet` or since stdout has it, is part of the error
    where stdout fails."""
    global _done
    if told:
        notice(text)
    if _quiet or not told:
        _done = text


def detail(text: str) -> None:
    """What only `--verbose` shows."""
    if _verbose:
        _tell(printable(text))


def warn(text: str) -> None:
    """Something that `--quiet` does not silence."""
    _tell(printable(text), "warning:", MAGENTA)


def confirm_deletion(what: str, *, name: str | None, yes: bool) -> bool:
    """Whether `what` is to be deleted. Where a `name` is given, it has to be typed."""
    if yes:
        return True
    if not can_ask():
        raise UsageError(f"deleting {what} needs a confirmation, and there is no terminal to ask on", hint="add --yes")
    return confirm(f"delete {what}?", name=name)


def can_ask() -> bool:
    return stdin_is_terminal() and stderr_is_terminal()


def confirm(question: str, *, name: str | None = None) -> bool:
    """Asks on the terminal before something is gone; `name` has to be typed where it is given. Says so where nothing
    is deleted."""
    question += " [y/N]" if name is None else f" type {name} to continue:"
    _write_stderr(_wrapped(printable(question)) + " ")
    data = b""
    while not data.endswith(b"\n") and (piece := os.read(0, 1024)):
        data += piece
    answer = data.decode("utf-8", "replace").strip()
    agreed = answer.lower() in ("y", "yes") if name is None else answer == name
    if not agreed:
        notice("nothing was deleted")
    return agreed


def error(failure: S2Error) -> None:
    """What failed and why, and below it what to type next."""
    if _json_errors:
        import json

        fields = {"code": _code_of(failure), "message": failure.message, "exit_code": failure.exit_code}
        if failure.hint:
            fields["hint"] = failure.hint
        _tell(json.dumps({"error": fields}), wraps=False)
        return
    _tell(printable(failure.message), "error:", RED)
    if failure.hint:
        _tell(printable(failure.hint), "hint:", BOLD)


def _code_of(failure: S2Error) -> str:
    """The API's code, else one made of the exception's name: NotFoundError is not_found; of S2Error, failure."""
    code = getattr(failure, "code", None)
    if isinstance(code, str):
        return code
    if type(failure) is S2Error:
        return "failure"
    name = type(failure).__name__.removesuffix("Error")
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


def status(*parts: str) -> None:
    """One live line on stderr, only where that is a terminal; the empty text takes it away. It has as many of the
    parts, the first ones, as fit whole."""
    status_block([parts], ", ")


def status_block(lines: Sequence[Sequence[str]], separator: str) -> None:
    """The same with several lines, each of parts that `separator` joins. They take the place of those before."""
    global _status_lines
    if _quiet or not _is_terminal(2) or os.environ.get("TERM") == "dumb":
        return
    shown = [_fitting(parts, separator) for parts in lines]
    _write_stderr(_erased() + "\r\n".join(shown))
    _status_lines = len(shown) if any(shown) else 0


def begin_row(*, after_line: bool) -> None:
    """After Ctrl-C: takes away the `^C` that the terminal shows. Where no whole line is before it, it stays and ends
    its row."""
    if after_line:
        status("")
    elif not _quiet and _is_terminal(1) and _is_terminal(2):
        _write_stderr("\n")


def _fitting(parts: Sequence[str], separator: str) -> str:
    """As many of them as fit into a line of the terminal."""
    line = ""
    for part in parts:
        longer = f"{line}{separator}{printable(part)}" if line else printable(part)
        if _width(longer) >= terminal_width():
            break
        line = longer
    return line


def _erased() -> str:
    """What takes the live lines away, and goes to the beginning of the first."""
    return "\r\x1b[K" if _status_lines < 2 else f"\r\x1b[{_status_lines - 1}A\x1b[J"


def chosen_width() -> int | None:
    """What the variable COLUMNS says; None where it says nothing."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isascii() and columns.isdigit() and int(columns) > 0 else None


def terminal_width() -> int:
    chosen = chosen_width()
    if chosen is not None:
        return chosen
    for descriptor in (1, 2):
        try:
            width = os.get_terminal_size(descriptor).columns
        except OSError:
            continue
        if width > 0:
            return width
    return 80


def _tell(text: str, label: str = "", style: str = "", *, wraps: bool = True) -> None:
    """One line, however long, with a label in that style before it."""
    global _status_lines
    before = _erased() if _status_lines else ""
    _status_lines = 0
    line = f"{label} {text}" if label else text
    if wraps:
        line = _wrapped(line)
    if label:
        line = paint(label, style, 2) + line[len(label) :]
    _write_stderr(before + line + "\n")


def _wrapped(line: str) -> str:
    """The line for stderr. On a terminal that is narrower, blanks fill each row behind its last whole word. There is no
    end of a line among them, so a command that is copied from the terminal is one line; what is quoted stays as it
    is."""
    if not _is_terminal(2) or os.environ.get("TERM") == "dumb" or _width(line) <= terminal_width():
        return line
    import re

    width = terminal_width()
    wrapped, column = "", 0
    for word in re.findall(_WORDS, line):
        size = _width(word)
        if wrapped:
            # A row never ends with a word: that and the next one would be copied as one.
            fits = column + 1 + size < width or size >= width or not column
            gap = 1 if fits else width - column
            wrapped += " " * gap
            column += gap
        wrapped += word
        column = (column + size) % width
    return wrapped


def _write_stderr(text: str) -> None:
    view = memoryview(text.encode("utf-8", "backslashreplace"))
    while view:
        try:
            view = view[os.write(2, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            if not poll.poll(STDERR_WAIT_MS):
                return
        except OSError:
            return


class Table:
    """Rows for people on a terminal, tab-separated and uncut elsewhere. On a terminal they are aligned; a row that is
    wider than the terminal becomes a block, with a line for each cell. Rows may come page by page. The cells of the
    columns in `figures` are aligned to the right."""

    def __init__(self, headers: Sequence[str], *, show_headers: bool = True, figures: Container[int] = ()) -> None:
        self._headers = list(headers) if show_headers else None
        self._aligned = stdout_is_terminal()
        self._widths = [0] * len(headers)
        self._figures = figures
        self._has_begun = False

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Prints these rows now, the headers before the first of them."""
        lines = [[printable(cell) for cell in row] for row in rows]
        if self._aligned:
            for cells in [*lines, self._headers or []]:
                for column, cell in enumerate(cells):
                    self._widths[column] = max(self._widths[column], _width(cell))
            if sum(self._widths) + 2 * (len(self._widths) - 1) > terminal_width():
                write("".join(map(self._block, lines)).encode())
                return
        text = "".join(self._line(cells) + "\n" for cells in lines)
        if self._headers is not None and not self._has_begun:
            text = paint(self._line(self._headers), BOLD, 1) + "\n" + text
        self._has_begun = True
        write(text.encode())

    def _line(self, cells: Sequence[str]) -> str:
        if not self._aligned:
            return "\t".join(cells)
        padded = []
        for column, (cell, width) in enumerate(zip(cells, self._widths, strict=True)):
            blanks = " " * (width - _width(cell))
            padded.append(blanks + cell if column in self._figures else cell + blanks)
        return "  ".join(padded).rstrip()

    def _block(self, cells: Sequence[str]) -> str:
        labels = ["" for _ in cells] if self._headers is None else [f"{header}  " for header in self._headers]
        width = max(map(len, labels[1:]), default=0)
        parts = [f"  {label:{width}}{cell}\n" for label, cell in zip(labels[1:], cells[1:], strict=True)]
        return "".join([paint(cells[0], BOLD, 1), "\n", *parts])


def _width(cell: str) -> int:
    """How many columns of a terminal it takes: names may have wide characters, and such that take none."""
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)
