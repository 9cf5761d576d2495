"""A jq filter over records in their JSON form. The library `jq` is an extra, imported with the first filter."""

from __future__ import annotations

from s2cli.errors import BadValueError, UsageError

# For each record: the number of its results and the results, or -1 and what failed. The results are collected first, so
# that a record whose filter fails has none. `tojson` keeps the digits of large numbers, which Python objects would not.
# The newlines end a comment in the filter.
_COUNTED = 'try ([\n{}\n] | length, (.[] | tojson)) catch (-1, if type == "string" then . else tojson end)'


class JqFilter:
    """A compiled filter. Raises UsageError if the library is not installed, BadValueError if `text` is not a filter."""

    def __init__(self, text: str) -> None:
        try:
            import jq  # type: ignore[import-not-found]  # it has no types
        except ImportError:
            raise UsageError(
                "--jq needs the Python package jq", hint="pip install 's2cli[jq]', or pip install jq"
            ) from None
        try:
            jq.compile(text)
            self._program = jq.compile(_COUNTED.format(text))
        except ValueError as error:
            flaw = " ".join(str(error).split())
            raise BadValueError(f'--jq: "{text}" is not a filter: {flaw}') from error

    def run(self, records_json: bytes, count: int) -> list[list[str] | str]:
        """Filters `count` records, each a line of JSON. Returns for each the JSON texts of its results, or the error
        message if the filter failed on it. Raises BadValueError if the filter ends the program."""
        results: list[list[str] | str] = []
        found = iter(self._program.input_text(records_json.decode()))
        for _ in range(count):
            length = next(found, None)
            if length is None:
                raise BadValueError("--jq: the filter ends the program (halt)")
            results.append([next(found) for _ in range(length)] if length >= 0 else next(found))
        return results
