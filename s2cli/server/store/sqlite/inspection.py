"""What a store looks for in the background when it is opened: names that are hidden, and streams whose ends are in
doubt."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import TypeVar, TypeVarTuple

from s2cli.errors import ApiError
from s2cli.server.store.sqlite import doubt, hidden
from s2cli.server.store.sqlite.disk import LOOK_S
from s2cli.server.store.sqlite.hidden import Hidden
from s2cli.server.store.sqlite.reader import Reader, Slices
from s2cli.server.store.sqlite.schema import FILE_NAME

# The rest of what is missing or damaged is not in the log.
MAX_LOGGED = 100

log = logging.getLogger("s2cli.server")

Result = TypeVar("Result")
Values = TypeVarTuple("Values")


class Inspection:
    """It begins at once, in slices between what others read. `places` are those of which it is known by now that
    something is missing or damaged there. For `lost_ends` and `note_tails` see doubt.find()."""

    def __init__(self, reader: Reader, lost_ends: Mapping[int, int], note_tails: Callable[[set[int]], None]) -> None:
        self.places: list[str] = []
        self.all_found = False  # all names were checked, and none is hidden
        self._reader = reader
        loop = asyncio.get_running_loop()
        self._names = loop.create_task(self._look_at_names())
        self._ends = loop.create_task(self._look_at_ends(lost_ends, note_tails))

    def close(self) -> None:
        self._names.cancel()
        self._ends.cancel()

    async def hidden(self) -> Hidden:
        """Waits until all names were checked."""
        if self._names.done():
            return self._names.result()
        return await asyncio.shield(self._names)

    async def _look_at_names(self) -> Hidden:
        found = await self._look(hidden.find)
        for place, problem in found.problems():
            self._note(place, problem)
        self.all_found = not found
        return found

    async def _look_at_ends(self, lost_ends: Mapping[int, int], note_tails: Callable[[set[int]], None]) -> None:
        try:
            doubts = await self._look(doubt.find, lost_ends, note_tails)
        except ApiError as error:
            self._note(FILE_NAME, f"where streams end cannot be told of all of them: {error.message}")
            return
        for found in doubts:
            self._note(found.place, f"{found.problem}: from sequence number {found.first} to {found.end - 1}")

    async def _look(self, begin: Callable[[sqlite3.Connection, *Values], Slices[Result]], *values: *Values) -> Result:
        """What the slices return. They are begun again where another program is in the way."""
        while True:
            try:
                return await self._reader.in_slices(begin, *values)
            except ApiError as error:
                if error.code != "unavailable":
                    raise
                await asyncio.sleep(LOOK_S)

    def _note(self, place: str, problem: str) -> None:
        self.places.append(place)
        if len(self.places) <= MAX_LOGGED:
            log.critical("%s: %s", place, problem)
        elif len(self.places) == MAX_LOGGED + 1:
            log.critical("more is missing or damaged: s2 lite check names all of it")
