"""`s2 completion`."""

from __future__ import annotations


def script(shell: str) -> str:
    return ""
