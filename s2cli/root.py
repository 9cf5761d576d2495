"""The root of the command line, as strings: which commands there are, what runs each, and the help of `s2` itself.

Nothing heavy is imported here: `s2 --help` prints what stands in this file.
"""

from __future__ import annotations

from s2cli import console

# Name -> the module whose run() does it, the function in s2cli/declared that declares it, one line of help.
# An empty line hides a command from the help: it is another spelling of one that is shown.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "append": ("s2cli.commands.append", "records:append", "Append lines of standard input or a file to a stream"),
    "read": ("s2cli.commands.read", "records:read", "Print the records of a stream, from its start to its end"),
    "tail": ("s2cli.commands.tail", "records:tail", "Print the last records of a stream, and with -f what comes"),
    "check-tail": ("s2cli.commands.check_tail", "records:check_tail", "Print the next sequence number of a stream"),
    "trim": ("s2cli.commands.trim", "records:trim", "Delete the records before a sequence number"),
    "fence": ("s2cli.commands.fence", "records:fence", "Fence a stream: appends with another token are refused"),
    "list": ("s2cli.commands.by_uri", "resources:list_below", "List basins, or the streams of a basin"),
    "create": ("s2cli.commands.by_uri", "resources:create", "Create a basin or a stream"),
    "get": ("s2cli.commands.by_uri", "resources:get", "Show the configuration of a basin or a stream"),
    "ensure": ("s2cli.commands.ensure", "changes:ensure", "Create a basin or a stream if it is missing, or change it"),
    "delete": ("s2cli.commands.by_uri", "resources:delete", "Delete a basin or a stream with all its records"),
    "basins list": ("s2cli.commands.basins", "resources:list_basins", "List basins"),
    "basins create": ("s2cli.commands.basins", "resources:create_basin", "Create a basin"),
    "basins get": ("s2cli.commands.basins", "resources:get_basin", "Show the configuration of a basin"),
    "basins ensure": ("s2cli.commands.ensure", "changes:ensure_basin", "Create a basin if it is missing, or change it"),
    "basins reconfigure": ("s2cli.commands.basins", "changes:reconfigure_basin", "Change the configuration of a basin"),
    "basins delete": ("s2cli.commands.basins", "resources:delete_basin", "Delete a basin with all its streams"),
    "streams list": ("s2cli.commands.streams", "resources:list_streams", "List the streams of a basin"),
    "streams create": ("s2cli.commands.streams", "resources:create_stream", "Create a stream"),
    "streams get": ("s2cli.commands.streams", "resources:get_stream", "Show the configuration of a stream"),
    "streams ensure": (
        "s2cli.commands.ensure",
        "changes:ensure_stream",
        "Create a stream if it is missing, or change it",
    ),
    "streams reconfigure": (
        "s2cli.commands.streams",
        "changes:reconfigure_stream",
        "Change the configuration of a stream",
    ),
    "streams delete": ("s2cli.commands.streams", "resources:delete_stream", "Delete a stream with all its records"),
    "tokens issue": ("s2cli.commands.tokens", "account:issue_token", "Issue an access token and print it"),
    "tokens list": ("s2cli.commands.tokens", "account:list_tokens", "List access tokens and what they allow"),
    "tokens revoke": ("s2cli.commands.tokens", "account:revoke_token", "Revoke an access token"),
    "metrics account": ("s2cli.commands.metrics", "account:account_metrics", "Print metrics of the account"),
    "metrics basin": ("s2cli.commands.metrics", "account:basin_metrics", "Print metrics of a basin"),
    "metrics stream": ("s2cli.commands.metrics", "account:stream_metrics", "Print metrics of a stream"),
    "locations list": ("s2cli.commands.locations", "account:list_locations", "List where basins can lie"),
    "locations get-default": (
        "s2cli.commands.locations",
        "account:get_default_location",
        "Show where new basins lie",
    ),
    "locations set-default": (
        "s2cli.commands.locations",
        "account:set_default_location",
        "Say where new basins lie",
    ),
    "lite": ("s2cli.commands.lite", "other:lite", "Run the embedded server, or ask about the one that runs"),
    "completion": ("s2cli.completion", "other:completion", "Print the completion script for a shell"),
    "records append": ("s2cli.commands.append", "records:append", ""),
    "records read": ("s2cli.commands.read", "records:read", ""),
    "records tail": ("s2cli.commands.tail", "records:tail", ""),
    "records check-tail": ("s2cli.commands.check_tail", "records:check_tail", ""),
    "records trim": ("s2cli.commands.trim", "records:trim", ""),
    "records fence": ("s2cli.commands.fence", "records:fence", ""),
    # The flat verbs of the official tool.
    "ls": ("s2cli.commands.official", "official:ls", ""),
    "list-basins": ("s2cli.commands.official", "official:list_basins", ""),
    "list-streams": ("s2cli.commands.official", "official:list_streams", ""),
    "create-basin": ("s2cli.commands.official", "official:create_basin", ""),
    "create-stream": ("s2cli.commands.official", "official:create_stream", ""),
    "delete-basin": ("s2cli.commands.official", "official:delete_basin", ""),
    "delete-stream": ("s2cli.commands.official", "official:delete_stream", ""),
    "get-basin-config": ("s2cli.commands.official", "official:get_basin_config", ""),
    "get-stream-config": ("s2cli.commands.official", "official:get_stream_config", ""),
    "reconfigure-basin": ("s2cli.commands.official", "official:reconfigure_basin", ""),
    "reconfigure-stream": ("s2cli.commands.official", "official:reconfigure_stream", ""),
    "issue-access-token": ("s2cli.commands.official_account", "official_account:issue_access_token", ""),
    "list-access-tokens": ("s2cli.commands.official_account", "official_account:list_access_tokens", ""),
    "revoke-access-token": ("s2cli.commands.official_account", "official_account:revoke_access_token", ""),
    "get-account-metrics": ("s2cli.commands.official_account", "official_account:get_account_metrics", ""),
    "get-basin-metrics": ("s2cli.commands.official_account", "official_account:get_basin_metrics", ""),
    "get-stream-metrics": ("s2cli.commands.official_account", "official_account:get_stream_metrics", ""),
    "list-locations": ("s2cli.commands.official_account", "official_account:list_locations", ""),
    "get-default-location": ("s2cli.commands.official_account", "official_account:get_default_location", ""),
    "set-default-location": ("s2cli.commands.official_account", "official_account:set_default_location", ""),
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
# What every command has beside them; --no-color is there, and not shown.
COMMON_OPTIONS = (("-h, --help", "Show help"), ("-V, --version", "Show the version"))

