"""What a command gets from its command line, and how its options are declared: as a class.

The annotations of the class are the grammar, its defaults those of the options, its docstring the help; an object of it
is what the command gets. Options that several commands share are in a class that theirs inherit. What is `Annotated`
is an option or an operand; those of the class itself come first.

The tables of the strict parser and the completion scripts are made from these classes (completions/generate). Nothing
evaluates an annotation before typer is loaded, which costs a start 35 ms: names in them come from shared_options.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import global_option, option
    from s2cli.config.settings import Settings
    from s2cli.values import parse_bool, parse_seconds

# What `--unset` can name.
STREAM_MEMBERS = (
    "storage-class",
    "retention-policy",
    "timestamping-mode",
    "timestamping-uncapped",
    "delete-on-empty-min-age",
)
BASIN_MEMBERS = (*STREAM_MEMBERS, "stream-cipher")


class CommonArgs:
    """The options that every command has: their spelling and help are in command_tree.GLOBAL_OPTIONS."""

    local: Annotated[bool, global_option("local")] = False
    profile: Annotated[str | None, global_option("profile")] = None
    account_endpoint: Annotated[str | None, global_option("account_endpoint")] = None
    basin_endpoint: Annotated[str | None, global_option("basin_endpoint")] = None
    access_token_file: Annotated[str | None, global_option("access_token_file")] = None
    ca_file: Annotated[str | None, global_option("ca_file")] = None
    insecure_http: Annotated[bool, global_option("insecure_http")] = False
    http2: Annotated[bool, global_option("http2")] = False
    timeout_s: Annotated[float | None, global_option("timeout_s", parser=parse_seconds)] = None
    quiet: Annotated[bool, global_option("quiet")] = False
    verbose: Annotated[bool, global_option("verbose")] = False
    color: Annotated[Literal["always", "auto", "never"] | None, global_option("color")] = None
    no_color: Annotated[bool, option("--no-color", "", hidden=True)] = False

    help_has_headings = False  # in its help; where not, all options are below one

    output: str | None = None  # an option of some commands: json or jsonl, table or name

    def __init__(self, command: str = "", **given: object) -> None:
        """`command` is the full name, as in "basins list"."""
        self.command = command
        # What the options come to, once the command has opened it: to read a token or to find a target again may wait,
        # or find another one.
        self.settings: Settings | None = None
        self.__dict__.update(given)

    def run_program(self, program: tuple[str, ...]) -> None:
        """Take the words behind `--`, where they are a command line to run."""
        from s2cli.errors import UsageError

        raise UsageError(f"{self.command} runs no command: what does {program[0]} behind -- mean?")

    def combine(self) -> None:
        """Check options that depend on each other. Raises UsageError where they contradict each other."""
        if self.no_color and self.color is None:
            self.color = "never"

    def words_to_resume(self) -> list[str]:
        """The options that the command line which resumes this one repeats, where they are not as by default."""
        from s2cli.cli.strict_table import IN_RESUME_COMMAND

        words: list[str] = []
        for flag, parameter, written in IN_RESUME_COMMAND[type(self).__name__]:
            value = getattr(self, parameter)
            if value == getattr(type(self), parameter):
                continue
            if value is True:
                words.append(flag)
                continue
            for each in value if isinstance(value, tuple) else (value,):
                words += [flag, written(each)]
        return words


class StreamConfigArgs(CommonArgs):
    """What a stream is to be like."""

    storage_class: Annotated[
        str | None,
        option(
            "--storage-class CLASS",
            "standard, express, or another class of the server",
            heading="If this creates the stream",
        ),
    ] = None
    retention_policy: Annotated[
        str | None,
        option(
            "--retention-policy DURATION",
            "How long records are kept: 7d, 12h, or infinite",
            heading="If this creates the stream",
        ),
    ] = None
    timestamping_mode: Annotated[
        Literal["client-prefer", "client-require", "arrival"] | None,
        option(
            "--timestamping-mode MODE", "client-prefer, client-require or arrival", heading="If this creates the stream"
        ),
    ] = None
    timestamping_uncapped: Annotated[
        bool | None,
        option(
            "--timestamping-uncapped BOOL",
            "true allows timestamps in the future",
            heading="If this creates the stream",
            parser=parse_bool,
        ),
    ] = None
    delete_on_empty_min_age: Annotated[
        str | None,
        option(
            "--delete-on-empty-min-age DURATION",
            "Delete a stream that was empty for this long",
            heading="If this creates the stream",
        ),
    ] = None


class FilterArgs(CommonArgs):
    """Which records are wanted."""

    grep: Annotated[
        str | None,
        option(
            "--grep REGEX",
            "Only records whose body has a match for it",
            heading="Which records are printed",
            in_resume_command=True,
        ),
    ] = None
    grep_not: Annotated[
        str | None,
        option(
            "--grep-not REGEX",
            "Only records whose body has none",
            heading="Which records are printed",
            in_resume_command=True,
        ),
    ] = None
    header: Annotated[
        tuple[str, ...],
        option(
            "-H, --header NAME=VALUE",
            "Only records with this header; repeatable: with all of them",
            heading="Which records are printed",
            in_resume_command=True,
        ),
    ] = ()
    jq: str | None = None  # what a filter makes of a record is up to the command

    @property
    def chooses(self) -> bool:
        """Whether records may be left out."""
        return any(given is not None for given in (self.grep, self.grep_not, self.jq)) or bool(self.header)


def resolve(declaration: str, command: str, given: dict[str, object]) -> CommonArgs:
    """What was `given` on the command line, as an object of the class that declares the command: "read_args:ReadArgs"
    for example. Raises UsageError."""
    args = declared_class(declaration)(command, **given)
    args.combine()
    return args


def declared_class(declaration: str) -> type[CommonArgs]:
    import sys

    module, _, name = declaration.partition(":")
    module = f"s2cli.cli.{module}"
    __import__(module)  # importlib would cost 1 ms
    declared: type[CommonArgs] = getattr(sys.modules[module], name)
    return declared
