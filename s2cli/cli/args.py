"""What a command line says, in one plain object, whichever parser read it.

Both parsers (strict_parser and typer) give a dict of what was written, by parameter name; resolve() turns texts into
values.
"""

from __future__ import annotations

from s2cli.errors import UsageError
from s2cli.values import URI_PREFIX, parse_duration_ms, parse_size_bytes, parse_u64, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.config.settings import Settings

# The names of the record formats, the official aliases among them.
RECORD_FORMATS = {
    "text": "text", "": "text",
    "json": "json", "jsonl": "json", "raw": "json",
    "json-base64": "json-base64", "base64": "json-base64", "json-binsafe": "json-base64",
}  # fmt: skip

# What `--unset` can name.
STREAM_MEMBERS = (
    "storage-class",
    "retention-policy",
    "timestamping-mode",
    "timestamping-uncapped",
    "delete-on-empty-min-age",
)
BASIN_MEMBERS = (*STREAM_MEMBERS, "stream-cipher")


class Args:
    """The options and operands of one command; what was not given has the default that stands here."""

    # Of every command
    command: str = ""  # its full name, as in "basins list"
    local: bool = False
    profile: str | None = None
    account_endpoint: str | None = None
    basin_endpoint: str | None = None
    access_token_file: str | None = None
    ca_file: str | None = None
    insecure_http: bool = False
    http2: bool = False
    timeout_s: float | None = None
    quiet: bool = False
    verbose: bool = False
    color: str | None = None  # always, auto, never
    output: str | None = None  # table, json, jsonl, name
    # What these come to, once the command has opened it: to read a token or to find a target again may wait, or find
    # another one.
    settings: Settings | None = None

    # Of the record commands
    uri: str | None = None
    stream: str | None = None
    encryption_key_file: str | None = None
    format: str = "text"
    zero: bool = False
    max_outage_s: float | None = None  # as the command likes it
    transport: str = "auto"  # s2s, sse, unary
    compression: str | None = None  # none, gzip, zstd, auto
    input: tuple[str, ...] = ("-",)
    commands: str = "skip"  # send
    linger_ms: int | None = None
    inflight_bytes: int | None = None
    match_seq_num: int | None = None
    fencing_token: str | None = None
    create: bool = False
    header: tuple[str, ...] = ()
    on_lost_ack: str = "check"
    from_: str | None = None
    to: str | None = None
    follow: bool = False
    seq_num: int | None = None
    timestamp: int | None = None
    ago: str | None = None
    tail_offset: int | None = None
    until: int | None = None
    count: int | None = None
    bytes: int | None = None
    clamp: bool = False
    output_file: str | None = None
    lines: int = 10
    trim_point: int = 0
    force: bool = False
    new_token: str = ""

    # Of the resource commands
    basin: str = ""
    storage_class: str | None = None
    retention_policy: str | None = None
    timestamping_mode: str | None = None
    timestamping_uncapped: bool | None = None
    delete_on_empty_min_age: str | None = None
    create_stream_on_append: bool | None = None
    create_stream_on_read: bool | None = None
    stream_cipher: str | None = None
    location: str | None = None
    unset: tuple[str, ...] = ()
    request_token: str | None = None
    prefix: str = ""
    start_after: str = ""
    limit: int | None = None
    no_auto_paginate: bool = False
    no_headers: bool = False
    yes: bool = False

    # Of access tokens and metrics
    token_id: str = ""
    expires_in: str | None = None
    expires_at: str | None = None
    auto_prefix_streams: bool = False
    basins_prefix: str | None = None
    basins_exact: str | None = None
    streams_prefix: str | None = None
    streams_exact: str | None = None
    access_tokens_prefix: str | None = None
    access_tokens_exact: str | None = None
    op_group_perms: str | None = None
    ops: str | None = None
    metric: str | None = None
    start_timestamp: int | None = None
    start_ago: str | None = None
    end_timestamp: int | None = None
    end_ago: str | None = None
    interval: str | None = None

    # Of `lite` and `completion`
    action: str | None = None
    data: str | None = None
    memory: bool = False
    host: str = "127.0.0.1"
    port: int = 8080
    no_auth: bool = False
    root_token_file: str | None = None
    base_domain: str | None = None
    init_file: str | None = None
    cors: tuple[str, ...] = ()
    allow_host: tuple[str, ...] = ()
    memory_limit_bytes: int | None = None
    no_cors: bool = False
    shell: str = ""

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)


