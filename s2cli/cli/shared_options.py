"""The names in the annotations of options (see args.py): what typer has, and options that are written down once and
stand in several classes."""

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from s2cli.cli import command_tree
from s2cli.values import U64_MAX, parse_bool, parse_duration_ms, parse_record_format, parse_seconds, parse_size_bytes

__all__ = ["Literal", "parse_bool", "parse_duration_ms", "parse_record_format", "parse_seconds", "parse_size_bytes"]


def global_option(name: str, parser: Callable[[str], object] | None = None) -> object:
    spelling, metavar, text = command_tree.GLOBAL_OPTIONS[name]
    return typer.Option(*spelling.split(", "), metavar=metavar or None, parser=parser, help=text)


def u64_option(*flags: str, metavar: str = "N", text: str) -> object:
    """A number of the API."""
    return typer.Option(*flags, metavar=metavar, min=0, max=U64_MAX, help=text)


# Operands
Uri = Annotated[str | None, typer.Argument(metavar="[URI]", help="The stream, s2://BASIN/STREAM [env: S2_STREAM]")]
RequiredUri = Annotated[str, typer.Argument(metavar="URI", help="The stream, s2://BASIN/STREAM")]
Resource = Annotated[str, typer.Argument(metavar="URI", help="BASIN, s2://BASIN or s2://BASIN/STREAM")]
Basin = Annotated[str, typer.Argument(metavar="BASIN", help="BASIN or s2://BASIN")]
OptionalBasin = Annotated[str, typer.Argument(metavar="[BASIN]", help="BASIN or s2://BASIN[/PREFIX]")]
TokenId = Annotated[str, typer.Argument(metavar="ID", help="The name of the token: 1 to 96 bytes")]
AccountMetric = Annotated[
    Literal["active-basins", "account-ops", "estimated-billable-usage"] | None,
    typer.Argument(metavar="SET", help="active-basins, account-ops or estimated-billable-usage"),
]
BasinMetric = Annotated[
    Literal["storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"] | None,
    typer.Argument(
        metavar="SET", help="storage, append-ops, read-ops, append-throughput, read-throughput or basin-ops"
    ),
]

# Of the record commands
Follow = Annotated[bool, typer.Option("-f", "--follow", help="At the end, wait for more")]
Zero = Annotated[bool, typer.Option("-0", "--zero", help="NUL bytes end records, instead of newlines")]
EncryptionKeyFile = Annotated[
    str | None,
    typer.Option(
        "-k",
        "--encryption-key-file",
        metavar="FILE",
        help="The key of an encrypted stream, 32 bytes in Base64 [env: S2_ENCRYPTION_KEY]",
    ),
]
Compression = Annotated[
    Literal["none", "gzip", "zstd", "auto"] | None,
    typer.Option(
        "--compression",
        metavar="HOW",
        help="none, gzip, zstd or auto: zstd unless the server is on this machine [default: auto]",
    ),
]

# Of several kinds of commands
JsonOutput = Annotated[
    Literal["json", "jsonl"] | None,
    typer.Option("-o", "--output", metavar="json", help="The result as one JSON object on stdout"),
]
NulNames = Annotated[bool, typer.Option("-0", "--zero", help="With -o name: end each name with NUL, for xargs -0")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask")]
