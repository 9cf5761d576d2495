"""The root of the command line, as data: the commands, what runs each, and what help says of all of them."""

from __future__ import annotations

# Name -> the function in commands/ that runs it, the class in cli/ that declares its options, one line of help.
# An empty line hides a command from the help: it is another spelling of one that is shown.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "append": ("append:append", "record_args:AppendArgs", "Append lines of standard input or a file to a stream"),
    "read": ("read:read", "read_args:ReadArgs", "Print the records of a stream, from its start to its end"),
    "tail": ("read:tail", "read_args:TailArgs", "Print the last records of a stream, with -f new ones too"),
    "check-tail": ("check_tail:check_tail", "record_args:CheckTailArgs", "Print the next sequence number of a stream"),
    "trim": ("trim_fence:trim", "record_args:TrimArgs", "Delete the records before a sequence number"),
    "fence": ("trim_fence:fence", "record_args:FenceArgs", "Set the fencing token of a stream"),
    "copy": ("copy:copy", "copy_args:CopyArgs", "Copy streams, to another basin or server too"),
    "bench": ("bench:bench", "bench_args:BenchArgs", "Measure a server: throughput, latency, and that nothing is lost"),
    "list": ("by_uri:list_below", "resource_args:ListByUriArgs", "List basins, or the streams of a basin"),
    "create": ("by_uri:create", "resource_args:CreateByUriArgs", "Create a basin or a stream"),
    "get": ("by_uri:get", "resource_args:GetByUriArgs", "Show the configuration of a basin or a stream"),
    "ensure": (
        "by_uri:ensure",
        "resource_args:EnsureByUriArgs",
        "Create a basin or a stream if it is missing, or change it",
    ),
    "delete": ("by_uri:delete", "resource_args:DeleteByUriArgs", "Delete a basin or a stream with all its records"),
    "basins list": ("basins:list_basins", "resource_args:ListBasinsArgs", "List basins"),
    "basins create": ("basins:create_basin", "resource_args:CreateBasinArgs", "Create a basin"),
    "basins get": ("basins:get_basin", "resource_args:GetBasinArgs", "Show the configuration of a basin"),
    "basins ensure": (
        "ensure:ensure_basin",
        "resource_args:EnsureBasinArgs",
        "Create a basin if it is missing, or change it",
    ),
    "basins reconfigure": (
        "basins:reconfigure_basin",
        "resource_args:ReconfigureBasinArgs",
        "Change the configuration of a basin",
    ),
    "basins delete": ("basins:delete_basin", "resource_args:DeleteBasinArgs", "Delete a basin with all its streams"),
    "streams list": ("streams:list_streams", "resource_args:ListStreamsArgs", "List the streams of a basin"),
    "streams create": ("streams:create_stream", "resource_args:CreateStreamArgs", "Create a stream"),
    "streams get": ("streams:get_stream", "resource_args:GetStreamArgs", "Show the configuration of a stream"),
    "streams ensure": (
        "ensure:ensure_stream",
        "resource_args:EnsureStreamArgs",
        "Create a stream if it is missing, or change it",
    ),
    "streams reconfigure": (
        "streams:reconfigure_stream",
        "resource_args:ReconfigureStreamArgs",
        "Change the configuration of a stream",
    ),
    "streams delete": (
        "streams:delete_stream",
        "resource_args:DeleteStreamArgs",
        "Delete a stream with all its records",
    ),
    "tokens issue": ("tokens:issue_token", "account_args:IssueTokenArgs", "Issue an access token and print it"),
    "tokens list": ("tokens:list_tokens", "account_args:ListTokensArgs", "List access tokens and what they allow"),
    "tokens revoke": ("tokens:revoke_token", "account_args:RevokeTokenArgs", "Revoke an access token"),
    "metrics account": ("metrics:print_metrics", "account_args:AccountMetricsArgs", "Print metrics of the account"),
    "metrics basin": ("metrics:print_metrics", "account_args:BasinMetricsArgs", "Print metrics of a basin"),
    "metrics stream": ("metrics:print_metrics", "account_args:StreamMetricsArgs", "Print metrics of a stream"),
    "locations list": ("locations:list_locations", "account_args:ListLocationsArgs", "List where basins can be stored"),
    "locations get-default": (
        "locations:get_default_location",
        "account_args:DefaultLocationArgs",
        "Show where new basins are stored",
    ),
    "locations set-default": (
        "locations:set_default_location",
        "account_args:SetDefaultLocationArgs",
        "Choose where new basins are stored",
    ),
    "state list": ("states:list_states", "state_args:ListStatesArgs", "List what --state has kept"),
    "state show": ("states:show_state", "state_args:ShowStateArgs", "Show where a command would resume"),
    "state reset": ("states:reset_state", "state_args:ResetStateArgs", "Forget a state"),
    "lite": ("lite:lite", "other_args:LiteArgs", "Run the embedded server; check, back up, restore its data"),
    "completion": (
        "completion:print_script",
        "other_args:CompletionArgs",
        "Print the completion script for a shell",
    ),
    # The flat verbs of the official tool.
    "ls": ("official:ls", "official_args:LsArgs", ""),
    "list-basins": ("official:list_basins", "official_args:ListBasinsArgs", ""),
    "list-streams": ("official:list_streams", "official_args:ListStreamsArgs", ""),
    "create-basin": ("official:create_basin", "official_args:CreateBasinArgs", ""),
    "create-stream": ("official:create_stream", "official_args:CreateStreamArgs", ""),
    "delete-basin": ("official:delete_basin", "official_args:DeleteBasinArgs", ""),
    "delete-stream": ("official:delete_stream", "official_args:DeleteStreamArgs", ""),
    "get-basin-config": ("basins:get_basin", "official_args:GetBasinConfigArgs", ""),
    "get-stream-config": ("streams:get_stream", "official_args:GetStreamConfigArgs", ""),
    "reconfigure-basin": ("official:reconfigure_basin", "official_args:ReconfigureBasinArgs", ""),
    "reconfigure-stream": ("official:reconfigure_stream", "official_args:ReconfigureStreamArgs", ""),
    "issue-access-token": ("tokens:issue_token", "official_args:IssueAccessTokenArgs", ""),
    "list-access-tokens": ("official:list_access_tokens", "official_args:ListAccessTokensArgs", ""),
    "revoke-access-token": ("official:revoke_access_token", "official_args:RevokeAccessTokenArgs", ""),
    "get-account-metrics": ("official:get_metrics", "official_args:GetAccountMetricsArgs", ""),
    "get-basin-metrics": ("official:get_metrics", "official_args:GetBasinMetricsArgs", ""),
    "get-stream-metrics": ("official:get_metrics", "official_args:GetStreamMetricsArgs", ""),
    "list-locations": ("official:list_locations", "official_args:ListLocationsArgs", ""),
    "get-default-location": ("official:get_default_location", "official_args:GetDefaultLocationArgs", ""),
    "set-default-location": ("official:set_default_location", "official_args:SetDefaultLocationArgs", ""),
}
COMMANDS |= {
    f"records {verb}": (*COMMANDS[verb][:2], "") for verb in ("append", "read", "tail", "check-tail", "trim", "fence")
}

