"""What the options of a create or a change ask for, as members of the API's config objects (protocol section 3)."""

from __future__ import annotations

import os

from s2cli.cli.args import BASIN_MEMBERS, STREAM_MEMBERS
from s2cli.errors import UsageError
from s2cli.values import parse_whole_seconds
from s2cli.wire.names import check_request_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import StreamConfigArgs
    from s2cli.cli.resource_args import BasinChangeArgs, BasinConfigArgs, RequestArgs, StreamChangeArgs


def stream_config(args: StreamConfigArgs) -> dict[str, object]:
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


def basin_config(args: BasinConfigArgs) -> dict[str, object]:
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


def stream_patch(args: StreamChangeArgs) -> dict[str, object]:
    """What is to change in a StreamConfig: the members that were given, and None for those of `--unset`."""
    return _with_unset(stream_config(args), _unset(args, STREAM_MEMBERS))


def basin_patch(args: BasinChangeArgs) -> dict[str, object]:
    """What is to change in a BasinConfig."""
    unset = _unset(args, BASIN_MEMBERS)
    patch = basin_config(args)
    defaults = _with_unset(stream_config(args), [member for member in unset if member in STREAM_MEMBERS])
    if defaults:
        patch["default_stream_config"] = defaults
    if "stream-cipher" in unset:
        patch["stream_cipher"] = None
    return patch


def request_token(args: RequestArgs) -> str:
    """The token of one write, the same for all its attempts, so that a repeated one is known (sections 9.1, 16.5)."""
    if args.request_token is None:
        return new_request_token()
    check_request_token(args.request_token)
    if not (args.request_token.isascii() and args.request_token.isprintable()):
        raise UsageError("--request-token must be printable ASCII")
    return args.request_token


def new_request_token() -> str:
    return os.urandom(16).hex()


# Member, as --unset names it -> where it is in a StreamConfig. A whole group is unset where it has one member.
_PLACES: dict[str, tuple[str, ...]] = {
    "storage-class": ("storage_class",),
    "retention-policy": ("retention_policy",),
    "timestamping-mode": ("timestamping", "mode"),
    "timestamping-uncapped": ("timestamping", "uncapped"),
    "delete-on-empty-min-age": ("delete_on_empty",),
}


def _unset(args: StreamChangeArgs, members: tuple[str, ...]) -> list[str]:
    for member in args.unset:
        if member not in members:
            what = "member of a basin" if members is BASIN_MEMBERS else "member of a stream"
            raise UsageError(f'--unset: "{member}" is not a {what}: {", ".join(members)}')
        if getattr(args, member.replace("-", "_")) is not None:
            raise UsageError(f"--{member} and --unset {member} contradict each other")
    return list(args.unset)


def _with_unset(config: dict[str, object], unset: list[str]) -> dict[str, object]:
    for member in unset:
        group, *rest = _PLACES[member]
        if not rest:
            config[group] = None
            continue
        inner = config.setdefault(group, {})
        assert isinstance(inner, dict)
        inner[rest[0]] = None
    return config


def _retention(text: str) -> dict[str, object]:
    if text == "infinite":
        return {"infinite": {}}
    seconds = _seconds(text, "--retention-policy", ", or infinite")
    if seconds == 0:
        raise UsageError("--retention-policy must be at least one second, or infinite")
    return {"age": seconds}


def _seconds(text: str, option: str, others: str = "") -> int:
    try:
        return parse_whole_seconds(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}{others}") from None
