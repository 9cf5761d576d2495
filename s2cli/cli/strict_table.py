"""The table of the strict parser. Made by completions/generate; do not edit.

From s2cli/declared: the flags of each command with their parameter and what they take: True or False (a switch that
means this), "text", "many" (text, repeatable), a tuple of choices, a range of integers. Operands: parameter, kind,
whether it must be there. The commands that are about records stand here, the others in strict_table_others: a start
reads what it needs.
"""
# fmt: off

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Kind = bool | str | tuple[str, ...] | range
    Flags = dict[str, tuple[str, Kind]]
    Operands = tuple[tuple[str, Kind, bool], ...]

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
    "--timeout": ("timeout", "text"),
    "-q": ("quiet", True), "--quiet": ("quiet", True),
    "-v": ("verbose", True), "--verbose": ("verbose", True),
    "--color": ("color", ("always", "auto", "never")),
    "--no-color": ("no_color", True),
}

GROUPS = ("records", "basins", "streams", "tokens", "metrics", "locations")

COMMANDS: dict[str, tuple[str, Operands, Flags]] = {
    "append": ("s2cli.commands.append", (("uri", "text", False), ("inputs", "many", False),), {
        "--stream": ("stream", "text"),
        "-i": ("input", "many"), "--input": ("input", "many"),
        "--format": ("format", ("text", "json", "json-base64", "", "raw", "jsonl", "base64", "json-binsafe")),
        "--commands": ("commands", ("skip", "send")),
        "-0": ("zero", True), "--zero": ("zero", True),
        "-H": ("header", "many"), "--header": ("header", "many"),
        "--create": ("create", True),
        "--storage-class": ("storage_class", "text"),
        "--retention-policy": ("retention_policy", "text"),
        "--timestamping-mode": ("timestamping_mode", ("client-prefer", "client-require", "arrival")),
        "--timestamping-uncapped": ("timestamping_uncapped", ("true", "false")),
        "--delete-on-empty-min-age": ("delete_on_empty_min_age", "text"),
        "-m": ("match_seq_num", U64), "--match-seq-num": ("match_seq_num", U64),
        "-f": ("fencing_token", "text"), "--fencing-token": ("fencing_token", "text"),
        "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
        "--on-lost-ack": ("on_lost_ack", ("check", "resend", "stop")),
        "--linger": ("linger", "text"),
        "--inflight": ("inflight", "text"),
        "--max-outage": ("max_outage", "text"),
        "--transport": ("transport", ("auto", "s2s", "unary")),
        "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
        "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
    }),
    "read": ("s2cli.commands.read", (("uri", "text", False),), {
        "--stream": ("stream", "text"),
        "--from": ("from_", "text"),
        "--to": ("to", "text"),
        "-f": ("follow", True), "--follow": ("follow", True),
        "-n": ("count", U64), "--count": ("count", U64),
        "-o": ("output", "text"), "--output": ("output", "text"),
        "-O": ("output_file", "text"), "--output-file": ("output_file", "text"),
        "--format": ("format", ("text", "json", "json-base64", "", "raw", "jsonl", "base64", "json-binsafe")),
        "-0": ("zero", True), "--zero": ("zero", True),
        "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
        "--clamp": ("clamp", True),
        "--max-outage": ("max_outage", "text"),
        "--transport": ("transport", ("auto", "s2s", "sse", "unary")),
        "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
        "-s": ("seq_num", U64), "--seq-num": ("seq_num", U64),
        "--timestamp": ("timestamp", U64),
        "--ago": ("ago", "text"),
        "--tail-offset": ("tail_offset", U64),
        "--until": ("until", U64),
        "-b": ("bytes", U64), "--bytes": ("bytes", U64),
        "--storage-class": ("storage_class", "text"),
        "--retention-policy": ("retention_policy", "text"),
        "--timestamping-mode": ("timestamping_mode", ("client-prefer", "client-require", "arrival")),
        "--timestamping-uncapped": ("timestamping_uncapped", ("true", "false")),
        "--delete-on-empty-min-age": ("delete_on_empty_min_age", "text"),
    }),
    "tail": ("s2cli.commands.tail", (("uri", "text", False),), {
        "--stream": ("stream", "text"),
        "-n": ("lines", U64), "--lines": ("lines", U64),
        "-f": ("follow", True), "--follow": ("follow", True),
        "-o": ("output", "text"), "--output": ("output", "text"),
        "-O": ("output_file", "text"), "--output-file": ("output_file", "text"),
        "--format": ("format", ("text", "json", "json-base64", "", "raw", "jsonl", "base64", "json-binsafe")),
        "-0": ("zero", True), "--zero": ("zero", True),
        "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
        "--max-outage": ("max_outage", "text"),
        "--transport": ("transport", ("auto", "s2s", "sse", "unary")),
        "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
    }),
    "check-tail": ("s2cli.commands.check_tail", (("uri", "text", False),), {
        "--stream": ("stream", "text"),
        "--max-outage": ("max_outage", "text"),
        "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
    }),
    "trim": ("s2cli.commands.trim", (("uri", "text", False), ("trim_point", "text", False),), {
        "--stream": ("stream", "text"),
        "-m": ("match_seq_num", U64), "--match-seq-num": ("match_seq_num", U64),
        "-f": ("fencing_token", "text"), "--fencing-token": ("fencing_token", "text"),
        "-y": ("yes", True), "--yes": ("yes", True),
        "--force": ("force", True),
        "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
        "--max-outage": ("max_outage", "text"),
        "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
    }),
    "fence": ("s2cli.commands.fence", (("uri", "text", False), ("new_token", "text", False),), {
        "--stream": ("stream", "text"),
        "-m": ("match_seq_num", U64), "--match-seq-num": ("match_seq_num", U64),
        "-f": ("fencing_token", "text"), "--fencing-token": ("fencing_token", "text"),
        "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
        "--max-outage": ("max_outage", "text"),
        "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
    }),
}
COMMANDS["records append"] = COMMANDS["append"]
COMMANDS["records read"] = COMMANDS["read"]
COMMANDS["records tail"] = COMMANDS["tail"]
COMMANDS["records check-tail"] = COMMANDS["check-tail"]
COMMANDS["records trim"] = COMMANDS["trim"]
COMMANDS["records fence"] = COMMANDS["fence"]
