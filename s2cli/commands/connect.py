"""The first step of every command that talks to a server."""

from __future__ import annotations

from s2cli.cli import console
from s2cli.cli.args import STREAM_MEMBERS
from s2cli.config.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import CommonArgs, StreamConfigArgs
    from s2cli.cli.record_args import RecordArgs
    from s2cli.client.api import ApiClient
    from s2cli.values import StreamUri


def open_settings(args: CommonArgs) -> Settings:
    """The settings of the command, also kept as `args.settings`. With `-v`, it prints which server was chosen, and
    notes on choices that may surprise."""
    settings = Settings(args)
    target = settings.target()
    args.settings = settings
    console.detail(f"using {target.socket_path or target.account_url} ({target.source})")
    for note in settings.notes:
        console.detail(note)
    return settings


def connect(args: CommonArgs) -> ApiClient:
    """The client for calls about basins, streams, tokens, metrics and locations. It prints a notice when it retries
    one."""
    from s2cli.client.api import ApiClient  # not on the way of an append or a read

    settings = open_settings(args)
    return ApiClient(settings.target(), settings.timeout_s, console.notice)


def open_stream(args: RecordArgs, *, hint: str | None = None) -> tuple[Settings, StreamUri]:
    """The settings of a command on the records of a stream, and the stream. Raises UsageError, with `hint` if no stream
    was named. The name is checked before the settings are opened, because that may start a server."""
    uri = Settings(args).stream_uri(args.uri, args.stream, hint=hint)
    return open_settings(args), uri


def stream_config_header(args: StreamConfigArgs) -> str | None:
    """The value of the header `s2-stream-config` (protocol section 17.1); None if no option sets a part of it."""
    if all(getattr(args, member.replace("-", "_")) is None for member in STREAM_MEMBERS):
        return None
    import json

    from s2cli.commands.resource_options import stream_config

    return json.dumps(stream_config(args), separators=(",", ":"))  # ASCII, as a header has to be
