"""HTTP/1.1 as its grammar has it (RFC 9112), no more: which requests any reader would see in some bytes."""

import re

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# More than one space is let pass: nobody sees another end of the request for that.
_REQUEST_LINE = re.compile(rb"(%b) +([!-~]+) +HTTP/1\.([01])" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*?)[ \t]*" % _TOKEN)
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TARGET = re.compile(rb"[a-z]+://[^/?#]*([^#]*)")


class _RefusedError(Exception):
    """No request, or one that has not come to its end."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def line(self) -> bytes:
        end = self._data.find(b"\r\n", self.at)
        line = self._data[self.at : end]
        if end < 0 or re.search(rb"[\r\n\0]", line):
            raise _RefusedError
        self.at = end + 2
        return line

    def take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) < size:
            raise _RefusedError
        self.at += size
        return taken

    def fields(self) -> list[tuple[bytes, bytes]]:
        fields = []
        while line := self.line():
            found = _FIELD.fullmatch(line)
            if found is None:
                raise _RefusedError
            fields.append((found[1].lower(), found[2]))
        return fields

    def skip_empty_lines(self) -> bool:
        while self._data[self.at : self.at + 1] in (b"\r", b"\n"):
            self.at += 1
        return self.at < len(self._data)


def requests_in(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], tuple[bytes, bytes] | None]:
    """Method, target and body of each; and method and target of a last one whose body is not as it has to be."""
    reader, found = _Reader(data), []
    begun: tuple[bytes, bytes] | None = None
    try:
        while reader.skip_empty_lines():
            begun = None
            line = _REQUEST_LINE.fullmatch(reader.line())
            if line is None:
                break
            fields = reader.fields()
            read_body = _body_reader(fields, is_1_0=line[3] == b"0")
            begun = line[1], _origin_form(line[2])
            found.append((*begun, read_body(reader)))
            options = {option.strip(b" \t").lower() for option in b",".join(_values(fields, b"connection")).split(b",")}
            if b"close" in options or (line[3] == b"0" and b"keep-alive" not in options):
                return found, None
    except _RefusedError:
        return found, begun
    return found, None


def _values(fields, name):
    return [value for known, value in fields if known == name]


def _origin_form(target):
    whole = _TARGET.fullmatch(target)
    path = whole[1] if whole else target.partition(b"#")[0]
    return path.rstrip(b"?") or b"/"


def _body_reader(fields, *, is_1_0):
    hosts, lengths, codings = (_values(fields, name) for name in (b"host", b"content-length", b"transfer-encoding"))
    if len(hosts) > 1 or not (hosts or is_1_0) or len(lengths) > 1 or (codings and (lengths or is_1_0)):
        raise _RefusedError
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise _RefusedError
        return _read_chunks
    if lengths and (re.fullmatch(rb"[0-9]+", lengths[0]) is None or int(lengths[0]) >= 2**64):
        raise _RefusedError
    size = int(lengths[0]) if lengths else 0
    return lambda reader: reader.take(size)


def _read_chunks(reader):
    body = b""
    while True:
        size = _CHUNK.fullmatch(reader.line())
        if size is None:
            raise _RefusedError
        if not int(size[1], 16):
            reader.fields()
            return body
        body += reader.take(int(size[1], 16))
        if reader.take(2) != b"\r\n":
            raise _RefusedError
