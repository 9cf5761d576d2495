"""The table of the strict parser: what is not about records. Made by completions/generate; do not edit."""
# fmt: off

from __future__ import annotations

from s2cli.values import parse_bool, parse_rate, parse_seconds, parse_size_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.strict_table import Command, Flags

U64 = range(1 << 64)

COPY: Flags = {
    "--create": ("create", True),
    "-f": ("follow", True), "--follow": ("follow", True),
    "--from": ("from_", "text"),
    "--to": ("to", "text"),
    "--jq": ("jq", "text"),
    "--commands": ("commands", ("skip", "send")),
    "--state": ("state", "text"),
    "--src-profile": ("src_profile", "text"),
    "--dst-profile": ("dst_profile", "text"),
    "--src-key-file": ("src_key_file", "text"),
    "--dst-key-file": ("dst_key_file", "text"),
    "--max-outage": ("max_outage_s", parse_seconds),
    "--compression": ("compression", ("none", "gzip", "zstd", "auto")),
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}
FILTER: Flags = {
    "--grep": ("grep", "text"),
    "--grep-not": ("grep_not", "text"),
    "-H": ("header", "many"), "--header": ("header", "many"),
}
BENCH: Flags = {
    "-b": ("record_size_bytes", parse_size_bytes), "--record-size": ("record_size_bytes", parse_size_bytes),
    "-t": ("target_mibps", range(1, 1048577)), "--target-mibps": ("target_mibps", range(1, 1048577)),
    "--rate": ("rate", parse_rate),
    "--max": ("max", True),
    "-d": ("duration_s", parse_seconds), "--duration": ("duration_s", parse_seconds),
    "-w": ("catchup_delay_s", parse_seconds), "--catchup-delay": ("catchup_delay_s", parse_seconds),
    "--no-catchup": ("no_catchup", True),
    "--streams": ("streams", range(1, 1001)),
    "--writers": ("writers", range(1, 101)),
    "--readers": ("readers", range(101)),
    "--batch": ("batch_records", range(1, 1001)),
    "--inflight": ("inflight_bytes", parse_size_bytes),
    "-c": ("storage_class", "text"), "--storage-class": ("storage_class", "text"),
    "-k": ("encryption_key_file", "text"), "--encryption-key-file": ("encryption_key_file", "text"),
    "--compare": ("compare", "text"),
    "--tolerance": ("tolerance_percent", range(1001)),
    "--plot": ("plot", "text"),
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}
PAGES: Flags = {
    "-p": ("prefix", "text"), "--prefix": ("prefix", "text"),
    "-s": ("start_after", "text"), "--start-after": ("start_after", "text"),
    "-n": ("limit", range(1, 18446744073709551616)), "--limit": ("limit", range(1, 18446744073709551616)),
    "--no-auto-paginate": ("no_auto_paginate", True),
}
NAMES: Flags = {
    "-0": ("zero", True), "--zero": ("zero", True),
}
OUTPUT: Flags = {
    "-o": ("output", ("table", "json", "jsonl", "name")), "--output": ("output", ("table", "json", "jsonl", "name")),
    "--no-headers": ("no_headers", True),
}
LOCATED_BASIN: Flags = {
    "--location": ("location", "text"),
}
BASIN_CONFIG: Flags = {
    "--create-stream-on-append": ("create_stream_on_append", True),
    "--no-create-stream-on-append": ("create_stream_on_append", False),
    "--create-stream-on-read": ("create_stream_on_read", True),
    "--no-create-stream-on-read": ("create_stream_on_read", False),
    "--stream-cipher": ("stream_cipher", ("aegis-256", "aes-256-gcm")),
}
STREAM_CONFIG: Flags = {
    "--storage-class": ("storage_class", "text"),
    "--retention-policy": ("retention_policy", "text"),
    "--timestamping-mode": ("timestamping_mode", ("client-prefer", "client-require", "arrival")),
    "--timestamping-uncapped": ("timestamping_uncapped", parse_bool),
    "--delete-on-empty-min-age": ("delete_on_empty_min_age", "text"),
}
REQUEST: Flags = {
    "--request-token": ("request_token", "text"),
}
BASIN_CHANGE: Flags = {
    "--unset": ("unset", "many"),
}
DELETE: Flags = {
    "-y": ("yes", True), "--yes": ("yes", True),
}
STREAM_CHANGE: Flags = {
    "--unset": ("unset", "many"),
}
GRANT: Flags = {
    "--basins-prefix": ("basins_prefix", "text"),
    "--basins-exact": ("basins_exact", "text"),
    "--streams-prefix": ("streams_prefix", "text"),
    "--streams-exact": ("streams_exact", "text"),
    "--access-tokens-prefix": ("access_tokens_prefix", "text"),
    "--access-tokens-exact": ("access_tokens_exact", "text"),
    "--op-group-perms": ("op_group_perms", "text"),
    "--ops": ("ops", "text"),
    "--auto-prefix-streams": ("auto_prefix_streams", True),
    "--expires-in": ("expires_in", "text"),
    "--expires-at": ("expires_at", "text"),
}
METRICS: Flags = {
    "--from": ("from_", "text"),
    "--to": ("to", "text"),
}
PERIOD: Flags = {
    "--interval": ("interval", ("minute", "hour", "day")),
    "--start-timestamp": ("start_timestamp", U64),
    "--start-ago": ("start_ago", "text"),
    "--end-timestamp": ("end_timestamp", U64),
    "--end-ago": ("end_ago", "text"),
}
RESET_STATE: Flags = {
    "-y": ("yes", True), "--yes": ("yes", True),
}
LITE: Flags = {
    "--data": ("data", "text"), "--local-root": ("data", "text"),
    "--memory": ("memory", True),
    "--bucket": ("bucket", "text"),
    "--bucket-cache": ("bucket_cache_bytes", parse_size_bytes),
    "--host": ("host", "text"),
    "--port": ("port", range(65536)),
    "--root-token-file": ("root_token_file", "text"),
    "--no-auth": ("no_auth", True),
    "--allow-host": ("allow_host", "many"),
    "--cors": ("cors", "many"),
    "--no-cors": ("no_cors", True),
    "--base-domain": ("base_domain", "text"),
    "--init-file": ("init_file", "text"),
    "--memory-limit": ("memory_limit_bytes", parse_size_bytes),
    "-y": ("yes", True), "--yes": ("yes", True),
    "-o": ("output", ("json", "jsonl")), "--output": ("output", ("json", "jsonl")),
}
RECONFIGURE_BASIN: Flags = {
    "--create-stream-on-append": ("create_stream_on_append", parse_bool),
    "--create-stream-on-read": ("create_stream_on_read", parse_bool),
}
BASIN_CONFIG_PART: Flags = {
    "--stream-cipher": ("stream_cipher", ("aegis-256", "aes-256-gcm")),
}

