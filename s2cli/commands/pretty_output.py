"""The format `pretty`, for people: time and sequence number of each record before its body. JSON is coloured, and
folded if it is too long for a line. Control characters in a record are escaped, so they cannot control the terminal."""

from __future__ import annotations

import io
import re
import time

from rich.console import Console
from rich.text import Text

from s2cli.cli import console
from s2cli.escapes import escape_line
from s2cli.formats.json_output import is_container
from s2cli.formats.text_output import describe_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s2cli.wire.read_session import Delivered
    from s2cli.wire.s2_pb2 import SequencedRecord

_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:\s"]+')
_PUNCTUATION = "{}[],:"
_KEY, _STRING, _NUMBER, _PLACE, _NOTE = "bold", "green", "magenta", "dim", "magenta"
_INDENT = "  "
_LEAST_WIDTH = 40  # of a folded body
_OPENING, _CLOSING = ("{", "["), ("}", "]")


class PrettyFormat:
    """A record takes one line, or more if its body needs them. In a pipe nothing is coloured or folded. `label` is put
    into each record if several streams are read."""

    bodies_only = False

    def __init__(self, label: bytes | None = None) -> None:
        self._label = Text.from_ansi((label or b"").decode().replace("\t", "  "))
        self._width = console.terminal_width() if console.stdout_is_terminal() else 1 << 30
        self._console = Console(
            file=io.StringIO(),
            force_terminal=console.has_color(1),
            no_color=not console.has_color(1),
            color_system="standard" if console.has_color(1) else None,
            width=1 << 16,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def format(self, batches: list[Delivered]) -> bytes:
        with self._console.capture() as capture:
            for batch in batches:
                for record in batch.records:
                    self._console.print(self._record(record), soft_wrap=True)
        return capture.get().encode()

    def _record(self, record: SequencedRecord) -> Text:
        text = Text.assemble(
            (f"{_local_time(record.timestamp)}  ", _PLACE), self._label, (f"{record.seq_num}  ", _PLACE)
        )
        # Where little room is left beside the place, lines that follow begin at the left.
        margin = " " * text.cell_len if self._width - text.cell_len >= _LEAST_WIDTH else _INDENT
        if len(record.headers) == 1 and not record.headers[0].name:
            return text.append(escape_line(describe_command(record.headers[0].value, record.body)), style=_NOTE)
        try:
            body = record.body.decode()
        except UnicodeDecodeError:
            text.append(escape_line(record.body.decode("utf-8", "backslashreplace")))
            text.append(f"  ({len(record.body)} bytes, not UTF-8)", style=_NOTE)
        else:
            if is_container(body):
                for piece, style in _fold(body, self._width - text.cell_len):
                    text.append(piece.replace("\n", "\n" + margin), style=style)
            else:
                text.append(("\n" + margin).join(escape_line(line) for line in body.split("\n")))
        if record.headers:
            pairs = (f"{_shown(header.name)}={_shown(header.value)}" for header in record.headers)
            text.append("\n" + margin + "  ".join(pairs), style=_NOTE)
        return text


def _shown(data: bytes) -> str:
    return escape_line(data.decode("utf-8", "backslashreplace"))


def _local_time(timestamp_ms: int) -> str:
    seconds, ms = divmod(timestamp_ms, 1000)
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{ms:03d}"
    except (OverflowError, ValueError, OSError):
        return f"@{timestamp_ms}"


def _fold(text: str, width: int) -> Iterator[tuple[str, str]]:
    """The pieces of valid JSON with their styles: all on one line if it fits into `width`, else a line for each member.
    Numbers and strings stay as they are written."""
    lexemes = _LEXEME.findall(text)
    one_line = sum(len(lexeme) + (lexeme in ",:") for lexeme in lexemes) <= width
    depth = 0
    for at, lexeme in enumerate(lexemes):
        following = lexemes[at + 1] if at + 1 < len(lexemes) else ""
        if lexeme in _CLOSING:
            depth -= 1
            if not one_line and lexemes[at - 1] not in _OPENING:
                yield "\n" + _INDENT * depth, ""
        yield escape_line(lexeme), _style(lexeme, following)
        if lexeme in _OPENING:
            depth += 1
            if not one_line and following not in _CLOSING:
                yield "\n" + _INDENT * depth, ""
        elif lexeme == ",":
            yield " " if one_line else "\n" + _INDENT * depth, ""
        elif lexeme == ":":
            yield " ", ""


def _style(lexeme: str, following: str) -> str:
    if lexeme[0] == '"':
        return _KEY if following == ":" else _STRING
    return "" if lexeme in _PUNCTUATION else _NUMBER
