"""`s2 locations list|get-default|set-default`."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.client import api
from s2cli.commands.basins import connect
from s2cli.commands.resource_options import request_token
from s2cli.commands.resource_output import print_list, print_one, text_of
from s2cli.errors import ExitCode
from s2cli.wire.names import check_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args
    from s2cli.client.api import Resource

HEADERS = ("NAME", "ACCESS", "STORAGE CLASSES", "DEFAULT CLASS")


def run(args: Args) -> int:
    return VERBS[args.command.rpartition(" ")[2]](args)


def list_locations(args: Args) -> int:
    print_list(args, [api.list_locations(connect(args))], HEADERS, _row, lambda item: str(item.get("name")))
    return ExitCode.OK


def get_default(args: Args) -> int:
    _print(args, api.get_default_location(connect(args)))
    return ExitCode.OK


def set_default(args: Args) -> int:
    item = changed_default(args)
    console.notice(f"the default location is {item.get('name')}")
    if args.output is not None:
        _print(args, item)
    return ExitCode.OK


def changed_default(args: Args) -> Resource:
    """The LocationInfo of the default location, once it is the one that the operand names."""
    name = args.location or ""
    check_location(name)
    return api.set_default_location(connect(args), name, request_token(args))


def access(item: Resource) -> str:
    return "private" if item.get("is_private") else "public"


def _print(args: Args, item: Resource) -> None:
    print_one(args, item, HEADERS, [_row(item)], str(item.get("name")))


def _row(item: Resource) -> tuple[str, ...]:
    classes = item.get("storage_classes")
    shown = ",".join(map(str, classes)) if isinstance(classes, list) else ""
    return text_of(item.get("name")), access(item), text_of(shown), text_of(item.get("default_storage_class"))


VERBS = {"list": list_locations, "get-default": get_default, "set-default": set_default}
