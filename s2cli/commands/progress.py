"""How much of a work whose end is known is done, and how long the rest takes, for a live line."""

from __future__ import annotations

from s2cli.amounts import format_seconds


def with_share(parts: list[str], done: int, whole: int, seconds: float) -> list[str]:
    """The parts of a live line: the percentage before the first one, the time that is left behind it. `done` of `whole`
    took so many seconds."""
    whole = max(1, whole)
    found = [f"{max(0, min(100, 100 * done // whole))} %", *parts[:1]]
    if 0 < done < whole:
        found.append(f"{format_seconds(round(seconds * (whole - done) / done))} left")
    return found + parts[1:]
