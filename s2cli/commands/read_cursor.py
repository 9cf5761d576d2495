"""How far a read with `--state` has come. That is saved after the records were written and synced, and the next run
prints the records that follow. After a crash the records since the last save are printed again: each is printed at
least once, and with `-O` exactly once, since the file is truncated to what was saved."""

from __future__ import annotations

import os
import time

from s2cli.client.state_file import SAVE_S, StateFile
from s2cli.errors import S2Error, UsageError
from s2cli.wire.bodies import is_u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.commands.read_output import RecordWriter
    from s2cli.endpoints import Target


class ReadCursor:
    """`position`: the sequence number of the next record to print; None in the first run. `output_bytes`: how long the
    output file was when that was saved."""

    __slots__ = ("_next_save", "_place", "_state", "output_bytes", "position")

    def __init__(self, name: str, uri: str, target: Target, output_file: str | None) -> None:
        """Reserves and loads the state. Raises UsageError if it is of another command, stream or file,
        PreconditionError while another process uses it, S2Error if it cannot be read."""
        self._state = StateFile(name)
        self._state.lock()
        output = None if output_file in (None, "-") else os.path.abspath(str(output_file))
        self._place: dict[str, object] = {"command": "read", "stream": uri, "server": target.server, "output": output}
        self._next_save = 0.0
        self.position: int | None = None
        self.output_bytes = 0
        fields = self._state.load_for(self._place)
        if fields is not None:
            self._resume(fields, output)

    def _resume(self, fields: dict[str, object], output: str | None) -> None:
        position, size = fields.get("next_seq_num"), fields.get("output_bytes")
        if not is_u64(position) or not is_u64(size):
            raise S2Error(f"{self._state.path} has no valid position of a read")
        assert isinstance(position, int)
        assert isinstance(size, int)
        if output is not None and size and (not os.path.exists(output) or os.path.getsize(output) < size):
            raise UsageError(
                f"{output} has less than the {size} bytes that were written to it",
                hint=f"begin anew: s2 state reset {self._state.name}",
            )
        self.position, self.output_bytes = position, size

    def note(self, position: int | None, writer: RecordWriter) -> None:
        """Saves that all before `position` is written, unless something was saved within the last second."""
        now = time.monotonic()
        if now >= self._next_save:
            self._next_save = now + SAVE_S
            self.save(position, writer)

    def save(self, position: int | None, writer: RecordWriter) -> None:
        """Saves that all before `position` is written; None if the read has not begun. Raises S2Error."""
        if position is not None:
            output_bytes = writer.sync()
            self._state.save({**self._place, "next_seq_num": position, "output_bytes": output_bytes})
