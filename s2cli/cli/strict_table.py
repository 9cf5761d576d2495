"""The table of the strict parser. Made by completions/generate; do not edit.

Of each command: the function that runs it, the class of its options, its operands (parameter, kind, whether it must be
there) and its flags. A flag has a parameter and takes what its kind says: True or False (a switch that means this),
"text", "many" (text, repeatable), a tuple of choices, a range of integers, or what makes a value of the text. The
commands that are about records are here, the others in strict_table_others: a start reads what it needs.
"""
# fmt: off

from __future__ import annotations

from s2cli.values import (
    delimiter_text,
    parse_bool,
    parse_delimiter,
    parse_duration_ms,
    parse_print_format,
    parse_rate,
    parse_record_format,
    parse_seconds,
    parse_size_bytes,
    parse_speed,
    speed_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Kind = bool | str | tuple[str, ...] | range | Callable[[str], object]
    Flags = dict[str, tuple[str, Kind]]
    Command = tuple[str, str, tuple[tuple[str, Kind, bool], ...], Flags]

U64 = range(1 << 64)

GLOBAL: Flags = {
    "--local": ("local", True),
    "--profile": ("profile", "text"),
    "--account-endpoint": ("account_endpoint", "text"),
    "--basin-endpoint": ("basin_endpoint", "text"),
    "--access-token-file": ("access_token_file", "text"),
    "--ca-file": ("ca_file", "text"),
    "--insecure-http": ("insecure_http", True),
    "--http2": ("http2", True),
    "--timeout": ("timeout_s", parse_seconds),
    "-q": ("quiet", True), "--quiet": ("quiet", True),
    "-v": ("verbose", True), "--verbose": ("verbose", True),
    "--color": ("color", ("always", "auto", "never")),
    "--no-color": ("no_color", True),
}

GROUPS = ("records", "basins", "streams", "tokens", "metrics", "locations", "state")

APPEND: Flags = {
    "-i": ("input", "many"), "--input": ("input", "many"),
    "--format": ("format", parse_record_format),
    "--commands": ("commands", ("skip", "send")),
    "-0": ("zero", True), "--zero": ("zero", True),
    "--delimiter": ("delimiter", parse_delimiter),
    "--raw": ("raw", True),
    "-H": ("header", "many"), "--header": ("header", "many"),
    "--timestamp-from": ("timestamp_from", "text"),
    "--on-error": ("on_error", "text"),
    "--rate": ("rate", parse_rate),
    "--dry-run": ("dry_run", True),
    "--follow-file": ("follow_file", True),
    "--exactly-once": ("exactly_once", True),
    "--state": ("state", "text"),
    "--create": ("create", True),
    "--on-lost-ack": ("on_lost_ack", ("check", "resend", "stop")),
    "--linger": ("linger_ms", parse_duration_ms),
    "--inflight": ("inflight_bytes", parse_size_bytes),
    "--transport": ("transport", ("auto", "s2s", "unary")),
    "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}
CONDITION: Flags = {
    "-m": ("match_seq_num", U64), "--match-seq-num": ("match_seq_num", U64),
    "-f": ("fencing_token", "text"), "--fencing-token": ("fencing_token", "text"),
    "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
}
RECORD: Flags = {
    "--stream": ("stream", "text"),
    "--max-outage": ("max_outage_s", parse_seconds),
}
STREAM_CONFIG: Flags = {
    "--storage-class": ("storage_class", "text"),
    "--retention-policy": ("retention_policy", "text"),
    "--timestamping-mode": ("timestamping_mode", ("client-prefer", "client-require", "arrival")),
    "--timestamping-uncapped": ("timestamping_uncapped", parse_bool),
    "--delete-on-empty-min-age": ("delete_on_empty_min_age", "text"),
}
READ: Flags = {
    "--from": ("from_", "text"),
    "--to": ("to", "text"),
    "-f": ("follow", True), "--follow": ("follow", True),
    "-n": ("count", U64), "--count": ("count", U64),
    "--state": ("state", "text"),
    "--speed": ("speed", parse_speed),
    "--exec": ("exec", "text"),
    "--parallel": ("parallel", range(1, 65)),
    "--exec-retries": ("exec_retries", range(101)),
    "--dead-letter": ("dead_letter", "text"),
}
PRINT: Flags = {
    "-o": ("output", "text"), "--output": ("output", "text"),
    "-O": ("output_file", "text"), "--output-file": ("output_file", "text"),
    "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
    "--transport": ("transport", ("auto", "s2s", "sse", "unary")),
    "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
    "--skip-damaged": ("skip_damaged", True),
}
SELECTION: Flags = {
    "--jq": ("jq", "text"),
}
FORM: Flags = {
    "--format": ("format", parse_print_format),
    "-t": ("template", "text"), "--template": ("template", "text"),
    "--parse-json": ("parse_json", True),
    "--raw": ("raw", True),
    "--delimiter": ("delimiter", parse_delimiter),
    "-0": ("zero", True), "--zero": ("zero", True),
}
FILTER: Flags = {
    "--grep": ("grep", "text"),
    "--grep-not": ("grep_not", "text"),
    "-H": ("header", "many"), "--header": ("header", "many"),
}
POSITION: Flags = {
    "-b": ("bytes", U64), "--bytes": ("bytes", U64),
    "--clamp": ("clamp", True),
    "-s": ("seq_num", U64), "--seq-num": ("seq_num", U64),
    "--timestamp": ("timestamp", U64),
    "--ago": ("ago", "text"),
    "--tail-offset": ("tail_offset", U64),
    "--until": ("until", U64),
}
TAIL: Flags = {
    "-n": ("lines", U64), "--lines": ("lines", U64),
    "-f": ("follow", True), "--follow": ("follow", True),
}
CHECK_TAIL: Flags = {
    "--max-outage": ("max_outage_s", parse_seconds),
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}
RECORD_PART: Flags = {
    "--stream": ("stream", "text"),
}
TRIM: Flags = {
    "-y": ("yes", True), "--yes": ("yes", True),
    "--force": ("force", True),
}
COMMAND: Flags = {
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}

COMMANDS: dict[str, Command] = {
    "append": ("append:append", "record_args:AppendArgs",
        (("uri", "text", False), ("inputs", "many", False),), {**APPEND, **CONDITION, **RECORD, **STREAM_CONFIG}),
    "read": ("read:read", "read_args:ReadArgs",
        (
        ("uri", "text", False),
        ("more", "many", False),
        ), {**READ, **PRINT, **RECORD, **SELECTION, **FORM, **FILTER, **POSITION, **STREAM_CONFIG}),
    "tail": ("read:tail", "read_args:TailArgs",
        (
        ("uri", "text", False),
        ("more", "many", False),
        ), {**TAIL, **PRINT, **RECORD, **SELECTION, **FORM, **FILTER}),
    "check-tail": ("check_tail:check_tail", "record_args:CheckTailArgs",
        (("uri", "text", False),), {**CHECK_TAIL, **RECORD_PART}),
    "trim": ("trim_fence:trim", "record_args:TrimArgs",
        (("uri", "text", False), ("value", "text", False),), {**TRIM, **COMMAND, **CONDITION, **RECORD}),
    "fence": ("trim_fence:fence", "record_args:FenceArgs",
        (("uri", "text", False), ("value", "text", False),), {**COMMAND, **CONDITION, **RECORD}),
}
COMMANDS["records append"] = COMMANDS["append"]
COMMANDS["records read"] = COMMANDS["read"]
COMMANDS["records tail"] = COMMANDS["tail"]
COMMANDS["records check-tail"] = COMMANDS["check-tail"]
COMMANDS["records trim"] = COMMANDS["trim"]
COMMANDS["records fence"] = COMMANDS["fence"]

# Class of the options -> what the command line that resumes repeats: flag, parameter, what writes the value.
IN_RESUME_COMMAND: dict[str, tuple[tuple[str, str, Callable[[Any], str]], ...]] = {
    "AppendArgs": (
        ("--format", "format", str),
        ("--commands", "commands", str),
        ("--raw", "raw", str),
        ("--header", "header", str),
        ("--timestamp-from", "timestamp_from", str),
        ("--exactly-once", "exactly_once", str),
        ("--on-lost-ack", "on_lost_ack", str),
        ("--fencing-token", "fencing_token", str),
        ("--encryption-key-file", "encryption_key_file", str),
    ),
    "ReadArgs": (
        ("--follow", "follow", str),
        ("--speed", "speed", speed_text),
        ("--exec", "exec", str),
        ("--parallel", "parallel", str),
        ("--exec-retries", "exec_retries", str),
        ("--dead-letter", "dead_letter", str),
        ("--encryption-key-file", "encryption_key_file", str),
        ("--skip-damaged", "skip_damaged", str),
        ("--jq", "jq", str),
        ("--format", "format", str),
        ("--template", "template", str),
        ("--parse-json", "parse_json", str),
        ("--raw", "raw", str),
        ("--delimiter", "delimiter", delimiter_text),
        ("--zero", "zero", str),
        ("--grep", "grep", str),
        ("--grep-not", "grep_not", str),
        ("--header", "header", str),
    ),
    "TailArgs": (
        ("--follow", "follow", str),
        ("--encryption-key-file", "encryption_key_file", str),
        ("--skip-damaged", "skip_damaged", str),
        ("--jq", "jq", str),
        ("--format", "format", str),
        ("--template", "template", str),
        ("--parse-json", "parse_json", str),
        ("--raw", "raw", str),
        ("--delimiter", "delimiter", delimiter_text),
        ("--zero", "zero", str),
        ("--grep", "grep", str),
        ("--grep-not", "grep_not", str),
        ("--header", "header", str),
    ),
    "TrimArgs": (
        ("--fencing-token", "fencing_token", str),
        ("--encryption-key-file", "encryption_key_file", str),
    ),
    "FenceArgs": (
        ("--fencing-token", "fencing_token", str),
        ("--encryption-key-file", "encryption_key_file", str),
    ),
}
