"""The first step of every command that talks to a server."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.cli.args import STREAM_MEMBERS
from s2cli.config import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args


RECORD_COMMANDS = ("append", "read", "tail", "check-tail", "trim", "fence")


def open_settings(args: Args) -> settings.Settings:
    """The settings of the command, which `args` keep. Its stream and its target are looked at before there is any side
    effect, the stream first: choosing the target may start a server. `-v` hears of choices that may surprise."""
    chosen = settings.resolve(args)
    if args.command.rpartition(" ")[2] in RECORD_COMMANDS:
        chosen.stream_uri(args.uri)
    target = chosen.target()
    args.settings = chosen
    console.detail(f"using {target.socket_path or target.account_url} ({target.source})")
    for note in chosen.notes:
        console.detail(note)
    return chosen


def stream_config_header(args: Args) -> str | None:
    """The `s2-stream-config` that the options ask for (protocol section 17.1); None where there are none."""
    for member in STREAM_MEMBERS:
        if getattr(args, member.replace("-", "_")) is not None:
            import json

            from s2cli.commands.resource_options import stream_config

            return json.dumps(stream_config(args), separators=(",", ":"))  # ASCII, as a header has to be
    return None
