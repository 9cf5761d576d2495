"""The command line by typer: every command that the strict parser was not sure about, help, and usage errors.

A command is built when it is named: building all of them would cost each start 20 ms.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from s2cli import __version__
from s2cli.cli import args, command_tree, console, help_pages, shared_options
from s2cli.errors import UsageError
from s2cli.values import U64_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = "s2"
HELP_FLAGS = ["-h", "--help"]

# typer has its own copy of click from 0.26 on, so that its class can only be found by way of one that it exports.
ClickUsageError: type[Exception] = typer.BadParameter.__mro__[1]


class EachOptionOnce:
    """A command of click that refuses an option which takes one value and is given twice: click takes the last."""

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)  # type: ignore[misc]  # mixed into a command
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            options, rest, order = parse(args)
            if not any(param.is_eager for param in order):  # --help explains, whatever stands beside it
                refuse_repeated([param for param in order if _takes_one_value(param)])
            return options, rest, order

        parser.parse_args = parse_once
        return parser


class S2Command(EachOptionOnce, TyperCommand):
    """A command of command_tree.COMMANDS, whose parameters become an object of the class that declares them."""

    def invoke(self, ctx: Any) -> args.CommonArgs:
        raw: dict[str, object] = {}
        params: list[Any] = []
        for context in (ctx.parent and ctx.parent.parent, ctx.parent, ctx):
            if context is not None:
                written = given(context)
                raw.update(written)
                params += [p for p in context.command.params if p.name in written and _takes_one_value(p)]
        refuse_repeated(params)  # before the command and behind it
        name = command_name(ctx)
        return args.resolve(command_tree.COMMANDS[name][1], name, raw)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if self.name == "tail":
            args = self._with_line_count(args)
        return super().parse_args(ctx, args)

    def _with_line_count(self, args: list[str]) -> list[str]:
        """Makes `-n20` of a word like `-20`, unless it is the value of an option. (-0 is an option of ours.)"""
        options = [param for param in self.params if param.param_type_name == "option"]
        valued = {flag for option in options if not getattr(option, "is_flag", False) for flag in option.opts}
        words: list[str] = []
        for before, word in zip(["", *args], args, strict=False):
            is_count = word[:1] == "-" and word[1:].isascii() and word[1:].isdigit() and word[1] != "0"
            words.append(f"-n{word[1:]}" if is_count and before not in valued else word)
        return words

    def get_help(self, ctx: Any) -> str:
        """Print the help and leave: what click does with a text cannot be told to mind the terminal."""
        text = inspect.cleandoc(self.help or "")
        summary, _, rest = text.partition("\n")
        names = [str(param.metavar) for param in self.params if param.param_type_name == "argument"]
        introduction = f"{summary}\n\nUsage: {ctx.command_path} {' '.join(['[OPTIONS]', *names])}\n{rest}\n"
        declared = args.declared_class(command_tree.COMMANDS[command_name(ctx)][1])
        declarations = read_declarations(declared)
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in get_args(shared_options.Heading)}
        for param in self._own_params():
            row = _help_row(param)
            if row is not None:
                heading = declarations[param.name][1].heading
                sections[heading if declared.help_has_headings or heading == "Operands" else "Options"].append(row)
        own_meanings = command_tree.OPTIONS_OF_COMMANDS.get(command_name(ctx), {})
        sections["Options"] += [(command_tree.GLOBAL_OPTIONS[name][0], text) for name, text in own_meanings.items()]
        sections["Options"] += command_tree.COMMON_OPTIONS[:1]
        end = f"`{PROGRAM} help options` lists the options of every command; see also `{PROGRAM} help exit-codes`.\n"
        help_pages.print_page(introduction, sections.items(), end)
        raise typer.Exit

    def _own_params(self) -> list[Any]:
        return [param for param in self.params if param.name not in command_tree.GLOBAL_OPTIONS]


class S2Group(EachOptionOnce, TyperGroup):
    """`s2` itself, or one of its groups."""

    def list_commands(self, ctx: Any) -> list[str]:
        prefix = self._prefix(ctx)
        names = [name[len(prefix) :] for name in command_tree.COMMANDS if name.startswith(prefix)]
        return [name for name in names if " " not in name] + ([] if prefix else list(command_tree.GROUPS))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = self._prefix(ctx) + cmd_name
        if name in command_tree.COMMANDS:
            return build_command(name)
        return build_group(name) if name in command_tree.GROUPS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise unknown_command(self._prefix(ctx) + args[0])
        return args[0], command, args[1:]

    def get_help(self, ctx: Any) -> str:
        prefix = self._prefix(ctx)
        if not prefix:
            help_pages.print_help()
            raise typer.Exit
        rows = [
            (name[len(prefix) :], line or _summary(name))
            for name, (_, _, line) in command_tree.COMMANDS.items()
            if name.startswith(prefix)
        ]
        introduction = f"{command_tree.GROUPS[prefix.strip()]}\n\nUsage: {PROGRAM} {prefix}COMMAND [ARGS]…\n"
        help_pages.print_page(
            introduction, [("Commands", rows)], f"`{PROGRAM} {prefix}COMMAND --help` explains a command.\n"
        )
        raise typer.Exit

    def invoke(self, ctx: Any) -> Any:
        if not ctx._protected_args and not ctx.args:
            self.get_help(ctx)
        return super().invoke(ctx)

    def _prefix(self, ctx: Any) -> str:
        return f"{self.name} " if self.name in command_tree.GROUPS else ""


def run(argv: list[str]) -> args.CommonArgs | None:
    """What `argv` means; None where typer has done all there was to do (help, version). Raises UsageError."""
    try:
        with build_group(PROGRAM).make_context(PROGRAM, list(argv)) as ctx:
            meant = ctx.command.invoke(ctx)
    except typer.Exit:
        return None
    except ClickUsageError as error:
        raise our_usage_error(error, argv) from None
    assert isinstance(meant, args.CommonArgs)
    return meant


def given(ctx: Any) -> dict[str, object]:
    """The parameters that were written on the command line, by name."""
    written: dict[str, object] = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            written[name] = tuple(value) if isinstance(value, list) else value
    return written


def refuse_repeated(params: list[Any]) -> None:
    """Raises UsageError where a parameter is among those that were written more than once."""
    names = [param.name for param in params]
    for param in params:
        if names.count(param.name) > 1:
            raise UsageError(f"{_spelling(param)} given twice")


def _takes_one_value(param: Any) -> bool:
    """A plain switch says the same thing when it is repeated; one with a negative form does not."""
    if param.param_type_name != "option" or param.multiple:
        return False
    return not param.is_flag or bool(param.secondary_opts)


def command_name(ctx: Any) -> str:
    """The command, as command_tree.COMMANDS has it: "append", "basins list"."""
    return str(ctx.command_path).removeprefix(PROGRAM).strip()


def build_command(name: str) -> Any:
    """The typer command of this name, with the options that every command has."""
    declared = args.declared_class(command_tree.COMMANDS[name][1])
    command = _from_class(declared, name.rpartition(" ")[2], S2Command)
    command.params += _global_params()
    return command


def _from_class(declared: type[args.CommonArgs], name: str, kind: type[TyperCommand]) -> Any:
    """The command with the options and operands of `declared`, without those that every command has."""

    def function() -> None: ...

    function.__doc__ = declared.__doc__
    function.__signature__ = inspect.Signature(list(_parameters(declared)))  # type: ignore[attr-defined]
    command = _from_function(function, name, kind)
    for param in command.params:
        if hasattr(param.type, "min"):
            _take_digits_alone(param.type)
        elif hasattr(param.type, "func"):
            _say_which_option(param.type)
    return command


def read_declarations(declared: type[args.CommonArgs]) -> dict[str, tuple[Any, shared_options.Declaration]]:
    """The type and the declaration of each option and operand, without those that every command has."""
    found: dict[str, Any] = {}
    for owner in declared.__mro__[:-1]:
        if owner is not args.CommonArgs or declared is owner:
            of_owner = inspect.get_annotations(owner, locals=vars(shared_options), eval_str=True)
            found.update((name, of_owner[name]) for name in of_owner if name not in found)
    return {
        name: (annotation.__origin__, annotation.__metadata__[0])
        for name, annotation in found.items()
        if hasattr(annotation, "__metadata__")
    }


def _parameters(declared: type[args.CommonArgs]) -> Iterator[inspect.Parameter]:
    """What typer makes options and operands of. It takes lists, where a command gets a tuple; and texts, where a parser
    makes a value of them."""
    for name, (kind, (info, *_)) in read_declarations(declared).items():
        default = getattr(declared, name, inspect.Parameter.empty)
        if info.parser is not None:
            kind = str | None
        elif get_origin(kind) is tuple:
            kind, default = list[str] | None, None
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def _take_digits_alone(kind: Any) -> None:
    """Python takes +5, 1_000 and the digits of all scripts for numbers; `tail -n +5` means another thing elsewhere."""
    convert = kind.convert

    def convert_digits(value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit()):
            kind.fail(f"'{value}' is not a valid integer", param, ctx)
        return convert(value, param, ctx)

    kind.convert = convert_digits


def _say_which_option(kind: Any) -> None:
    """What a parser of ours has to say of a value is said of its option."""
    convert = kind.convert

    def convert_named(value: Any, param: Any, ctx: Any) -> Any:
        try:
            return convert(value, param, ctx)
        except UsageError as error:
            path = str(ctx.command_path)
            raise _wrong_value(path, param, error.message, error.hint) from None

    kind.convert = convert_named


def build_group(name: str) -> Any:
    group = S2Group(name=name, context_settings={"help_option_names": HELP_FLAGS}, invoke_without_command=True)
    group.params += _global_params()
    if name == PROGRAM:
        group.params += _from_function(_root_options, PROGRAM, TyperCommand).params
    return group


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print_line(version_line())
        raise typer.Exit


def _root_options(
    version: bool = typer.Option(False, "-V", "--version", is_eager=True, callback=_show_version),
) -> None:
    """What only `s2` itself has."""


def version_line() -> str:
    return f"{PROGRAM} {__version__} (s2cli)"


def _global_params() -> list[Any]:
    return list(_from_class(args.CommonArgs, "global", TyperCommand).params)


def _from_function(function: Any, name: str, kind: type[TyperCommand]) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name, cls=kind, context_settings={"help_option_names": HELP_FLAGS})(function)
    return typer.main.get_command(app)


def _summary(name: str) -> str:
    _, declaration, _ = command_tree.COMMANDS[name]
    return next(line for _, same, line in command_tree.COMMANDS.values() if same == declaration and line)


def _help_row(param: Any) -> tuple[str, str] | None:
    """A parameter in the help: spelling and text."""
    if getattr(param, "hidden", False):
        return None
    if not hasattr(param, "opts") or param.param_type_name == "argument":
        return str(param.metavar or param.name), str(param.help or "")
    spelling = ", ".join(shown_flags(param.name, param.opts)) + "".join(f" / {name}" for name in param.secondary_opts)
    default = param.default
    text = str(param.help or "")
    if not param.is_flag and default not in (None, "") and "[default" not in text and not callable(default):
        text += f" [default: {default}]"
    return spelling + ("" if param.is_flag else f" {param.metavar or 'VALUE'}"), text


def unknown_command(name: str) -> UsageError:
    from s2cli.cli import suggestions

    shown = [
        command for command, (_, _, line) in command_tree.COMMANDS.items() if line or command.startswith("records ")
    ]
    hint = suggestions.command_hint(name, {*shown, *command_tree.GROUPS})
    prefix = name.rpartition(" ")[0]
    return UsageError(
        f"unrecognized subcommand '{name}'",
        hint=hint or f"{' '.join((PROGRAM, *prefix.split()))} --help lists the commands",
    )


def our_usage_error(error: Any, argv: list[str]) -> UsageError:
    """An error of click in our words; where there are none, in its words."""
    ctx = getattr(error, "ctx", None)
    path = str(ctx.command_path) if ctx is not None else _path(argv)
    hint = f"{path} --help shows the usage"
    param = getattr(error, "param", None)
    kind = type(error).__name__
    if kind == "NoSuchOption":
        from s2cli.cli import suggestions

        guess = suggestions.option_hint(error.option_name, _option_names(ctx))
        return UsageError(f"{path} has no option {error.option_name}", hint=guess or hint)
    if kind == "MissingParameter":
        return UsageError(f"{path}: {getattr(param, 'metavar', None) or 'an operand'} is missing", hint=hint)
    message = str(error.message).rstrip(".")
    if message.startswith("Got unexpected extra argument"):
        extra = message.partition(" (")[2].removesuffix(")")
        from s2cli.cli import suggestions

        guess = suggestions.operand_hint(path.removeprefix(f"{PROGRAM} "), argv, extra)
        return UsageError(f"{path}: unexpected argument: {extra}", hint=guess or hint)
    if param is not None:
        from s2cli.cli import suggestions

        guess = suggestions.count_hint(message.split("'")[1]) if message.startswith("'") else None
        return _wrong_value(path, param, _bad_value(param, message), guess)
    return UsageError(f"{path}: {message[:1].lower()}{message[1:]}", hint=hint)


def _wrong_value(path: str, param: Any, message: str, hint: str | None) -> UsageError:
    where = "" if path == PROGRAM else f"{path}: "
    return UsageError(f"{where}{_spelling(param)}: {message}", hint=hint or f"{path} --help shows the usage")


def _path(argv: list[str]) -> str:
    """The command that these words name, as far as it can be told without parsing them."""
    words = [word for word in argv if word[:1] != "-"]
    names = (" ".join(words[:count]) for count in (2, 1))
    return " ".join([PROGRAM, *(name for name in names if name in command_tree.COMMANDS)][:2])


def _bad_value(param: Any, message: str) -> str:
    value = message.split("'")[1] if message.startswith("'") else ""
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        return f'"{value}" is none of {", ".join(map(str, choices))}'
    if message.endswith(("is not a valid int range", "is not a valid integer range", "is not a valid integer")):
        return f'"{value}" is not a whole number'
    number, _, bounds = message.partition(" is not in the range ")
    if bounds:
        lowest, highest = param.type.min, param.type.max
        if highest in (None, U64_MAX) and number.startswith("-"):
            return f"{number} is below {lowest}"
        return f"{number} is not from {lowest} to {highest}"
    return message


# Flags of the official tool, letters that mean something else with us among them: they are taken, and not advertised.
_OFFICIAL_FLAGS = {
    "data": "--local-root",
    "fencing_token": "-f",
    "start_after": "-s",
    "seq_num": "-s",
    "bytes": "-b",
    "target_mibps": "-t",
}


def shown_flags(parameter: str, flags: Sequence[str]) -> tuple[str, ...]:
    return tuple(flag for flag in flags if flag != _OFFICIAL_FLAGS.get(parameter))


def _spelling(param: Any) -> str:
    """The long flag of an option, or the name of an operand."""
    if param.param_type_name != "option":
        return str(param.metavar or param.name)
    return max(shown_flags(param.name, param.opts), key=len)


def _option_names(ctx: Any) -> list[str]:
    if ctx is None:
        return []
    return [name for param in ctx.command.params for name in (*param.opts, *param.secondary_opts) if name[:1] == "-"]
