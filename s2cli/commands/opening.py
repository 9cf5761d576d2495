"""The first step of every command that talks to a server."""

from __future__ import annotations

from s2cli import config, console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.args import Args


_WITH_STREAM = ("append", "read", "tail", "check-tail", "trim", "fence")


def open_settings(args: Args) -> config.Settings:
    """The settings of the command. Its stream and its target are looked at before there is any side effect, the stream
    first: choosing the target may start a server. `-v` hears of choices that may surprise."""
    settings = config.resolve(args)
    if args.command.rpartition(" ")[2] in _WITH_STREAM:
        settings.stream_uri(args.uri)
    target = settings.target()
    console.detail(f"using {target.socket_path or target.account_url} ({target.source})")
    for note in settings.notes:
        console.detail(note)
    return settings
