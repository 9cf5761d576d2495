"""The root of the command line, as data: the commands, what runs each, and what help says of all of them."""

from __future__ import annotations

# Name -> the module whose run() does it, the function in cli/declared/ that declares it, one line of help.
# An empty line hides a command from the help: it is another spelling of one that is shown.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "append": (
        "s2cli.commands.append",
        "record_commands:append",
        "Append lines of standard input or a file to a stream",
    ),
    "read": ("s2cli.commands.read", "record_commands:read", "Print the records of a stream, from its start to its end"),
    "tail": (
        "s2cli.commands.tail",
        "record_commands:tail",
        "Print the last records of a stream, and with -f what comes",
    ),
    "check-tail": (
        "s2cli.commands.check_tail",
        "record_commands:check_tail",
        "Print the next sequence number of a stream",
    ),
    "trim": ("s2cli.commands.trim", "record_commands:trim", "Delete the records before a sequence number"),
    "fence": (
        "s2cli.commands.fence",
        "record_commands:fence",
        "Fence a stream: appends with another token are refused",
    ),
    "list": ("s2cli.commands.by_uri", "resource_commands:list_below", "List basins, or the streams of a basin"),
    "create": ("s2cli.commands.by_uri", "resource_commands:create", "Create a basin or a stream"),
    "get": ("s2cli.commands.by_uri", "resource_commands:get", "Show the configuration of a basin or a stream"),
    "ensure": (
        "s2cli.commands.ensure",
        "change_commands:ensure",
        "Create a basin or a stream if it is missing, or change it",
    ),
    "delete": ("s2cli.commands.by_uri", "resource_commands:delete", "Delete a basin or a stream with all its records"),
    "basins list": ("s2cli.commands.basins", "resource_commands:list_basins", "List basins"),
    "basins create": ("s2cli.commands.basins", "resource_commands:create_basin", "Create a basin"),
    "basins get": ("s2cli.commands.basins", "resource_commands:get_basin", "Show the configuration of a basin"),
    "basins ensure": (
        "s2cli.commands.ensure",
        "change_commands:ensure_basin",
        "Create a basin if it is missing, or change it",
    ),
    "basins reconfigure": (
        "s2cli.commands.basins",
        "change_commands:reconfigure_basin",
        "Change the configuration of a basin",
    ),
    "basins delete": ("s2cli.commands.basins", "resource_commands:delete_basin", "Delete a basin with all its streams"),
    "streams list": ("s2cli.commands.streams", "resource_commands:list_streams", "List the streams of a basin"),
    "streams create": ("s2cli.commands.streams", "resource_commands:create_stream", "Create a stream"),
    "streams get": ("s2cli.commands.streams", "resource_commands:get_stream", "Show the configuration of a stream"),
    "streams ensure": (
        "s2cli.commands.ensure",
        "change_commands:ensure_stream",
        "Create a stream if it is missing, or change it",
    ),
    "streams reconfigure": (
        "s2cli.commands.streams",
        "change_commands:reconfigure_stream",
        "Change the configuration of a stream",
    ),
    "streams delete": (
        "s2cli.commands.streams",
        "resource_commands:delete_stream",
        "Delete a stream with all its records",
    ),
    "tokens issue": ("s2cli.commands.tokens", "account_commands:issue_token", "Issue an access token and print it"),
    "tokens list": ("s2cli.commands.tokens", "account_commands:list_tokens", "List access tokens and what they allow"),
    "tokens revoke": ("s2cli.commands.tokens", "account_commands:revoke_token", "Revoke an access token"),
    "metrics account": ("s2cli.commands.metrics", "account_commands:account_metrics", "Print metrics of the account"),
    "metrics basin": ("s2cli.commands.metrics", "account_commands:basin_metrics", "Print metrics of a basin"),
    "metrics stream": ("s2cli.commands.metrics", "account_commands:stream_metrics", "Print metrics of a stream"),
    "locations list": ("s2cli.commands.locations", "account_commands:list_locations", "List where basins can lie"),
    "locations get-default": (
        "s2cli.commands.locations",
        "account_commands:get_default_location",
        "Show where new basins lie",
    ),
    "locations set-default": (
        "s2cli.commands.locations",
        "account_commands:set_default_location",
        "Say where new basins lie",
    ),
    "lite": ("s2cli.commands.lite", "other_commands:lite", "Run the embedded server, or ask about the one that runs"),
    "completion": ("s2cli.cli.completion", "other_commands:completion", "Print the completion script for a shell"),
    "records append": ("s2cli.commands.append", "record_commands:append", ""),
    "records read": ("s2cli.commands.read", "record_commands:read", ""),
    "records tail": ("s2cli.commands.tail", "record_commands:tail", ""),
    "records check-tail": ("s2cli.commands.check_tail", "record_commands:check_tail", ""),
    "records trim": ("s2cli.commands.trim", "record_commands:trim", ""),
    "records fence": ("s2cli.commands.fence", "record_commands:fence", ""),
    # The flat verbs of the official tool.
    "ls": ("s2cli.commands.official", "official_commands:ls", ""),
    "list-basins": ("s2cli.commands.official", "official_commands:list_basins", ""),
    "list-streams": ("s2cli.commands.official", "official_commands:list_streams", ""),
    "create-basin": ("s2cli.commands.official", "official_commands:create_basin", ""),
    "create-stream": ("s2cli.commands.official", "official_commands:create_stream", ""),
    "delete-basin": ("s2cli.commands.official", "official_commands:delete_basin", ""),
    "delete-stream": ("s2cli.commands.official", "official_commands:delete_stream", ""),
    "get-basin-config": ("s2cli.commands.official", "official_commands:get_basin_config", ""),
    "get-stream-config": ("s2cli.commands.official", "official_commands:get_stream_config", ""),
    "reconfigure-basin": ("s2cli.commands.official", "official_commands:reconfigure_basin", ""),
    "reconfigure-stream": ("s2cli.commands.official", "official_commands:reconfigure_stream", ""),
    "issue-access-token": ("s2cli.commands.official_account", "official_account_commands:issue_access_token", ""),
    "list-access-tokens": ("s2cli.commands.official_account", "official_account_commands:list_access_tokens", ""),
    "revoke-access-token": ("s2cli.commands.official_account", "official_account_commands:revoke_access_token", ""),
    "get-account-metrics": ("s2cli.commands.official_account", "official_account_commands:get_account_metrics", ""),
    "get-basin-metrics": ("s2cli.commands.official_account", "official_account_commands:get_basin_metrics", ""),
    "get-stream-metrics": ("s2cli.commands.official_account", "official_account_commands:get_stream_metrics", ""),
    "list-locations": ("s2cli.commands.official_account", "official_account_commands:list_locations", ""),
    "get-default-location": ("s2cli.commands.official_account", "official_account_commands:get_default_location", ""),
    "set-default-location": ("s2cli.commands.official_account", "official_account_commands:set_default_location", ""),
}

