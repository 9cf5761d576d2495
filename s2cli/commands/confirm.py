"""Questions before something is gone for good; without a terminal there is nobody to ask."""

from __future__ import annotations

import os

from s2cli.cli import console
from s2cli.errors import UsageError


def confirm_deletion(what: str, *, name: str | None, yes: bool) -> bool:
    """Whether `what` is to be deleted. Where a `name` is given, it has to be typed."""
    if yes:
        return True
    if not can_ask():
        raise UsageError(f"deleting {what} needs a confirmation, and there is no terminal to ask on", hint="add --yes")
    return confirm(f"delete {what}?", name=name)


def can_ask() -> bool:
    return console.stdin_is_terminal() and console.stderr_is_terminal()


def confirm(question: str, *, name: str | None = None) -> bool:
    """Asks on the terminal; `name` has to be typed where it is given. Says so where nothing is deleted."""
    console.prompt(f"{question} " + ("[y/N] " if name is None else f"type {name} to go on: "))
    answer = _read_line().strip()
    agreed = answer.lower() in ("y", "yes") if name is None else answer == name
    if not agreed:
        console.notice("nothing was deleted")
    return agreed


def _read_line() -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 1024)
        if not piece:
            break
        data += piece
    return data.decode("utf-8", "replace")
