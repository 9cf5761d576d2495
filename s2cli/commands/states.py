"""`s2 state list|show|reset`: the states that `--state` has saved."""

from __future__ import annotations

import time

from s2cli.cli import console
from s2cli.client.state_file import StateFile, list_names
from s2cli.commands.resource_output import print_list, print_one, text_of
from s2cli.errors import ExitCode, NotFoundError, S2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.state_args import ListStatesArgs, ResetStateArgs, ShowStateArgs

    Resource = dict[str, object]

HEADERS = ("NAME", "COMMAND", "STREAM", "NEXT SEQ NUM", "SAVED")


def list_states(args: ListStatesArgs) -> int:
    items = []
    for name in list_names():
        try:
            item = _read(name)
        except S2Error as error:
            console.warn(error.message)
            continue
        if item is not None:
            items.append(item)
    print_list(args, [items], HEADERS, _row, lambda item: str(item["name"]))
    return ExitCode.OK


def show_state(args: ShowStateArgs) -> int:
    item = _read(args.name)
    if item is None:
        raise NotFoundError(f"there is no state {args.name}", hint="s2 state list shows them")
    rows: list[tuple[str, ...]] = [
        (key, text_of(_local_time(value) if key == "saved_ms" else value)) for key, value in item.items()
    ]
    print_one(args, item, ("WHAT", "VALUE"), rows, str(item["name"]))
    return ExitCode.OK


def reset_state(args: ResetStateArgs) -> int:
    state = StateFile(args.name)
    state.lock()
    if _read(args.name, or_broken=True) is None:
        raise NotFoundError(f"there is no state {args.name}", hint="s2 state list shows them")
    if not console.confirm_deletion(f"the state {args.name}", name=None, yes=args.yes):
        return ExitCode.FAILURE
    state.remove()
    console.done(f"the state {args.name} is forgotten")
    return ExitCode.OK


def _read(name: str, *, or_broken: bool = False) -> Resource | None:
    """The fields of a state and its name; None if there is no such state. Raises S2Error if it cannot be read; with
    `or_broken` only its name is returned then."""
    state = StateFile(name)
    try:
        fields = state.load()
    except S2Error:
        if or_broken:
            return {"name": name}
        raise
    if fields is None:
        return None
    fields.pop("version", None)
    return {"name": name, **fields}


def _row(item: Resource) -> tuple[str, ...]:
    seq_num = text_of(item.get("next_seq_num"))
    return (
        str(item["name"]),
        text_of(item.get("command")),
        text_of(item.get("stream")),
        seq_num,
        _local_time(item.get("saved_ms")),
    )


def _local_time(saved_ms: object) -> str:
    if not isinstance(saved_ms, int):
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(saved_ms // 1000))
