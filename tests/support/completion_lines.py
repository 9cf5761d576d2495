"""What is typed and what the completion scripts offer for it, for the tests in each shell."""

from pathlib import Path

from s2cli.cli import command_tree

SCRIPTS = Path(__file__).parents[2] / "completions"

# `records` is a group that help does not name.
FIRST_WORDS = {name for name, (_, _, line) in command_tree.COMMANDS.items() if line and " " not in name} | (
    command_tree.GROUPS.keys() - {"records"}
)

# What is typed, and what is offered. A script completes what the tables say, so a few of each kind will do.
TYPED = [
    ("s2 app", {"append"}),
    ("s2 ", FIRST_WORDS),
    ("s2 re", {"read"}),
    ("s2 help ", FIRST_WORDS | {"commands", "options", "environment", "exit-codes", "formats"}),
    ("s2 -q help ex", {"exit-codes"}),
    ("s2 basins ", {"list", "create", "get", "ensure", "reconfigure", "delete"}),
    ("s2 --local streams cr", {"create"}),
    ("s2 --profile x records che", {"check-tail"}),
    ("s2 read --fo", {"--follow", "--format"}),
    ("s2 -q tail --lin", {"--lines"}),
    ("s2 read s2://my-basin/s -o js", {"json", "json-base64"}),
    ("s2 append --on-lost-ack ", {"check", "resend", "stop"}),
    ("s2 basins list -o ", {"table", "json", "jsonl", "name"}),
    ("s2 --color ", {"always", "auto", "never"}),
    ("s2 read --color=a", {"always", "auto"}),
    ("s2 --profile ", {"local"}),
    ("s2 streams ensure s2://my-basin/s --unset retention-", {"retention-policy"}),
    ("s2 basins reconfigure my-basin --unset stream-", {"stream-cipher"}),
    ("s2 metrics account account-", {"account-ops"}),
    ("s2 metrics basin my-basin read-", {"read-ops", "read-throughput"}),
    ("s2 tokens issue t --op", {"--op-group-perms", "--ops"}),
    ("s2 lite st", {"status", "stop"}),
    ("s2 completion ", {"bash", "zsh", "fish"}),
    ("s2 append -i subdir/notes", {"subdir/notes.txt"}),
    ("s2 append --linger ", set()),
]


def make_files(directory: Path) -> None:
    """What the command lines name."""
    (directory / "subdir").mkdir()
    (directory / "subdir/notes.txt").touch()
