"""`s2 locations list|get-default|set-default`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.connect import connect
from s2cli.commands.resource_options import request_token
from s2cli.commands.resource_output import print_list, print_one, text_of
from s2cli.errors import ExitCode
from s2cli.wire.names import check_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.account_args import DefaultLocationArgs, ListLocationsArgs, SetDefaultLocationArgs
    from s2cli.cli.resource_args import OutputArgs
    from s2cli.client.api import Resource

HEADERS = ("NAME", "ACCESS", "STORAGE CLASSES", "DEFAULT CLASS")


def list_locations(args: ListLocationsArgs) -> int:
    print_list(args, [api.list_locations(connect(args))], HEADERS, _row, lambda item: str(item.get("name")))
    return ExitCode.OK


def get_default_location(args: DefaultLocationArgs) -> int:
    _print(args, api.get_default_location(connect(args)))
    return ExitCode.OK


def set_default_location(args: SetDefaultLocationArgs) -> int:
    item = change_default(args, "the default location is {}")
    if args.output is not None:
        _print(args, item)
    return ExitCode.OK


def change_default(args: SetDefaultLocationArgs, said: str) -> Resource:
    """Make the location that the operand names the default, and say so; its LocationInfo."""
    check_location(args.location)
    item = api.set_default_location(connect(args), args.location, request_token(args))
    console.done(said.format(item.get("name")))
    return item


def access(item: Resource) -> str:
    return "private" if item.get("is_private") else "public"


def _print(args: OutputArgs, item: Resource) -> None:
    print_one(args, item, HEADERS, [_row(item)], str(item.get("name")))


def _row(item: Resource) -> tuple[str, ...]:
    classes = item.get("storage_classes")
    shown = ",".join(map(str, classes)) if isinstance(classes, list) else ""
    return text_of(item.get("name")), access(item), text_of(shown), text_of(item.get("default_storage_class"))
