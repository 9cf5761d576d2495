"""How whoever waits for the store hears what has become of it. In the event loop."""

from __future__ import annotations

from asyncio import Future
from typing import Any


def resolve(future: Future[Any], result: Any, error: BaseException | None) -> None:
    """Gives the future the result, or the error if there is one; not if nobody waits any more."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
