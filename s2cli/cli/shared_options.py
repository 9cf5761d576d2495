"""The names in the annotations of options (see args.py): how an option is declared, and those options that several
classes have."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import typer

from s2cli.cli import command_tree
from s2cli.values import (
    U64_MAX,
    Rate,
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

__all__ = [
    "Literal",
    "Rate",
    "delimiter_text",
    "parse_bool",
    "parse_delimiter",
    "parse_duration_ms",
    "parse_print_format",
    "parse_rate",
    "parse_record_format",
    "parse_seconds",
    "parse_size_bytes",
    "parse_speed",
    "speed_text",
]

# What the help of a command has, in this order. All options are below "Options" where it has no other headings
# (args.CommonArgs.help_has_headings).
Heading = Literal[
    "Operands",
    "Where the data is",
    "Who may use it",
    "Options",
    "Which records are printed",
    "How records are printed",
    "A command for each record",
    "Conditions",
    "If this creates the stream",
    "Connection",
    "Other spellings",
]


class Declaration(NamedTuple):
    """What an annotation says of an option or operand."""

    info: Any  # what typer takes
    heading: Heading
    in_resume_command: bool
    written: Callable[[Any], str]


def option(
    spelling: str,
    text: str,
    *,
    heading: Heading = "Options",
    in_resume_command: bool = False,
    written: Callable[[Any], str] = str,
    parser: Callable[[str], object] | None = None,
    least: int | None = None,
    most: int | None = None,
    hidden: bool = False,
) -> Declaration:
    """`spelling` is as help shows it: the flags and what they take, as in "-s, --start-after NAME"; a switch takes
    nothing. `parser` makes the value of the word, or raises UsageError; `least` and `most` bound a number.
    `in_resume_command`: the command line that is printed to resume an interrupted command repeats the option, because
    it says what is done, not only how fast; `written` makes the word of the value again."""
    words = spelling.replace(",", "").split()
    flags = [word for word in words if word.startswith("-")]
    metavar = " ".join(words[len(flags) :]) or None
    info = typer.Option(*flags, metavar=metavar, parser=parser, min=least, max=most, hidden=hidden, help=text)
    return Declaration(info, heading, in_resume_command, written)


def u64_option(spelling: str, text: str, *, heading: Heading = "Options") -> Declaration:
    """A number of the API."""
    return option(spelling, text, heading=heading, least=0, most=U64_MAX)


def global_option(name: str, parser: Callable[[str], object] | None = None) -> Declaration:
    """An option of every command; `name` is that of its parameter."""
    return option(*command_tree.GLOBAL_OPTIONS[name], parser=parser)


def operand(spelling: str, text: str) -> Declaration:
    """A word without a flag, as help shows it: "[FILE]…"."""
    return Declaration(typer.Argument(metavar=spelling, help=text), "Operands", in_resume_command=False, written=str)


# Operands
Uri = Annotated[str | None, operand("[URI]", "The stream, s2://BASIN/STREAM [env: S2_STREAM]")]
RequiredUri = Annotated[str, operand("URI", "The stream, s2://BASIN/STREAM")]
Resource = Annotated[str, operand("URI", "BASIN, s2://BASIN or s2://BASIN/STREAM")]
Basin = Annotated[str, operand("BASIN", "BASIN or s2://BASIN")]
OptionalBasin = Annotated[str, operand("[BASIN]", "BASIN or s2://BASIN[/PREFIX]")]
TokenId = Annotated[str, operand("ID", "The name of the token: 1 to 96 bytes")]
AccountMetric = Annotated[
    Literal["active-basins", "account-ops", "estimated-billable-usage"] | None,
    operand("SET", "active-basins, account-ops or estimated-billable-usage"),
]
BasinMetric = Annotated[
    Literal["storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"] | None,
    operand("SET", "storage, append-ops, read-ops, append-throughput, read-throughput or basin-ops"),
]

# Of the record commands
Follow = Annotated[bool, option("-f, --follow", "At the end, wait for more", in_resume_command=True)]
EncryptionKeyFile = Annotated[
    str | None,
    option(
        "-k, --encryption-key-file FILE",
        "The key of an encrypted stream, 32 bytes in Base64 [env: S2_ENCRYPTION_KEY]",
        in_resume_command=True,
    ),
]
Compression = Annotated[
    Literal["none", "gzip", "zstd", "auto"] | None,
    option(
        "--compression HOW",
        "none, gzip, zstd or auto: zstd unless the server is on this machine [default: auto]",
        heading="Connection",
    ),
]

# Of several kinds of commands
JsonOutput = Annotated[
    Literal["json", "jsonl"] | None, option("-o, --output json", "The result as one JSON object on stdout")
]
NulNames = Annotated[bool, option("-0, --zero", "With -o name: end each name with NUL, for xargs -0")]
Yes = Annotated[bool, option("-y, --yes", "Do not ask")]