GROUPS = {
    "records": "The record commands: append, read, tail, check-tail, trim and fence",
    "basins": "Basins: list, create, get, ensure, reconfigure, delete",
    "streams": "Streams: list, create, get, ensure, reconfigure, delete",
    "tokens": "Access tokens: issue, list, revoke",
    "metrics": "Metrics of the account, of a basin, of a stream",
    "locations": "Locations of basins: list, get-default, set-default",
}

# Parameter -> spelling, metavar (empty for a switch), help. They stand before or after the command.
GLOBAL_OPTIONS: dict[str, tuple[str, str, str]] = {
    "local": (
        "--local",
        "",
        "Use the embedded server of this machine (profile local)",
    ),
    "profile": ("--profile", "NAME", "Connect as this profile says [env: S2_PROFILE]"),
    "account_endpoint": ("--account-endpoint", "URL", "Where basins are [env: S2_ACCOUNT_ENDPOINT]"),
    "basin_endpoint": ("--basin-endpoint", "URL", "Where streams are [env: S2_BASIN_ENDPOINT]"),
    "access_token_file": (
        "--access-token-file",
        "FILE",
        "The access token [env: S2_ACCESS_TOKEN]",
    ),
    "ca_file": ("--ca-file", "FILE", "Trust these certificates [env: SSL_CERT_FILE]"),
    "insecure_http": ("--insecure-http", "", "Let the token go over http:// to other machines"),
    "http2": ("--http2", "", "Speak HTTP/2 to http:// endpoints"),
    "timeout": ("--timeout", "DURATION", "How long one request may take [default: 30s]"),
    "quiet": ("-q, --quiet", "", "Say nothing on stderr but warnings and errors"),
    "verbose": ("-v, --verbose", "", "Say more on stderr"),
    "color": ("--color", "WHEN", "always, auto or never [default: auto]"),
}
# What one command makes of such an option, by command and parameter.
OPTIONS_OF_COMMANDS = {
    "lite": {"quiet": "Print no more than the lines to paste", "verbose": "Log every request"},
}
# What every command has beside them; --no-color is there, and not shown.
COMMON_OPTIONS = (("-h, --help", "Show help"), ("-V, --version", "Show the version"))