def resolve(command: str, raw: dict[str, object]) -> Args:
    """The values that `raw` (what was written, by parameter name) means for `command`; raises UsageError."""
    given = dict(raw)
    for name, (attribute, option, convert) in _CONVERSIONS.items():
        text = given.pop(name, None)
        if isinstance(text, str):
            try:
                given[attribute] = convert(text)
            except UsageError as error:
                raise UsageError(f"{option}: {error.message}", hint=error.hint) from None
    for name in _BOOLS:
        if name in given:
            given[name] = given[name] in (True, "true")
    if given.pop("no_color", False):
        given.setdefault("color", "never")
    verb = command.rpartition(" ")[2]
    if verb in ("read", "tail"):
        _split_output(given)
    elif verb == "append":
        _find_inputs(given)
    elif verb in _SECOND_OPERANDS:
        _order_operands(verb, given)
    if "format" in given:
        given["format"] = RECORD_FORMATS[str(given["format"])]
    return Args(command=command, **given)


def _seconds(text: str) -> float:
    return parse_duration_ms(text) / 1000


# Parameter -> attribute, option, conversion
_CONVERSIONS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "timeout": ("timeout_s", "--timeout", _seconds),
    "max_outage": ("max_outage_s", "--max-outage", _seconds),
    "linger": ("linger_ms", "--linger", parse_duration_ms),
    "inflight": ("inflight_bytes", "--inflight", parse_size_bytes),
    "memory_limit": ("memory_limit_bytes", "--memory-limit", parse_size_bytes),
}

# Options that take a word, true or false, in some command at least.
_BOOLS = ("timestamping_uncapped", "create_stream_on_append", "create_stream_on_read")


def _split_output(given: dict[str, object]) -> None:
    """`-o` of read and tail is a format or, as in the official tool, a file: a value with a dot or a slash, or `-`."""
    value = given.pop("output", None)
    if not isinstance(value, str):
        return
    if value in RECORD_FORMATS:
        if "format" in given and RECORD_FORMATS[str(given["format"])] != RECORD_FORMATS[value]:
            raise UsageError(f"--format {given['format']} and --output {value} ask for two formats")
        given["format"] = value
    elif value == "-" or "." in value or "/" in value:
        if "output_file" in given:
            raise UsageError(f"--output {value} and --output-file {given['output_file']} name two files")
        given["output_file"] = value
    else:
        raise UsageError(
            f'--output: "{value}" is no format: text, json or json-base64',
            hint=f"to write to a file of that name: -O {shell_word(value)}",
        )


def _find_inputs(given: dict[str, object]) -> None:
    """The operand that begins with s2:// is the URI, wherever it stands; the others are inputs, as `-i` names them."""
    operands = [str(given.pop("uri"))] if "uri" in given else []
    more = given.pop("inputs", ())
    assert isinstance(more, tuple)
    operands += more
    uris = [operand for operand in operands if operand.startswith(URI_PREFIX)]
    inputs = tuple(operand for operand in operands if not operand.startswith(URI_PREFIX))
    if len(uris) > 1:
        raise UsageError(f"two streams were given: {uris[0]} and {uris[1]}")
    if uris:
        given["uri"] = uris[0]
    if inputs:
        if "input" in given:
            # In which order they are meant cannot be told.
            raise UsageError(f"--input and the operand {inputs[0]} both name inputs: write all of them in one way")
        given["input"] = inputs
    if "commands" in given and RECORD_FORMATS[str(given.get("format", "text"))] == "text":
        raise UsageError("--commands is about --format json and json-base64: a line of text is no command record")


_SECOND_OPERANDS = {"trim": "trim_point", "fence": "new_token"}


def _order_operands(verb: str, given: dict[str, object]) -> None:
    """The operand that begins with s2:// is the URI, wherever it stands; the other one is what the verb needs."""
    second = _SECOND_OPERANDS[verb]
    operands = [str(given.pop(name)) for name in ("uri", second) if name in given]
    uris = [operand for operand in operands if operand.startswith(URI_PREFIX)]
    others = [operand for operand in operands if not operand.startswith(URI_PREFIX)]
    what = second.upper()
    if len(uris) > 1:
        raise UsageError(f"two streams were given, and no {what}: {uris[0]} and {uris[1]}")
    if len(others) > 1:
        raise UsageError(f'neither "{others[0]}" nor "{others[1]}" is a stream: it must begin with {URI_PREFIX}')
    if not others:
        raise UsageError(f"{what} is missing", hint=f"s2 {verb} s2://BASIN/STREAM {what}")
    if uris:
        given["uri"] = uris[0]
    given[second] = parse_u64(others[0], what) if verb == "trim" else others[0]
