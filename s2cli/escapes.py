"""Escapes characters that would control a terminal, end a line or change the direction of text.

Names, bodies and messages come from others. The console escapes every line and cell that it prints, and so does every
writer of JSON. `re` adds 6 ms to a start, so it is imported only where there may be something to escape.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Match

# DEL and C1; the ends of lines and the bidirectional controls of Unicode; halves of characters. JSON leaves them as
# they are, unlike C0.
_BEYOND_C0 = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_JSON = f"[{_BEYOND_C0}]"
_IN_LINES = f"[\0-\x1f{_BEYOND_C0}]"

# The UTF-8 of each of _BEYOND_C0 begins with one of these, and that of few other characters does.
_FIRST_BYTES = b"\x7f\xc2\xd8"
_FIRST_BYTE_OF_PUNCTUATION = b"\xe2"  # dashes, quotes and bullets have it too: they are told apart below
_REST_OF_CONTROLS = {
    character.encode()[1:] for character in map(chr, range(0x2000, 0x2070)) if not character.isprintable()
}


def escape_line(text: str) -> str:
    """`text` with `\\xNN` or `\\u{NNNN}` in place of each character that could harm a line of a terminal."""
    import re

    return re.sub(_IN_LINES, _visible, text)


def _visible(match: Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of the command line that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


def encode_json_text(text: str) -> bytes:
    """The UTF-8 of `text`, which is JSON already. Characters that JSON may leave as they are, but that could harm a
    line of a terminal, become `\\uNNNN`."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        pass  # halves of characters
    else:
        if not _may_have_controls(data):
            return data
    import re

    return re.sub(_IN_JSON, lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _may_have_controls(data: bytes) -> bool:
    """False only if nothing in this UTF-8 has to be escaped in JSON. Searching for bytes is as fast as memory; the
    pattern would take a third of the time in which records are written as JSON."""
    if data.isascii():
        return 0x7F in data
    if any(first in data for first in _FIRST_BYTES):
        return True
    punctuation = data.split(_FIRST_BYTE_OF_PUNCTUATION)
    return not _REST_OF_CONTROLS.isdisjoint({piece[:2] for piece in punctuation})
