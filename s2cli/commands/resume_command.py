"""The command line that resumes an append which ended early."""

from __future__ import annotations

from s2cli.client.input_files import STDIN
from s2cli.values import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args
    from s2cli.client.input_files import InputFiles

# What decides what is appended, and whether. What is only about speed has defaults that do.
_REPEATED = (
    ("--format", "format", "text"),
    ("--commands", "commands", "skip"),
    ("--fencing-token", "fencing_token", None),
    ("--encryption-key-file", "encryption_key_file", None),
    ("--on-lost-ack", "on_lost_ack", "check"),
)


def resume_command(args: Args, command: str, uri: str, inputs: InputFiles, line: int, durable: int) -> str | None:
    """What appends the input from this line on, where `durable` records were appended from what is before it. None
    where no command line does: `-0` separates what `tail` takes for one line, and a key that came from a pipe is gone.
    """
    if args.zero or (args.encryption_key_file or "").startswith(("/dev/", "/proc/", STDIN)):
        return None
    at, line = inputs.place(line)
    name, rest = inputs.names[at], list(inputs.names[at + 1 :])
    words = ["append", uri]
    for option, attribute, default in _REPEATED:
        value = getattr(args, attribute)
        if value != default:
            words += [option, value]
    for header in args.header:
        words += ["--header", header]
    if args.match_seq_num is not None:
        words += ["--match-seq-num", str(args.match_seq_num + durable)]
    if name == STDIN or line > 1:
        if STDIN in rest:
            return None
        before = f"tail -n +{line} {'FILE' if name == STDIN else _quote_file(name)} | "
        operands = [STDIN, *map(_quote_file, rest)] if rest else []
    else:
        before, operands = "", [STDIN if word == STDIN else _quote_file(word) for word in (name, *rest)]
    return before + " ".join([command, *map(shell_word, words), *operands])


def _quote_file(name: str) -> str:
    return shell_word("./" + name if name.startswith("-") else name)
