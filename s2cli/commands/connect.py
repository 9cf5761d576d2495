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
    """The settings of the command, which `args` keep. `-v` hears of choices that may surprise."""
    settings = Settings(args)
    target = settings.target()
    args.settings = settings
    console.detail(f"using {target.socket_path or target.account_url} ({target.source})")
    for note in settings.notes:
        console.detail(note)
    return settings


def connect(args: CommonArgs) -> ApiClient:
    """The client for calls about basins, streams, tokens, metrics and locations; it says what it tries again."""
    from s2cli.client.api import ApiClient  # not on the way of an append or a read

    settings = open_settings(args)
    return ApiClient(settings.target(), settings.timeout_s, console.notice)


def open_stream(args: RecordArgs, *, hint: str | None = None) -> tuple[Settings, StreamUri]:
    """The settings of a command on the records of a stream, and the stream. The name is looked at first: choosing the
    target may start a server. `hint` says what to type where no stream was named. Raises UsageError."""
    uri = Settings(args).stream_uri(args.uri, args.stream, hint=hint)
    return open_settings(args), uri


def stream_config_header(args: StreamConfigArgs) -> str | None:
    """The `s2-stream-config` that the options ask for (protocol section 17.1); None where there are none."""
    if all(getattr(args, member.replace("-", "_")) is None for member in STREAM_MEMBERS):
        return None
    import json

    from s2cli.commands.resource_options import stream_config

    return json.dumps(stream_config(args), separators=(",", ":"))  # ASCII, as a header has to be
