"""How far an append has come in a file that it follows: found again behind its rotation."""

from __future__ import annotations

from s2cli.client.checkpoint import Checkpoint
from s2cli.client.rotated_files import FilePosition
from s2cli.wire.bodies import is_u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.followed_file import FollowedFile
    from s2cli.client.state_file import Fields, StateFile


class FollowedCheckpoint(Checkpoint):
    """Its lines are counted in the file that they are in."""

    __slots__ = ("_file",)

    def __init__(self, state: StateFile, place: dict[str, object], file: FollowedFile) -> None:
        super().__init__(state, place)
        self._file = file

    def end_of_input(self, lines: int) -> None:
        """A file that is followed has no end."""

    def _go_to(self, fields: Fields) -> int:
        position = _position(fields.get("file"))
        if position is None:
            raise self._damaged()
        if not self._file.go_to(position):
            raise self._state.mismatch(
                f"is in the middle of a file that is gone: no file {self._file.name}* has the {self.resumed_line - 1} "
                "lines that are durable"
            )
        return position.line - 1

    def _describe(self, line: int) -> Fields:
        next_line, position = self._file.position(line)
        file = {
            "device": position.file_id[0],
            "inode": position.file_id[1],
            "head": list(position.head),
            "line": position.line,
            "offset": position.offset,
        }
        return {"next_line": next_line, "file": file}


def _position(file: object) -> FilePosition | None:
    if not isinstance(file, dict):
        return None
    head = file.get("head")
    if not (isinstance(head, list) and len(head) == 2 and isinstance(head[1], str)):
        return None
    numbers = [head[0], *(file.get(name) for name in ("device", "inode", "line", "offset"))]
    if not all(map(is_u64, numbers)) or not numbers[3]:
        return None
    size, device, inode, line, offset = numbers
    return FilePosition((device, inode), (size, head[1]), line, offset)
