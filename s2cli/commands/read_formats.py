"""The formats in which `read` and `tail` print records: text, JSON, a template. Each formats a whole delivery at
once."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.formats import text_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from s2cli.cli.read_args import PrintArgs
    from s2cli.formats.record_template import Template
    from s2cli.wire.read_session import Delivered

    class RecordFormat(Protocol):
        # Whether only bodies are shown: then a batch is not decoded any further.
        bodies_only: bool

        def format(self, batches: list[Delivered]) -> bytes:
            """The bytes to print for all of these records."""


def choose_format(args: PrintArgs, stream: str, *, label: bytes | None = None) -> RecordFormat:
    """The format that the options ask for. `stream` is the URI of the stream; `label` is put before each line of text
    if several streams are read, and notices name the stream then. Raises UsageError for a template that is not
    valid."""

    def tell(text: str) -> None:
        console.notice(text if label is None else f"{stream}: {text}")

    if args.template is not None:
        from s2cli.formats.record_template import Template
        from s2cli.values import parse_option

        return TemplateFormat(parse_option("--template", lambda text: Template(text, stream), args.template), tell)
    if args.format == "text" or args.jq is not None:  # the results of jq are the bodies
        return TextFormat(_separator(args), tell, label or b"" if not args.raw and args.jq is None else b"")
    if args.format == "pretty":
        from s2cli.commands.pretty_output import PrettyFormat

        return PrettyFormat(label)
    return JsonFormat(
        "\0" if args.zero else "\n",
        base64=args.format == "json-base64",
        parse_json=args.parse_json,
        stream=stream if label is not None else None,
    )


def _separator(args: PrintArgs) -> bytes:
    if args.raw:
        return b""
    if args.delimiter is not None:
        return args.delimiter
    return b"\0" if args.zero else b"\n"


class TextFormat:
    """The bodies, each followed by the separator. Command records are left out; `tell` gets a line about each."""

    bodies_only = True

    def __init__(self, separator: bytes, tell: Callable[[str], None], prefix: bytes) -> None:
        self._separator = separator
        self._tell = tell
        self._prefix = prefix

    def format(self, batches: list[Delivered]) -> bytes:
        parts: list[bytes] = []
        bodies: list[bytes] = []
        for batch in batches:
            if batch.bodies is not None:
                bodies += batch.bodies
                continue
            if bodies:
                parts.append(self._lines(bodies))
                bodies = []
            records = text_output.without_commands(batch.records, self._tell)
            parts.append(self._lines([record.body for record in records]))
        if bodies:
            parts.append(self._lines(bodies))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _lines(self, bodies: list[bytes]) -> bytes:
        if self._prefix:
            bodies = [self._prefix + body for body in bodies]
        return text_output.format_bodies(bodies, self._separator)


class TemplateFormat:
    """Each record by the template. Command records are left out; `tell` gets a line about each."""

    bodies_only = False

    def __init__(self, template: Template, tell: Callable[[str], None]) -> None:
        self._template = template
        self._tell = tell

    def format(self, batches: list[Delivered]) -> bytes:
        template, tell = self._template, self._tell
        return b"".join(template.format_records(text_output.without_commands(batch.records, tell)) for batch in batches)


class JsonFormat:
    """A JSON object for each record, command records included."""

    bodies_only = False

    def __init__(self, separator: str, *, base64: bool, parse_json: bool, stream: str | None) -> None:
        from s2cli.formats import json_output

        self._separator = separator
        self._base64 = base64
        self._stream = stream
        self._encode_body = json_output.encode_json_body if parse_json else None
        self._format_records = json_output.format_records

    def format(self, batches: list[Delivered]) -> bytes:
        return b"".join(
            self._format_records(
                batch.records, self._separator, base64=self._base64, stream=self._stream, encode_body=self._encode_body
            )
            for batch in batches
        )