GROUPS = {
    "records": "The record commands: append, read, tail, check-tail, trim and fence",
    "basins": "Basins: list, create, get, ensure, reconfigure, delete",
    "streams": "Streams: list, create, get, ensure, reconfigure, delete",
    "tokens": "Access tokens: issue, list, revoke",
    "metrics": "Metrics of the account, of a basin, of a stream",
    "locations": "Locations of basins: list, get-default, set-default",
    "state": "Where commands with --state resume: list, show, reset",
}

# Parameter -> spelling, as in shared_options.option, and help. They are written before or after the command.
GLOBAL_OPTIONS: dict[str, tuple[str, str]] = {
    "local": ("--local", "Use the embedded server of this machine (profile local)"),
    "profile": ("--profile NAME", "Use this profile of profiles.toml [env: S2_PROFILE]"),
    "account_endpoint": ("--account-endpoint URL", "Where basins are [env: S2_ACCOUNT_ENDPOINT]"),
    "basin_endpoint": ("--basin-endpoint URL", "Where streams are [env: S2_BASIN_ENDPOINT]"),
    "access_token_file": ("--access-token-file FILE", "The access token [env: S2_ACCESS_TOKEN]"),
    "ca_file": ("--ca-file FILE", "Trust these certificates [env: SSL_CERT_FILE]"),
    "insecure_http": ("--insecure-http", "Allow sending the token over http:// to other machines"),
    "http2": ("--http2", "Speak HTTP/2 to http:// endpoints"),
    "timeout_s": ("--timeout DURATION", "How long one request may take [default: 30s]"),
    "quiet": ("-q, --quiet", "Only warnings and errors on stderr"),
    "verbose": ("-v, --verbose", "More messages on stderr"),
    "color": ("--color WHEN", "always, auto or never [default: auto]"),
}
# What one command makes of such an option, by command and parameter.
OPTIONS_OF_COMMANDS = {"lite": {"quiet": "Print only the lines to paste", "verbose": "Log every request"}}
# What every command has beside them; --no-color is there, and not shown.
COMMON_OPTIONS = (("-h, --help", "Show help"), ("-V, --version", "Show the version"))

