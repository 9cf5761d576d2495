"""The first step of every command that talks to a server."""

from __future__ import annotations

from s2cli import config, console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.args import Args


def open_settings(args: Args) -> config.Settings:
    """The settings of the command; the target is chosen at once, so that a bad configuration ends it before any side
    effect, and `-v` hears of choices that may surprise."""
    settings = config.resolve(args)
    target = settings.target()
    console.detail(f"using {target.socket_path or target.account_url} ({target.source})")
    for note in settings.notes:
        console.detail(note)
    return settings
