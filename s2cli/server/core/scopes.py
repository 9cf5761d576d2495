"""What an access token may do: operations, groups of them, and sets of resources (protocol sections 8.1 and 8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from s2cli.errors import ApiError, BadValueError
from s2cli.wire.names import OP_GROUPS, OPERATIONS, check_basin_prefix, check_stream_prefix, check_token_prefix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Row = TypeVar("Row")


class ResourceSet:
    """One name, all names with a prefix, or nothing."""

    __slots__ = ("is_prefix", "text")

    def __init__(self, text: str, *, is_prefix: bool) -> None:
        self.text = text
        self.is_prefix = is_prefix

    def __contains__(self, name: str) -> bool:
        # No name is empty, so the exact "" has nothing in it.
        return name.startswith(self.text) if self.is_prefix else name == self.text != ""

    @property
    def is_empty(self) -> bool:
        return not self.is_prefix and not self.text

    def covers(self, other: ResourceSet) -> bool:
        """Whether everything in `other` is in here too."""
        if other.is_empty:
            return True
        if other.is_prefix and not self.is_prefix:
            return False
        return other.text in self if other.text else self.text == "" and self.is_prefix

    def show(self) -> dict[str, str] | None:
        if self.is_empty:
            return None
        return {"prefix" if self.is_prefix else "exact": self.text}


async def list_within(
    allowed: ResourceSet | None,
    prefix: str,
    fetch: Callable[[str], Awaitable[tuple[list[Row], bool]]],
    name_of: Callable[[Row], str],
) -> tuple[list[Row], bool]:
    """The page of a list that `fetch` gives for a prefix, without what is not `allowed`. By another prefix, not by
    leaving out rows of a page: a client that gets an empty page does not know where the next one begins."""
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


NOTHING = ResourceSet("", is_prefix=False)
EVERYTHING = ResourceSet("", is_prefix=True)


class Scope:
    """What a token covers. `operations` are the effective ones: those that are named, and those of the groups."""

    __slots__ = ("_groups", "_named", "access_tokens", "basins", "operations", "streams")

    def __init__(
        self,
        basins: ResourceSet,
        streams: ResourceSet,
        access_tokens: ResourceSet,
        groups: dict[str, dict[str, bool]],
        named: list[str],
    ) -> None:
        self.basins = basins
        self.streams = streams
        self.access_tokens = access_tokens
        self._groups = groups
        self._named = named
        of_groups = [
            op
            for group, given in groups.items()
            for access in given
            if given[access]
            for op in OP_GROUPS[group][access]
        ]
        self.operations = frozenset((*named, *of_groups))

    def covers(self, other: Scope) -> bool:
        return (
            self.operations >= other.operations
            and self.basins.covers(other.basins)
            and self.streams.covers(other.streams)
            and self.access_tokens.covers(other.access_tokens)
        )

    def show(self) -> dict[str, Any]:
        """The scope as the API writes it: all groups, and null for nothing."""
        return {
            "basins": self.basins.show(),
            "streams": self.streams.show(),
            "access_tokens": self.access_tokens.show(),
            "op_groups": self._groups,
            "ops": self._named,
        }


def everything() -> Scope:
    groups = {group: {"read": True, "write": True} for group in OP_GROUPS}
    return Scope(EVERYTHING, EVERYTHING, EVERYTHING, groups, [])


def parse_scope(value: object) -> Scope:
    """A scope out of a JSON body. Raises ApiError `bad_json`."""
    members = _members(value, "scope")
    groups = _members(members.get("op_groups"), "scope.op_groups")
    named = members.get("ops")
    if named is None:
        named = []
    if not isinstance(named, list):
        raise ApiError("bad_json", "`scope.ops` must be an array")
    for op in named:
        if not isinstance(op, str) or op not in OPERATIONS:
            raise ApiError("bad_json", f"`scope.ops`: unknown operation {op!r}")
    return Scope(
        _resource_set(members, "basins", check_basin_prefix),
        _resource_set(members, "streams", check_stream_prefix),
        _resource_set(members, "access_tokens", check_token_prefix),
        {group: _access(groups, group) for group in OP_GROUPS},
        list(dict.fromkeys(named)),
    )


def _access(groups: dict[str, Any], group: str) -> dict[str, bool]:
    given = _members(groups.get(group), f"scope.op_groups.{group}")
    flags = {}
    for access in ("read", "write"):
        flag = given.get(access)
        if flag is not None and not isinstance(flag, bool):
            raise ApiError("bad_json", f"`scope.op_groups.{group}.{access}` must be a boolean")
        flags[access] = bool(flag)
    return flags


def _resource_set(members: dict[str, Any], name: str, check: Callable[[str, str], None]) -> ResourceSet:
    value = members.get(name)
    if value is None:
        return NOTHING
    given = _members(value, f"scope.{name}")
    kinds = [kind for kind in ("exact", "prefix") if given.get(kind) is not None]
    if len(kinds) != 1 or not isinstance(given[kinds[0]], str):
        raise ApiError("bad_json", f"`scope.{name}` must have either `exact` or `prefix`, a string")
    text: str = given[kinds[0]]
    try:
        check(text, kinds[0])
    except BadValueError as error:
        raise ApiError("bad_json", f"`scope.{name}`: {error.message}") from error
    return ResourceSet(text, is_prefix=kinds[0] == "prefix")


def _members(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError("bad_json", f"`{name}` must be an object")
    return value
