"""What the options of a create ask for, as members of the API's config objects (protocol section 3)."""

from __future__ import annotations

import os

from s2cli.errors import UsageError
from s2cli.values import parse_duration_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.args import Args


def stream_config(args: Args) -> dict[str, object]:
    """The StreamConfig that the options ask for; empty where none was given, so that every default applies."""
    config: dict[str, object] = {}
    if args.storage_class is not None:
        config["storage_class"] = args.storage_class
    if args.retention_policy is not None:
        config["retention_policy"] = _retention(args.retention_policy)
    timestamping: dict[str, object] = {}
    if args.timestamping_mode is not None:
        timestamping["mode"] = args.timestamping_mode
    if args.timestamping_uncapped is not None:
        timestamping["uncapped"] = args.timestamping_uncapped
    if timestamping:
        config["timestamping"] = timestamping
    if args.delete_on_empty_min_age is not None:
        seconds = _seconds(args.delete_on_empty_min_age, "--delete-on-empty-min-age")
        config["delete_on_empty"] = {"min_age_secs": seconds}
    return config


def basin_config(args: Args) -> dict[str, object]:
    """The BasinConfig that the options ask for; the stream options are defaults for the streams of the basin."""
    config: dict[str, object] = {}
    defaults = stream_config(args)
    if defaults:
        config["default_stream_config"] = defaults
    if args.stream_cipher is not None:
        config["stream_cipher"] = args.stream_cipher
    if args.create_stream_on_append is not None:
        config["create_stream_on_append"] = args.create_stream_on_append
    if args.create_stream_on_read is not None:
        config["create_stream_on_read"] = args.create_stream_on_read
    return config


def new_request_token() -> str:
    """A token for one create: the same for all its attempts, so that a repeated one is recognised (section 9.1)."""
    return os.urandom(16).hex()


def _retention(text: str) -> dict[str, object]:
    if text == "infinite":
        return {"infinite": {}}
    seconds = _seconds(text, "--retention-policy")
    if seconds == 0:
        raise UsageError("--retention-policy must be at least one second, or infinite")
    return {"age": seconds}


def _seconds(text: str, option: str) -> int:
    try:
        milliseconds = parse_duration_ms(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}") from None
    if milliseconds % 1000:
        raise UsageError(f"{option} counts whole seconds, {text} is none")
    return milliseconds // 1000