# The texts of these tables are in README.md too.
EXIT_CODES = {
    "0": "done; also when the reader of stdout went away",
    "1": "another failure",
    "2": "the command line or the configuration is wrong, or names a file that cannot be opened",
    "3": "not found",
    "4": "no credential, or it was refused",
    "5": (
        "a condition failed: fencing token, sequence number, exists already, a start or a trim beyond the tail, a "
        "bench that is worse than the one to --compare with"
    ),
    "6": ("no server, no answer in time, or the server gave up; the account of an append says what is undecided"),
    "7": "input that is not a valid record, or a request that the server rejects as invalid",
    "8": (
        "it cannot be known which records are durable: the account names them. Or something is damaged or missing: "
        "records on disk, what s2 lite check found, or names with control characters, which -o name leaves "
        "out. Or a bench read what was not written"
    ),
    "130, 143": "interrupted, terminated",
}

ENVIRONMENT = {
    "S2_ACCESS_TOKEN": "the access token; it is sent only to the endpoints that were set with it",
    "S2_ACCOUNT_ENDPOINT, S2_BASIN_ENDPOINT": (
        "instead of https://a.s2.dev and https://{basin}.b.s2.dev; set both, or one if the server is on this machine"
    ),
    "S2_PROFILE": "local, or a profile of profiles.toml: endpoints, token and TLS as one unit",
    "S2_STREAM": "the stream of a record command that names none",
    "S2_ENCRYPTION_KEY": "the key of encrypted streams, in Base64; -k FILE wins over it",
    "S2_INSECURE_HTTP=1": "allows sending a token or an encryption key over plain http to another machine",
    "S2_COMPRESSION": "none, gzip, zstd or auto, as --compression",
    "SSL_CERT_FILE, SSL_CERT_DIR": "certificate authorities to trust instead of the system's",
    "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, http_proxy, https_proxy, all_proxy": (
        "a proxy: not supported, so an error unless NO_PROXY names the host"
    ),
    "NO_PROXY, no_proxy": "hosts to connect to without a proxy",
    "NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, CLICOLOR": "colour: see no-color.org and force-color.org; NO_COLOR wins",
    "TERM, COLUMNS": "TERM=dumb: no colour, no progress line; COLUMNS: the width of the terminal",
    "S2_ROOT_TOKEN": "for s2 lite: the root token itself, instead of --root-token-file",
    "S2LITE_INIT_FILE": "for s2 lite: used if --init-file is not given",
    "S2_LITE_ALLOW_HOST": "for s2 lite: used if --allow-host is not given; comma-separated",
    "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_ENDPOINT": (
        "for s2 lite --bucket: the address of the S3 server, if it is not Amazon's; the first that is set"
    ),
    "AWS_REGION, AWS_DEFAULT_REGION": "for s2 lite --bucket: the region of the bucket; us-east-1 if neither is set",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY": "for s2 lite --bucket: who uses the bucket; with AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "for s2 lite --bucket: where the key is instead, in Kubernetes",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "for s2 lite --bucket: where the key is instead, in ECS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": (
        "for s2 lite --bucket: the same; without any of these, the key is that of the machine, in EC2"
    ),
    "S2_LITE_NETWORK_DATA=1": ("for s2 lite: allows data on a network file system; it must keep what it has confirmed"),
    "HOME, XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_RUNTIME_DIR, XDG_STATE_HOME": "where files are; see the list below",
    "S2_DEBUG=1": "shows the traceback of an unexpected error",
}