EXIT_CODES = {
    0: "done",
    1: "another failure",
    2: "wrong usage or configuration",
    3: "not found",
    4: "no credential, or no permission",
    5: "a condition did not hold (fencing token, match-seq-num, already exists, start beyond the tail)",
    6: "server unreachable, timed out, or given up on after 429 and 5xx",
    7: "bad input data",
    8: "undecided whether records are durable, or a list left out names",
    130: "interrupted (Ctrl-C)",
    143: "terminated",
}

ENVIRONMENT = {
    "S2_ACCESS_TOKEN": "the access token",
    "S2_PROFILE": "the profile; local is built in",
    "S2_STREAM": "the stream of record commands that name none",
    "S2_ACCOUNT_ENDPOINT": "where basins are, if not at s2.dev",
    "S2_BASIN_ENDPOINT": "where streams are; {basin} in it stands for the basin",
    "S2_ENCRYPTION_KEY": "the key of encrypted streams",
    "S2_COMPRESSION": "the same as --compression",
    "S2_ROOT_TOKEN": "the token of s2 lite that may do everything",
    "S2LITE_INIT_FILE": "the same as --init-file of s2 lite",
    "S2_LITE_NETWORK_DATA": "1: let s2 lite keep its data on a network file system",
    "S2_LITE_ALLOW_HOST": "the same as --allow-host of s2 lite, names with commas between",
    "S2_INSECURE_HTTP": "1: let the token go over http:// to other machines",
    "SSL_CERT_FILE": "the certificates to trust; also SSL_CERT_DIR",
    "NO_COLOR": "no colour; FORCE_COLOR: colour; NO_COLOR wins, --color over both",
    "S2_DEBUG": "1: show the traceback of an unexpected error",
}

_SHORT = """\
s2: append to and read from S2 durable streams, in the cloud or on this machine.

  seq 1000 | s2 --local append --create s2://quickstart/numbers
  s2 --local read s2://quickstart/numbers --from -5

`s2 --help` lists the commands and options, `s2 COMMAND --help` explains one.
"""

_INTRODUCTION = """\
Append to and read from S2 durable streams, in the cloud or on this machine.

Usage: s2 [OPTIONS] COMMAND [ARGS]…

Examples:
  seq 1000 | s2 --local append --create s2://quickstart/numbers
  s2 --local read s2://quickstart/numbers --from -5
  tail -F app.log | s2 append s2://logs-prod/app
  s2 tail -f s2://logs-prod/app
  s2 basins list -o json

A stream is s2://BASIN/STREAM; a basin is BASIN or s2://BASIN.
"""

_END = "`s2 COMMAND --help` explains a command. The options stand before or after it."


def print_short_help() -> None:
    console.write(_SHORT.encode())


def print_help() -> None:
    shown = [(name, line) for name, (_, _, line) in COMMANDS.items() if line]
    options = [(f"{spelling} {metavar}".rstrip(), line) for spelling, metavar, line in GLOBAL_OPTIONS.values()]
    sections = [
        ("Commands", shown),
        ("Options", [*options, *COMMON_OPTIONS]),
        ("Exit codes", [(str(code), line) for code, line in EXIT_CODES.items()]),
        ("Environment", list(ENVIRONMENT.items())),
    ]
    print_page(_INTRODUCTION, sections, _END)


def print_page(introduction: str, sections: list[tuple[str, list[tuple[str, str]]]], end: str) -> None:
    """A page of help on stdout: plain text, as wide as the terminal and 80 columns elsewhere."""
    width = min(console.terminal_width(), 120) if console.stdout_is_terminal() else 80
    pieces = ["".join(_styled(line) for line in introduction.splitlines(keepends=True))]
    pieces += [_styled(f"{title}:\n") + _rows(rows, width) for title, rows in sections if rows]
    console.write("\n".join([*pieces, end + "\n"]).encode("utf-8", "replace"))


def _styled(line: str) -> str:
    """A heading in bold, where that can be seen."""
    if line.endswith(":\n") and not line[0].isspace():
        return console.paint(line[:-1], console.BOLD, 1) + "\n"
    return line


def _rows(rows: list[tuple[str, str]], width: int) -> str:
    """Two columns, the second one wrapped; a left side that is too long has its text on the next line."""
    column = min(max(len(left) for left, _ in rows), 28) + 4
    lines: list[str] = []
    for left, right in rows:
        line = f"  {left}".ljust(column)
        if len(left) + 4 > column:
            lines.append(line.rstrip())
            line = " " * column
        for word in right.split():
            if len(line) + len(word) > width and line.strip():
                lines.append(line.rstrip())
                line = " " * column
            line += word + " "
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"