# The texts of these tables stand in README.md too.
EXIT_CODES = {
    "0": "done; also when the reader of stdout went away",
    "1": "another failure",
    "2": "the command line or the configuration is wrong",
    "3": "not found",
    "4": "no credential, or it was refused",
    "5": "not as demanded: fencing token, sequence number, exists already, a start or a trim beyond the tail",
    "6": ("no server, no answer in time, or it gave up on the request; the account says what that leaves undecided"),
    "7": "input that cannot be a record, or a request that the server finds invalid",
    "8": (
        "it is undecided which records are durable, and trying again would not tell; the account names "
        "them. Or a list left out names that are no lines"
    ),
    "130, 143": "interrupted, terminated",
}

ENVIRONMENT = {
    "S2_ACCESS_TOKEN": "the token; it goes only to the endpoints it came with",
    "S2_ACCOUNT_ENDPOINT, S2_BASIN_ENDPOINT": (
        "another place than https://a.s2.dev and https://{basin}.b.s2.dev; set both or neither, but one "
        "is enough for a server on this machine"
    ),
    "S2_PROFILE": "local, or a profile of profiles.toml: endpoints, token and TLS as one unit",
    "S2_STREAM": "the stream of record commands that name none",
    "S2_ENCRYPTION_KEY": "the key of encrypted streams, in Base64; -k FILE wins",
    "S2_INSECURE_HTTP=1": "lets a token or an encryption key go over plain http to another machine",
    "S2_COMPRESSION": "none, gzip, zstd or auto, as --compression",
    "SSL_CERT_FILE, SSL_CERT_DIR": "certificates to trust instead of the system's",
    "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, http_proxy, https_proxy, all_proxy": (
        "a proxy: refused, unless the next line excepts the host"
    ),
    "NO_PROXY, no_proxy": "hosts that are reached directly",
    "NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, CLICOLOR": "colour: see no-color.org and force-color.org; NO_COLOR wins",
    "TERM, COLUMNS": "TERM=dumb: no colour, no live line; the width of the terminal",
    "S2_ROOT_TOKEN": "for s2 lite: the root token itself, where --root-token-file names none",
    "S2LITE_INIT_FILE": "for s2 lite, where --init-file names none",
    "S2_LITE_ALLOW_HOST": "for s2 lite, where --allow-host names none; several with commas between",
    "S2_LITE_NETWORK_DATA=1": (
        "for s2 lite: its data may be on a network file system, if that keeps what it has confirmed"
    ),
    "HOME, XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_RUNTIME_DIR, XDG_STATE_HOME": "where files are, see below",
    "S2_DEBUG=1": "shows the traceback of an unexpected error",
}

FILES = {
    "streams of the profile local": "${XDG_DATA_HOME:-~/.local/share}/s2/lite",
    "log of its server": "s2/lite.log beside it",
    "its socket": "$XDG_RUNTIME_DIR/s2, else ${XDG_STATE_HOME:-~/.local/state}/s2",
    "profiles": "${XDG_CONFIG_HOME:-~/.config}/s2/profiles.toml",
}

# What `append` reads, and what `read` and `tail` write
RECORD_FORMATS = {
    "text": (
        "a line is a record, byte for byte; -0 ends records with NUL instead of newline",
        "the bodies, each followed by a newline (-0: NUL)",
    ),
    "json": (
        (
            "one object a line: body, and where wanted headers (pairs) and timestamp (milliseconds); with "
            '"base64":true its texts are Base64'
        ),
        (
            "seq_num, timestamp, headers, body; where the body, a header's name or its value is no UTF-8, "
            '"base64":true and all three in Base64'
        ),
    ),
    "json-base64": (
        "the same with names, values and bodies in Base64",
        "the same: exact for any bytes",
    ),
}

RESOURCE_FORMATS = {
    "table": "for people: columns on a terminal, tabs between cells elsewhere; its columns may change",
    "json": "one document, with the names and numbers of the API; a list is one array",
    "jsonl": "the same, an object on a line for each",
    "name": "the name alone, a line for each, or with -0 a NUL byte behind each; of streams, whole URIs",
}