COMMANDS: dict[str, Command] = {
    "copy": ("copy:copy", "copy_args:CopyArgs",
        (("source", "text", True), ("target", "text", True),), {**COPY, **FILTER}),
    "bench": ("bench:bench", "bench_args:BenchArgs",
        (("uri", "text", True),), BENCH),
    "list": ("by_uri:list_below", "resource_args:ListByUriArgs",
        (("uri", "text", False),), {**PAGES, **NAMES, **OUTPUT}),
    "create": ("by_uri:create", "resource_args:CreateByUriArgs",
        (("uri", "text", True),), {**LOCATED_BASIN, **BASIN_CONFIG, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "get": ("by_uri:get", "resource_args:GetByUriArgs",
        (("uri", "text", True),), OUTPUT),
    "ensure": ("by_uri:ensure", "resource_args:EnsureByUriArgs",
        (("uri", "text", True),), {**LOCATED_BASIN, **BASIN_CHANGE, **BASIN_CONFIG, **STREAM_CONFIG, **OUTPUT}),
    "delete": ("by_uri:delete", "resource_args:DeleteByUriArgs",
        (("uri", "text", True),), {**DELETE, **REQUEST}),
    "basins list": ("basins:list_basins", "resource_args:ListBasinsArgs",
        (), {**PAGES, **NAMES, **OUTPUT}),
    "basins create": ("basins:create_basin", "resource_args:CreateBasinArgs",
        (("uri", "text", True),), {**LOCATED_BASIN, **BASIN_CONFIG, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "basins get": ("basins:get_basin", "resource_args:GetBasinArgs",
        (("uri", "text", True),), OUTPUT),
    "basins ensure": ("ensure:ensure_basin", "resource_args:EnsureBasinArgs",
        (("uri", "text", True),), {**LOCATED_BASIN, **BASIN_CHANGE, **BASIN_CONFIG, **STREAM_CONFIG, **OUTPUT}),
    "basins reconfigure": ("basins:reconfigure_basin", "resource_args:ReconfigureBasinArgs",
        (("uri", "text", True),), {**BASIN_CHANGE, **BASIN_CONFIG, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "basins delete": ("basins:delete_basin", "resource_args:DeleteBasinArgs",
        (("uri", "text", True),), {**DELETE, **REQUEST}),
    "streams list": ("streams:list_streams", "resource_args:ListStreamsArgs",
        (("uri", "text", True),), {**PAGES, **NAMES, **OUTPUT}),
    "streams create": ("streams:create_stream", "resource_args:CreateStreamArgs",
        (("uri", "text", True),), {**STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "streams get": ("streams:get_stream", "resource_args:GetStreamArgs",
        (("uri", "text", True),), OUTPUT),
    "streams ensure": ("ensure:ensure_stream", "resource_args:EnsureStreamArgs",
        (("uri", "text", True),), {**STREAM_CHANGE, **STREAM_CONFIG, **OUTPUT}),
    "streams reconfigure": ("streams:reconfigure_stream", "resource_args:ReconfigureStreamArgs",
        (("uri", "text", True),), {**STREAM_CHANGE, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "streams delete": ("streams:delete_stream", "resource_args:DeleteStreamArgs",
        (("uri", "text", True),), {**DELETE, **REQUEST}),
    "tokens issue": ("tokens:issue_token", "account_args:IssueTokenArgs",
        (("token_id", "text", True),), {**GRANT, **REQUEST, **OUTPUT}),
    "tokens list": ("tokens:list_tokens", "account_args:ListTokensArgs",
        (), {**PAGES, **NAMES, **OUTPUT}),
    "tokens revoke": ("tokens:revoke_token", "account_args:RevokeTokenArgs",
        (("token_id", "text", True),), REQUEST),
    "metrics account": ("metrics:print_metrics", "account_args:AccountMetricsArgs",
        (
        ("metric", ("active-basins", "account-ops", "estimated-billable-usage"), False),
        ), {**METRICS, **PERIOD, **OUTPUT}),
    "metrics basin": ("metrics:print_metrics", "account_args:BasinMetricsArgs",
        (
        ("uri", "text", True),
        ("metric", ("storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"), False),
        ), {**METRICS, **PERIOD, **OUTPUT}),
    "metrics stream": ("metrics:print_metrics", "account_args:StreamMetricsArgs",
        (("uri", "text", True), ("metric", ("storage",), False),), {**METRICS, **PERIOD, **OUTPUT}),
    "locations list": ("locations:list_locations", "account_args:ListLocationsArgs",
        (), {**NAMES, **OUTPUT}),
    "locations get-default": ("locations:get_default_location", "account_args:DefaultLocationArgs",
        (), OUTPUT),
    "locations set-default": ("locations:set_default_location", "account_args:SetDefaultLocationArgs",
        (("location", "text", True),), {**REQUEST, **OUTPUT}),
    "state list": ("states:list_states", "state_args:ListStatesArgs",
        (), {**NAMES, **OUTPUT}),
    "state show": ("states:show_state", "state_args:ShowStateArgs",
        (("name", "text", True),), OUTPUT),
    "state reset": ("states:reset_state", "state_args:ResetStateArgs",
        (("name", "text", True),), RESET_STATE),
    "lite": ("lite:lite", "other_args:LiteArgs",
        (
        ("action", ("status", "stop", "check", "repair", "backup", "restore", "trust-clock"), False),
        ("backup", "text", False),
        ), LITE),
    "completion": ("completion:print_script", "other_args:CompletionArgs",
        (("shell", ("bash", "zsh", "fish"), True),), {}),
    "ls": ("official:ls", "official_args:LsArgs",
        (("uri", "text", False),), PAGES),
    "list-basins": ("official:list_basins", "official_args:ListBasinsArgs",
        (), PAGES),
    "list-streams": ("official:list_streams", "official_args:ListStreamsArgs",
        (("uri", "text", True),), PAGES),
    "create-basin": ("official:create_basin", "official_args:CreateBasinArgs",
        (("uri", "text", True),), {**LOCATED_BASIN, **BASIN_CONFIG, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "create-stream": ("official:create_stream", "official_args:CreateStreamArgs",
        (("uri", "text", True),), {**STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "delete-basin": ("official:delete_basin", "official_args:DeleteBasinArgs",
        (("uri", "text", True),), {**DELETE, **REQUEST}),
    "delete-stream": ("official:delete_stream", "official_args:DeleteStreamArgs",
        (("uri", "text", True),), {**DELETE, **REQUEST}),
    "get-basin-config": ("basins:get_basin", "official_args:GetBasinConfigArgs",
        (("uri", "text", True),), OUTPUT),
    "get-stream-config": ("streams:get_stream", "official_args:GetStreamConfigArgs",
        (("uri", "text", True),), OUTPUT),
    "reconfigure-basin": ("official:reconfigure_basin", "official_args:ReconfigureBasinArgs",
        (
        ("uri", "text", True),
        ), {**RECONFIGURE_BASIN, **BASIN_CHANGE, **BASIN_CONFIG_PART, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "reconfigure-stream": ("official:reconfigure_stream", "official_args:ReconfigureStreamArgs",
        (("uri", "text", True),), {**STREAM_CHANGE, **STREAM_CONFIG, **REQUEST, **OUTPUT}),
    "issue-access-token": ("tokens:issue_token", "official_args:IssueAccessTokenArgs",
        (("token_id", "text", True),), {**GRANT, **REQUEST, **OUTPUT}),
    "list-access-tokens": ("official:list_access_tokens", "official_args:ListAccessTokensArgs",
        (), PAGES),
    "revoke-access-token": ("official:revoke_access_token", "official_args:RevokeAccessTokenArgs",
        (("token_id", "text", True),), REQUEST),
    "get-account-metrics": ("official:get_metrics", "official_args:GetAccountMetricsArgs",
        (("metric", ("active-basins", "account-ops", "estimated-billable-usage"), False),), PERIOD),
    "get-basin-metrics": ("official:get_metrics", "official_args:GetBasinMetricsArgs",
        (
        ("uri", "text", True),
        ("metric", ("storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"), False),
        ), PERIOD),
    "get-stream-metrics": ("official:get_metrics", "official_args:GetStreamMetricsArgs",
        (("uri", "text", True), ("metric", ("storage",), False),), PERIOD),
    "list-locations": ("official:list_locations", "official_args:ListLocationsArgs",
        (), {}),
    "get-default-location": ("official:get_default_location", "official_args:GetDefaultLocationArgs",
        (), {}),
    "set-default-location": ("official:set_default_location", "official_args:SetDefaultLocationArgs",
        (("location", "text", True),), {**REQUEST, **OUTPUT}),
}
