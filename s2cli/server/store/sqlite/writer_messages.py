"""What the writer's thread is told."""

from __future__ import annotations

from dataclasses import dataclass

from s2cli.server.store.interface import Append
from s2cli.server.store.sqlite.operations import Operation
from s2cli.server.store.sqlite.page_copy import PageCopy


@dataclass(frozen=True, slots=True)
class Trim:
    """Delete the chunks of each stream id that end at or before its trim point."""

    trim_points: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Expire:
    """Delete what has expired by `now_ms`."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class NoteTails:
    """The rows of these streams do not have their tails yet."""

    stream_ids: set[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """End when all that came before is written."""


# Appends that came together are a plain tuple: it is the hot path.
Message = tuple[Append, ...] | Operation | PageCopy | Trim | Expire | NoteTails | Stop
