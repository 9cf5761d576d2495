"""Lists that show a bearer only what his token covers, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s2cli.server.core.scopes import ResourceSet

Row = TypeVar("Row")


async def list_within(
    allowed: ResourceSet | None,
    prefix: str,
    fetch: Callable[[str], Awaitable[tuple[list[Row], bool]]],
    name_of: Callable[[Row], str],
) -> tuple[list[Row], bool]:
    """The page that `fetch` gives for a prefix, without what is not `allowed`. By another prefix, not by leaving out
    rows of a page: a client that gets an empty page does not know where the next one begins."""
    if allowed is None:
        return await fetch(prefix)
    if allowed.is_empty:
        return [], False
    if allowed.text.startswith(prefix):
        rows, has_more = await fetch(allowed.text)
        if allowed.is_prefix:
            return rows, has_more
        # Of all names that begin with it the exact one is the first.
        return [row for row in rows[:1] if name_of(row) in allowed], False
    if allowed.is_prefix and prefix.startswith(allowed.text):
        return await fetch(prefix)
    return [], False
