"""What bench takes."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs
from s2cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    from s2cli.cli.shared_options import EncryptionKeyFile, JsonOutput, Rate, operand, option
    from s2cli.values import parse_rate, parse_seconds, parse_size_bytes


class BenchArgs(CommonArgs):
    """Measure a server: write, read live and again, and check every record.

    Examples:
      s2 bench my-basin
      s2 bench my-basin --max --record-size 1KiB --duration 10s --catchup-delay 0s
      s2 bench my-basin --streams 500 --rate 5000/s --record-size 100
      s2 bench my-basin -o json > old.json; s2 bench my-basin --compare old.json

    It makes streams named bench/…, and deletes them at the end, also after Ctrl-C.
    A stream that is named itself, s2://BASIN/STREAM, keeps what was written.

    Latency is measured for each batch. Ack: from when the batch was due by the
    plan (with --max: from when it was handed to the connection) to its
    acknowledgement. Live: from the same moment until a reader has all of it. All
    clients share one thread: a note says when that was the limit. Every record
    read is compared with what was written: order, number, every byte; a
    difference ends with 8.

    --compare ends with 5 if a throughput is lower, or a latency (p50, p99) higher
    by more than 1 ms and --tolerance.
    """

    uri: Annotated[str, operand("BASIN|URI", "BASIN, s2://BASIN, or a stream, s2://BASIN/STREAM")]
    record_size_bytes: Annotated[
        int | None,
        option(
            "-b, --record-size SIZE", "Metered size of a record, 64 B to 1 MiB [default: 8KiB]", parser=parse_size_bytes
        ),
    ] = None
    target_mibps: Annotated[
        int | None,
        option("-t, --target-mibps N", "Write so many MiB/s, all streams together [default: 1]", least=1, most=1 << 20),
    ] = None
    rate: Annotated[
        Rate | None, option("--rate RATE", "The same as 500/s (records), or 2MiB/s (metered)", parser=parse_rate)
    ] = None
    max: Annotated[bool, option("--max", "Write as fast as the server takes it")] = False
    duration_s: Annotated[
        float | None, option("-d, --duration DURATION", "How long to write [default: 60s]", parser=parse_seconds)
    ] = None
    catchup_delay_s: Annotated[
        float | None,
        option(
            "-w, --catchup-delay DURATION",
            "How long to wait before the catch-up read [default: 20s]",
            parser=parse_seconds,
        ),
    ] = None
    no_catchup: Annotated[bool, option("--no-catchup", "Leave the catch-up read out")] = False
    streams: Annotated[int, option("--streams N", "So many streams, 1 to 1000", least=1, most=1000)] = 1
    writers: Annotated[int, option("--writers N", "Append sessions for each stream", least=1, most=100)] = 1
    readers: Annotated[int, option("--readers N", "Live readers for each stream; 0 for none", least=0, most=100)] = 1
    batch_records: Annotated[
        int | None,
        option(
            "--batch N",
            "Records of one append [default: what is due in 5 ms; with --max as many as it may have]",
            least=1,
            most=1000,
        ),
    ] = None
    inflight_bytes: Annotated[
        int | None,
        option(
            "--inflight SIZE",
            "Most bytes of a writer sent but not acked [default: 4MiB on this machine, else 8MiB]",
            parser=parse_size_bytes,
        ),
    ] = None
    storage_class: Annotated[
        str | None, option("-c, --storage-class CLASS", "standard, express, or another class of the server")
    ] = None
    encryption_key_file: EncryptionKeyFile = None
    compare: Annotated[
        str | None, option("--compare FILE", "Compare with the result of an earlier bench, made by -o json")
    ] = None
    tolerance_percent: Annotated[
        int, option("--tolerance PERCENT", "How much worse --compare lets a figure be", least=0, most=1000)
    ] = 20
    plot: Annotated[
        str | None, option("--plot FILE", "Draw throughput and latency over time: FILE.svg or FILE.png")
    ] = None
    output: JsonOutput = None

    def combine(self) -> None:
        super().combine()
        rates = {"--target-mibps": self.target_mibps, "--rate": self.rate, "--max": self.max or None}
        given = [name for name, value in rates.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} name two rates: give one of them")
