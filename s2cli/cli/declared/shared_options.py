"""The options and operands that several commands share, each written down once."""

from typing import Annotated, Literal

import typer

from s2cli.cli import command_tree
from s2cli.cli.args import BASIN_MEMBERS, STREAM_MEMBERS
from s2cli.values import U64_MAX


def _global(name: str) -> object:
    spelling, metavar, text = command_tree.GLOBAL_OPTIONS[name]
    return typer.Option(*spelling.split(", "), metavar=metavar or None, help=text)


def global_options(
    local: Annotated[bool, _global("local")] = False,
    profile: Annotated[str | None, _global("profile")] = None,
    account_endpoint: Annotated[str | None, _global("account_endpoint")] = None,
    basin_endpoint: Annotated[str | None, _global("basin_endpoint")] = None,
    access_token_file: Annotated[str | None, _global("access_token_file")] = None,
    ca_file: Annotated[str | None, _global("ca_file")] = None,
    insecure_http: Annotated[bool, _global("insecure_http")] = False,
    http2: Annotated[bool, _global("http2")] = False,
    timeout: Annotated[str | None, _global("timeout")] = None,
    quiet: Annotated[bool, _global("quiet")] = False,
    verbose: Annotated[bool, _global("verbose")] = False,
    color: Annotated[Literal["always", "auto", "never"] | None, _global("color")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", hidden=True)] = False,
) -> None:
    """The options that every command has."""


# Operands
Uri = Annotated[str | None, typer.Argument(metavar="[URI]", help="The stream, s2://BASIN/STREAM [env: S2_STREAM]")]
RequiredUri = Annotated[str, typer.Argument(metavar="URI", help="The stream, s2://BASIN/STREAM")]
Resource = Annotated[str, typer.Argument(metavar="URI", help="BASIN, s2://BASIN or s2://BASIN/STREAM")]
Basin = Annotated[str, typer.Argument(metavar="BASIN", help="BASIN or s2://BASIN")]

# Of the record commands
Stream = Annotated[str | None, typer.Option("--stream", metavar="URI", help="The stream, where no operand names it")]
Zero = Annotated[bool, typer.Option("-0", "--zero", help="A NUL byte between records, not a newline")]
EncryptionKeyFile = Annotated[
    str | None,
    typer.Option(
        "-k",
        "--encryption-key-file",
        metavar="FILE",
        help="The key of an encrypted stream, 32 bytes in Base64 [env: S2_ENCRYPTION_KEY]",
    ),
]
MatchSeqNum = Annotated[
    int | None,
    typer.Option(
        "-m",
        "--match-seq-num",
        metavar="N",
        min=0,
        max=U64_MAX,
        help="Only if what is appended begins at this sequence number",
    ),
]
FencingToken = Annotated[
    str | None,
    typer.Option("-f", "--fencing-token", metavar="TOKEN", help="Only if the stream is fenced by this token"),
]
JsonOutput = Annotated[
    Literal["json", "jsonl"] | None,
    typer.Option("-o", "--output", metavar="json", help="The result as one JSON object on stdout"),
]
RecordFormat = Literal["text", "json", "json-base64", "", "raw", "jsonl", "base64", "json-binsafe"]
ReadFormat = Annotated[
    RecordFormat | None,
    typer.Option("--format", metavar="FORMAT", help="text, json or json-base64; the same as -o FORMAT"),
]
ReadOutput = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FORMAT", help="text (the bodies), json or json-base64 [default: text]"),
]
OutputFile = Annotated[
    str | None, typer.Option("-O", "--output-file", metavar="FILE", help="Write there, not to stdout")
]
MaxOutage = Annotated[
    str | None,
    typer.Option("--max-outage", metavar="DURATION", help="Give up after so long without progress [default: 60s]"),
]

Compression = Annotated[
    Literal["none", "gzip", "zstd", "auto"] | None,
    typer.Option(
        "--compression", metavar="HOW", help="none, gzip, zstd or auto: zstd if it leaves the machine [default: auto]"
    ),
]

# Of the resource commands
Output = Annotated[
    Literal["table", "json", "jsonl", "name"] | None,
    typer.Option("-o", "--output", metavar="FORMAT", help="table, json, jsonl or name [default: table]"),
]
NulNames = Annotated[bool, typer.Option("-0", "--zero", help="With -o name: a NUL byte behind each name, for xargs -0")]
NoHeaders = Annotated[bool, typer.Option("--no-headers", help="No line of headers above a table")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask")]
Prefix = Annotated[str, typer.Option("-p", "--prefix", metavar="PREFIX", help="Only names that begin so")]
StartAfter = Annotated[str, typer.Option("-s", "--start-after", metavar="NAME", help="Only names after this one")]
Limit = Annotated[int | None, typer.Option("-n", "--limit", metavar="N", min=1, help="At most so many [default: all]")]
NoAutoPaginate = Annotated[
    bool, typer.Option("--no-auto-paginate", help="One page only; --limit is then its size", hidden=True)
]
StorageClass = Annotated[
    str | None,
    typer.Option("--storage-class", metavar="CLASS", help="standard or express, where the server knows them"),
]
RetentionPolicy = Annotated[
    str | None,
    typer.Option("--retention-policy", metavar="DURATION", help="How long records are kept: 7d, 12h, or infinite"),
]
TimestampingMode = Annotated[
    Literal["client-prefer", "client-require", "arrival"] | None,
    typer.Option("--timestamping-mode", metavar="MODE", help="client-prefer, client-require or arrival"),
]
TimestampingUncapped = Annotated[
    Literal["true", "false"] | None,
    typer.Option("--timestamping-uncapped", metavar="BOOL", help="true lets timestamps lie in the future"),
]
DeleteOnEmptyMinAge = Annotated[
    str | None,
    typer.Option("--delete-on-empty-min-age", metavar="DURATION", help="Delete a stream that was empty for so long"),
]
CreateStreamOnAppend = Annotated[
    bool | None,
    typer.Option("--create-stream-on-append/--no-create-stream-on-append", help="Appends create missing streams"),
]
CreateStreamOnRead = Annotated[
    bool | None,
    typer.Option("--create-stream-on-read/--no-create-stream-on-read", help="Reads create missing streams"),
]
StreamCipher = Annotated[
    Literal["aegis-256", "aes-256-gcm"] | None,
    typer.Option("--stream-cipher", metavar="CIPHER", help="aegis-256 or aes-256-gcm, with keys of the clients"),
]
Location = Annotated[str | None, typer.Option("--location", metavar="NAME", help="Where the basin lies")]
RequestToken = Annotated[
    str | None,
    typer.Option(
        "--request-token",
        metavar="TOKEN",
        help="Name this request, so that the same one sent again is not done twice [default: a random one]",
    ),
]
UnsetOfStream = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="MEMBER", help=f"Back to the default; repeatable: {', '.join(STREAM_MEMBERS)}"),
]
UnsetOfBasin = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="MEMBER", help=f"Back to the default; repeatable: {', '.join(BASIN_MEMBERS)}"),
]
