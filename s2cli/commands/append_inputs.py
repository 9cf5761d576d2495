"""The input of an append, opened as its options say: what is read, what makes records of it, and what is done with
lines that are not valid records."""

from __future__ import annotations

import os
import sys

from s2cli.cli import console
from s2cli.client.input_files import STDIN, InputFiles
from s2cli.errors import UsageError
from s2cli.formats.input import find_timestamp, open_input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.record_args import AppendArgs
    from s2cli.client.followed_file import FollowedFile
    from s2cli.client.program_input import ProgramInput
    from s2cli.client.rate_limiter import RateLimiter
    from s2cli.commands.append_rejects import Rejects
    from s2cli.formats.input import TextInput


class AppendInput:
    """`files`: what is read. `source`: makes records of it. `rejects`: takes the lines that are not valid records; None
    if such a line ends the append. `program`: the program that writes the input; None if none is run. `followed`: the
    file that is followed; None if none is. `typed`: a person types the input."""

    __slots__ = ("files", "followed", "program", "rejects", "source", "typed")

    def __init__(self, args: AppendArgs, rate_limiter: RateLimiter | None = None) -> None:
        """Raises UsageError if an input cannot be read."""
        self.program: ProgramInput | None = None
        self.followed: FollowedFile | None = None
        self.files = self._open_files(args)
        self.typed = STDIN in self.files.names and console.stdin_is_terminal()
        self.rejects = self._open_rejects(args)
        self.source = self._open_source(args, rate_limiter)
        self.files.source = self.source

    def _open_files(self, args: AppendArgs) -> InputFiles:
        if args.program:
            from s2cli.client.program_input import ProgramInput

            self.program = ProgramInput(args.program)
            return self.program
        names = args.inputs or (STDIN,)
        if args.follow_file:
            from s2cli.client.followed_file import FollowedFile

            self.followed = FollowedFile(
                names[0], console.notice, args.separator or b"\n", keeps_positions=args.state is not None
            )
            return self.followed
        if STDIN in names:
            if args.encryption_key_file == STDIN:
                raise UsageError("standard input has the key: the records must come from a file")
            if sys.stdin is None:
                raise UsageError("standard input is closed: there is nothing to read")
            if console.stdin_is_terminal():
                console.notice("reading records from the terminal, one per line; end with Ctrl-D")
        return InputFiles(names, whole=args.raw)

    def _open_rejects(self, args: AppendArgs) -> Rejects | None:
        if args.on_error == "stop":
            return None
        from s2cli.commands.append_rejects import Rejects

        return Rejects(None if args.on_error == "skip" else args.on_error, args.separator, self.files)

    def _open_source(self, args: AppendArgs, rate_limiter: RateLimiter | None) -> TextInput:
        headers = [_parse_header(text) for text in args.header]
        batcher = None if rate_limiter is None else rate_limiter.new_batcher()
        reject = None if self.rejects is None else self.rejects.reject
        if self.program is not None:
            from s2cli.client.program_input import STREAMS
            from s2cli.formats.stream_input import StreamInput

            self.program.streams = StreamInput(
                args.separator or b"\n",
                headers,
                STREAMS,
                timestamp_of=find_timestamp(args.timestamp_from),
                batcher=batcher,
                reject=reject,
            )
            return self.program.streams
        return open_input(
            args.format,
            args.separator,
            headers,
            skip_commands=args.commands == "skip",
            timestamp_field=args.timestamp_from,
            batcher=batcher,
            reject=reject,
        )


def _parse_header(text: str) -> tuple[bytes, bytes]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f'--header: "{text}" is not a header: write NAME=VALUE')
    return os.fsencode(name), os.fsencode(value)
