"""`s2 append --dry-run`: reads and checks the input as an append would, counts, and sends nothing."""

from __future__ import annotations

import time

from s2cli.amounts import format_bytes, format_count, format_seconds
from s2cli.cli import console
from s2cli.errors import BadInputError, ExitCode
from s2cli.wire.protobuf import RECORD_OVERHEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.input_files import InputFiles
    from s2cli.commands.append_rejects import Rejects
    from s2cli.formats.input import TextInput


def dry_run(uri: str, source: TextInput, inputs: InputFiles, rejects: Rejects | None, *, as_json: bool) -> int:
    """Prints on stderr, or as a JSON object on stdout, what an append to `uri` would do if the input never paused. (A
    pause makes more batches.) Raises the error with which such an append would end."""
    started = time.monotonic()
    records = batches = size_bytes = 0
    while not inputs.ended:
        full = inputs.read()
        if (inputs.ended or source.error is not None) and source.has_rest:
            full.append(source.take_rest())
        for batch in full:
            records += batch.count
            batches += 1
            size_bytes += batch.size
        if source.error is not None:
            break
    metered_bytes = size_bytes + RECORD_OVERHEAD_BYTES * records
    if as_json:
        fields: dict[str, object] = {
            "stream": uri,
            "dry_run": True,
            "read": source.lines,
            "records": records,
            "skipped_commands": source.skipped,
            "rejected": source.rejected,
            "batches": batches,
            "bytes": size_bytes,
            "metered_bytes": metered_bytes,
        }
        console.print_json(fields)
    else:
        left_out = f"; {rejects.summary()}" if rejects is not None and source.rejected else ""
        skipped = format_count(source.skipped, "command record", "command records")
        lines = format_count(source.lines, "line", "lines")
        console.notice(
            f"{uri}: {lines} read, {format_count(records, 'record', 'records')} in "
            f"{format_count(batches, 'batch', 'batches')}, {format_bytes(metered_bytes)} metered, "
            f"{format_seconds(time.monotonic() - started)}; nothing was sent (--dry-run){left_out}"
            + (f"; would skip {skipped}" if source.skipped else "")
        )
    if isinstance(source.error, BadInputError):
        raise inputs.name_line(source.error)
    if source.error is not None:
        raise source.error
    failure = rejects.error() if rejects is not None else None
    if failure is not None:
        raise failure
    return ExitCode.OK
