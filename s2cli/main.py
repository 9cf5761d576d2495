"""The way in: what the command line means, the run of the command, and the one place that catches and picks the code.

The version and, through the strict parser, most commands get by without typer.
"""

from __future__ import annotations

import gc
import os
import sys

from s2cli.errors import ApiError, ExitCode, S2Error, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from s2cli.cli.args import CommonArgs


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    from s2cli.cli import console

    words = sys.argv[1:] if argv is None else argv
    try:
        _refuse_platform()
        return _run(words)
    except S2Error as error:
        if error.exit_code == ExitCode.USAGE:
            from s2cli.cli import command_tree, suggestions

            error = error.reworded(hint=suggestions.noun_hint(words, command_tree.COMMANDS))
        console.status("")
        console.error(error)
        return error.exit_code
    except console.ClosedOutput:
        return ExitCode.OK
    except KeyboardInterrupt:
        console.status("")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug: one line for the user, and where to report it
        console.status("")
        console.error(_bug(error))
        return ExitCode.FAILURE


def start() -> NoReturn:
    """The whole life of the process. It ends without the interpreter's teardown, which would take 2 ms and has nothing
    to do: every byte was written by os.write, and what runs in threads was ended by the command."""
    try:
        _keep_standard_descriptors()
        code = main()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    os._exit(code)


def _keep_standard_descriptors() -> None:
    """A standard stream that was closed (`s2 >&-`) must not be the number of the next socket or file."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # For reading alone: what is written to stdout still fails, and is said to.
            os.open(os.devnull, os.O_RDONLY)


def _run(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        from s2cli import __version__
        from s2cli.cli import console

        console.write(f"s2 {__version__} (s2cli)\n".encode())
        return ExitCode.OK
    # Nothing that is imported from here to the command becomes garbage.
    gc.disable()
    words, program = _without_program(words)
    function, args = _understand(words)
    if args is None:
        return ExitCode.OK
    if program:
        args.run_program(program)
    from s2cli.cli import console
    from s2cli.cli.args import StreamConfigArgs

    console.configure(
        quiet=args.quiet, verbose=args.verbose, color=args.color, json_errors=args.output in ("json", "jsonl")
    )
    run = _command_function(function)
    gc.freeze()
    gc.enable()
    try:
        code = run(args)
    except ApiError as error:
        if error.code.endswith("_not_found"):
            raise _command_function("aftermath:with_near_names")(error, args) from error
        raise
    assert isinstance(code, int)
    if code == ExitCode.OK and isinstance(args, StreamConfigArgs) and args.storage_class is not None:
        _command_function("aftermath:warn_of_unknown_class")(args)
    return code


def _understand(words: list[str]) -> tuple[str, CommonArgs | None]:
    """The function that runs the command, and its arguments; None where help or the version was all."""
    from s2cli.cli import args, strict_parser

    sure = strict_parser.parse(words)
    if sure is not None:
        function, declaration, name, raw = sure
        return function, args.resolve(declaration, name, raw)
    from s2cli.cli import command_tree, console, help_pages

    # Help and wrong command lines are written before their options are known.
    console.configure(quiet=False, verbose=False, color=_color(words), json_errors=False)
    if not words:
        help_pages.print_short_help()
        return "", None
    asked = _without_global_options(words)
    if asked[:1] == ["help"]:
        if len(asked) == 2 and help_pages.print_topic(asked[1]):
            return "", None
        if len(asked) == 2 and asked[1][:1] != "-" and asked[1] not in {**command_tree.COMMANDS, **command_tree.GROUPS}:
            from s2cli.cli import suggestions

            raise UsageError(
                f'no help on "{asked[1]}"',
                hint=suggestions.topic_hint(
                    asked[1], help_pages.TOPICS, {**command_tree.COMMANDS, **command_tree.GROUPS}
                ),
            )
        words = [*asked[1:], "--help"]
    if words in (["--help"], ["-h"]):
        help_pages.print_help()
        return "", None
    from s2cli.cli import typer_app

    meant = typer_app.run(words)
    return command_tree.COMMANDS[meant.command][0] if meant is not None else "", meant


def _without_program(words: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """The words, and apart from them a command line to run: what follows `--` in an append, unless it begins with
    the URI of the stream."""
    if "--" not in words:
        return words, ()
    at = words.index("--")
    program = tuple(words[at + 1 :])
    if "append" not in words[:at] or not program or program[0].startswith("s2://"):
        return words, ()
    return words[:at], program


def _without_global_options(words: list[str]) -> list[str]:
    """The words without the options that may stand before or behind any command, and without what these take."""
    from s2cli.cli.strict_table import GLOBAL

    left = []
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name not in GLOBAL:
            left.append(word)
        elif GLOBAL[name][1] is not True and not equals:
            next(rest, None)
    return left


def _color(words: list[str]) -> str | None:
    """What `--color` says, as far as can be told without parsing."""
    chosen = None
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if word == "--no-color":
            chosen = "never"
        elif name == "--color":
            chosen = value if equals else "".join(words[at + 1 : at + 2])
    return chosen


def _command_function(place: str) -> Callable[..., Any]:
    """A function of a command module, as in "read:tail"."""
    module, _, name = place.partition(":")
    module = f"s2cli.commands.{module}"
    __import__(module)  # importlib would cost 1 ms
    found: Callable[..., Any] = getattr(sys.modules[module], name)
    return found


def _refuse_platform() -> None:
    if sys.platform == "win32":
        raise UsageError("s2 runs on Linux and macOS", hint="on Windows: run it inside WSL")


def _bug(error: Exception) -> S2Error:
    if os.environ.get("S2_DEBUG"):
        import traceback

        traceback.print_exception(error)
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return S2Error(
        f"this is a bug in s2: {type(error).__name__}: {error}{place}",
        hint="report this line to the maintainers of s2cli; S2_DEBUG=1 shows the traceback",
    )
