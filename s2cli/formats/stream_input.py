"""Makes records of the output of a program: one of each line, with a header that says whether it came from stdout or
stderr, and one of how the program ended."""

from __future__ import annotations

from s2cli.formats.input import EncodedInput, text_parser
from s2cli.formats.lines import LineSplitter
from s2cli.wire.append_input import Batcher, encode_headers, encode_record
from s2cli.wire.protobuf import RECORD_OVERHEAD_BYTES
from s2cli.wire.record_rules import metered_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.formats.input import Headers, Parse, Reject, Splitter
    from s2cli.wire.append_input import Records

STREAM, STATUS = b"stream", b"exit-status"


class StreamInput(EncodedInput):
    """Is given the output by feed_stream(), and its end by finish_streams(). The lines of both streams are counted
    together, as they come."""

    __slots__ = ("_headers", "_streams")

    def __init__(
        self,
        separator: bytes,
        headers: Headers,
        streams: tuple[str, ...],
        *,
        timestamp_of: Callable[[bytes], int] | None = None,
        batcher: Batcher | None = None,
        reject: Reject | None = None,
    ) -> None:
        self._headers = headers
        self._streams: dict[str, tuple[Splitter, Parse]] = {}
        for name in streams:
            limit_bytes, parse = text_parser([*headers, (STREAM, name.encode())], timestamp_of)
            self._streams[name] = LineSplitter(separator, limit_bytes), parse
        first = self._streams[streams[0]]
        super().__init__(first[0], first[1], batcher, reject)

    def feed_stream(self, name: str, data: bytes) -> list[Records]:
        """Takes output of the stream `name`. Returns the batches that are complete now."""
        self._lines, self._parse = self._streams[name]
        return self.feed(data)

    def finish_streams(self, exit_code: int, how: str) -> list[Records]:
        """Takes last lines without a newline, and adds a record that says how the program ended: its body is `how`.
        Returns the batches that are complete now."""
        batches: list[Records] = []
        for splitter, parse in self._streams.values():
            self._lines, self._parse = splitter, parse
            batches += self.finish()
        if self.error is not None:
            return batches
        headers = [*self._headers, (STREAM, b"exit"), (STATUS, b"%d" % exit_code)]
        body = how.encode()
        self._parsed += 1
        size = metered_bytes(body, headers) - RECORD_OVERHEAD_BYTES
        record = encode_record(body, encode_headers(headers))
        return batches + [self._encode(*batch) for batch in self._batcher.add([record], size, [size])]
