"""Formats records by a template like `%o %d %v\\n`: which verbs there are, what each is replaced by, and how a template
is parsed."""

from __future__ import annotations

from binascii import b2a_base64, hexlify

from s2cli.errors import BadValueError
from s2cli.escapes import encode_json_text
from s2cli.formats.json_output import quote_bytes
from s2cli.formats.rfc3339 import TimeFormatter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s2cli.wire.s2_pb2 import SequencedRecord

    Value = Callable[[SequencedRecord], bytes]

_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}
_MODIFIERS = ("hex", "base64", "json")


class Template:
    """A parsed template. Raises BadValueError, which shows where the text is wrong."""

    def __init__(self, text: str, stream: str) -> None:
        """`stream`: what replaces `%s`."""
        self._stream = stream.encode("utf-8", "surrogateescape")
        self._values: list[Value] = []
        self._format = _Parser(text, self._verb_value).parse(self._values)

    def format_records(self, records: Iterable[SequencedRecord]) -> bytes:
        """The bytes of these records, by the template."""
        pattern, values = self._format, self._values
        if len(values) == 1:
            (value,) = values
            return b"".join([pattern % value(record) for record in records])
        return b"".join([pattern % tuple([value(record) for value in values]) for record in records])

    def _verb_value(self, verb: str, name: bytes | None, modifier: str | None) -> Value:
        """A function that returns the bytes for a verb. Raises KeyError for an unknown verb."""
        if verb == "h":
            assert name is not None
            return _modified(lambda record: _first_header(record, name), modifier)
        if verb == "H":
            return _headers_json if modifier == "json" else _headers_text
        if verb == "s":
            stream = self._stream
            return _modified(lambda record: stream, modifier)
        if verb == "d":
            times = TimeFormatter()
            return _modified(lambda record: times.format(record.timestamp).encode(), modifier)
        return _modified(_VERBS[verb], None if verb in _NUMBERS else modifier)


def _modified(value: Value, modifier: str | None) -> Value:
    if modifier == "hex":
        return lambda record: hexlify(value(record))
    if modifier == "base64":
        return lambda record: b2a_base64(value(record), newline=False)
    if modifier == "json":
        return lambda record: encode_json_text(quote_bytes(value(record)))
    return value


_VERBS: dict[str, Value] = {
    "v": lambda record: record.body,
    "o": lambda record: b"%d" % record.seq_num,
    "t": lambda record: b"%d" % record.timestamp,
    "S": lambda record: b"%d" % len(record.body),
}
_NUMBERS = ("o", "t", "S")
# Verb -> its modifiers. All other verbs have only `json`.
_MODIFIERS_OF = {"v": _MODIFIERS, "h": _MODIFIERS, "s": _MODIFIERS}
_ALL_VERBS = ("v", "o", "d", "t", "h", "H", "s", "S")


def _first_header(record: SequencedRecord, name: bytes) -> bytes:
    for header in record.headers:
        if header.name == name:
            return header.value
    return b""


def _headers_text(record: SequencedRecord) -> bytes:
    return b",".join([header.name + b"=" + header.value for header in record.headers])


def _headers_json(record: SequencedRecord) -> bytes:
    pairs = (f"[{quote_bytes(header.name)},{quote_bytes(header.value)}]" for header in record.headers)
    return encode_json_text(f"[{','.join(pairs)}]")


class _Parser:
    """Parses one template."""

    def __init__(self, text: str, verb_value: Callable[[str, bytes | None, str | None], Value]) -> None:
        self._text = text
        self._verb_value = verb_value
        self._at = 0

    def parse(self, values: list[Value]) -> bytes:
        """The template as a format string of bytes, with `%b` for each verb. The functions for the verbs are added to
        `values`."""
        pieces: list[bytes] = []
        text = self._text
        while self._at < len(text):
            letter = text[self._at]
            if letter == "\\":
                pieces.append(self._escape())
            elif letter == "%":
                pieces.append(self._verb(values))
                continue
            else:
                pieces.append(letter.encode("utf-8", "surrogateescape"))
                self._at += 1
            if pieces[-1] == b"%":
                pieces[-1] = b"%%"
        return b"".join(pieces)

    def _escape(self) -> bytes:
        start, letter = self._at, self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if letter == "x":
            digits = self._text[self._at : self._at + 2]
            self._at += 2
            try:
                return bytes.fromhex(digits) if len(digits) == 2 else self._fail_escape(start)
            except ValueError:
                return self._fail_escape(start)
        return _ESCAPES[letter] if letter in _ESCAPES else self._fail_escape(start)

    def _fail_escape(self, start: int) -> bytes:
        raise self._error(start, "is not an escape: write \\n, \\t, \\r, \\0, \\\\ or \\xNN")

    def _verb(self, values: list[Value]) -> bytes:
        start, verb = self._at, self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if verb == "%":
            return b"%%"
        if verb not in _ALL_VERBS:
            verbs = ", ".join("%h{NAME}" if known == "h" else f"%{known}" for known in _ALL_VERBS)
            raise self._error(start, f"is not a verb: write {verbs} or %%")
        name = None
        if verb == "h":
            braced = self._braces(start)
            if not braced:
                raise self._error(start, "needs the name of a header: write %h{NAME}")
            name = braced.encode("utf-8", "surrogateescape")
        modifier = self._braces(start)
        known_modifiers = _MODIFIERS_OF.get(verb, ("json",))
        if modifier is not None and modifier not in known_modifiers:
            wanted = " or ".join(f"{{{known}}}" for known in known_modifiers)
            raise self._error(start, f"is not possible: %{verb} takes {wanted}; \\x7b is a brace")
        values.append(self._verb_value(verb, name, modifier))
        return b"%b"

    def _braces(self, start: int) -> str | None:
        if self._text[self._at : self._at + 1] != "{":
            return None
        end = self._text.find("}", self._at)
        if end < 0:
            self._at = len(self._text)
            raise self._error(start, "has no closing brace; \\x7b is a brace")
        inner = self._text[self._at + 1 : end]
        self._at = end + 1
        return inner

    def _error(self, start: int, what: str) -> BadValueError:
        text, end = self._text, min(self._at, len(self._text))
        shown = f"{text[:start]}>>>{text[start:end]}<<<{text[end:]}"
        return BadValueError(f'"{text[start:end]}" at character {start + 1} {what} (in "{shown}")')