FILES = {
    "streams of the profile local": "${XDG_DATA_HOME:-~/.local/share}/s2/lite",
    "log of its server": "${XDG_DATA_HOME:-~/.local/share}/s2/lite.log",
    "its socket": "$XDG_RUNTIME_DIR/s2, else ${XDG_STATE_HOME:-~/.local/state}/s2",
    "states of --state NAME": "${XDG_STATE_HOME:-~/.local/state}/s2/states",
    "profiles": "${XDG_CONFIG_HOME:-~/.config}/s2/profiles.toml",
}

# What `append` reads, and what `read` and `tail` write
RECORD_FORMATS = {
    "text": (
        "each line is a record, byte for byte; -0, --delimiter and --raw say where else a record ends",
        "the bodies, each followed by a newline (-0: NUL)",
    ),
    "jsonl, json": (
        (
            "one object a line with body, headers (pairs) and timestamp (milliseconds), all optional; with "
            '"base64":true its strings are Base64'
        ),
        (
            'seq_num, timestamp, headers, body; a record that is not valid UTF-8 has "base64":true, and its '
            "headers and body in Base64"
        ),
    ),
    "json-base64": ("the same, with headers and bodies always in Base64", "the same: exact for any bytes"),
}

# What `read` and `tail` write beside these
PRETTY = "for eyes: the time and the number beside each body; JSON coloured, and folded where it is too long for a line"

# Of the templates of `read` and `tail`: verb -> what it is replaced by
TEMPLATE_VERBS = {
    "%v": "the body",
    "%o": "the sequence number",
    "%d": "the time, as in 2026-01-31T12:00:00.000Z",
    "%t": "the time in milliseconds since the epoch",
    "%h{NAME}": "the value of the first header of that name; nothing if there is none",
    "%H": "all headers, as in NAME=VALUE,NAME=VALUE",
    "%s": "the URI of the stream",
    "%S": "how many bytes the body has",
    "%%": "a percent sign",
    "\\n \\t \\r \\0 \\\\ \\xNN": "a newline, a tab, a carriage return, NUL, a backslash, the byte NN (hexadecimal)",
}
TEMPLATE_MODIFIERS = {
    "{hex}": "after %v, %h{NAME} or %s: as hexadecimal digits",
    "{base64}": "after the same: in Base64",
    "{json}": (
        'after any verb: as JSON, a string where it is text; {"base64":"..."} where it is not valid UTF-8; '
        "all headers as an array of pairs"
    ),
}

# What `bench -o json` prints
BENCH_RESULT = {
    "uri, settings": (
        "the basin or stream, and the values that the options resulted in: bytes are metered, times in seconds"
    ),
    "write, live, catch_up": (
        "records, bytes, seconds, mib_per_s, records_per_s, batches, and latency_ms with p50, p90, p99, p99_9 and max; "
        "null for what did not take place, and for the latency of the catch-up"
    ),
    "interval_s, intervals": "records, p50_ms and p99_ms of each of the three, for every interval from the start on",
    "unsent_batches": "batches that were due but never sent, since the server did not take them",
    "client_cpu": "how much of one core the bench itself needed: near 1, it was the limit",
    "compared": "with --compare: figure, old, new, percent, and whether it is worse",
    "outcome": "ok, mismatch, interrupted, or what else ended it",
    "bench, version": "1, which changes with the meaning of these members, and the version of s2",
}

RESOURCE_FORMATS = {
    "table": "for people: aligned columns on a terminal, otherwise tab-separated; the columns may change",
    "json": "one document, with the API's names and numbers; a list is one array",
    "jsonl": "the same, with one object a line",
    "name": "only names, one a line, or with -0 each followed by a NUL byte; streams as whole URIs",
}
