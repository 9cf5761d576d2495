"""A server on a bucket beside the official one (S2_PEER names its binary) on the same S3 server: acks, bulk, memory.

    S2_PEER=/path/to/s2 bucket_beside.py [--latencies 0,10,50] [--runs 2] [--seconds 4] [--memory-mb 1000] [--json FILE]

Both servers run behind the proxy that delays each request to the bucket, and take turns under the same load, that of
our client: appends of one record by one and by 64 clients, files of lines of 100, 1000 and 100,000 bytes appended and
read back. At last each gets a stream of --memory-mb without delay. Figures are medians; "ratio" is above 1 where ours
is better. Without S2_PEER there is no peer. Takes about ten minutes.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bucket_cost import BASIN, SERVER, STREAMS, Counters, call, measure_acks, measure_lines, started
from bench.compare import write_lines

PEER = "{binary} lite --bucket {{bucket}} --path peer --port {{port}} --no-dashboard"
LINES = {100: 200_000, 1000: 50_000, 100_000: 600}
MEMORY_LINE_BYTES = 1000
HEADERS = {"content-type": "application/json", "s2-basin": BASIN}

Figures = Iterator[tuple[str, str, float]]  # name, unit, value: more is better unless the unit is ms or MiB


def memory_mib(pid: int, key: str) -> float:
    found = re.search(key + r":\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def loads(url: str, run: int, latency_ms: float, seconds: float, files: dict[int, Path]) -> Figures:
    for clients in (1, STREAMS):
        streams = [(BASIN, f"s{number}") for number in range(clients)]
        took_s, records, elapsed_s = measure_acks(url, seconds, streams, 1)
        yield f"{clients} at once, ack p50", "ms", median(took_s) * 1000
        yield f"{clients} at once, ack p99", "ms", took_s[len(took_s) * 99 // 100] * 1000
        yield f"{clients} at once", "appends/s", records / elapsed_s
    for size, file in files.items():
        stream = f"lines-{size}-{latency_ms:g}-{run}"
        call(url, "POST", "/v1/streams", {"stream": stream}, HEADERS)
        mib = size * LINES[size] / 2**20
        yield f"append of {size:,} B", "MiB/s", mib / measure_lines(url, ["append", f"s2://{BASIN}/{stream}"], file)
        words = ["read", f"s2://{BASIN}/{stream}", "--from", "0"]
        yield f"read of {size:,} B", "MiB/s", mib / measure_lines(url, words, Path(os.devnull))


def memory(url: str, pid: int, file: Path, megabytes: int) -> Figures:
    yield "memory before", "MiB", memory_mib(pid, "VmRSS")
    call(url, "POST", "/v1/streams", {"stream": "memory"}, HEADERS)
    took_s = measure_lines(url, ["append", f"s2://{BASIN}/memory"], file)
    yield f"append of {megabytes} MB", "MiB/s", megabytes * 1e6 / 2**20 / took_s
    yield f"memory after {megabytes} MB", "MiB", memory_mib(pid, "VmRSS")
    yield "most memory", "MiB", memory_mib(pid, "VmHWM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latencies", default="0,10,50", help="what the proxy adds to a request to the bucket, in ms")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load of single appends")
    parser.add_argument("--memory-mb", type=int, default=1000)
    parser.add_argument("--server", default=SERVER)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    commands = {"ours": args.server}
    if (binary := os.environ.get("S2_PEER")) is not None:
        commands["peer"] = PEER.format(binary=Path(binary).absolute())
    measured: dict[str, dict[tuple[str, str, str], list[float]]] = {name: {} for name in commands}

    def note(name: str, latency: str, figures: Figures) -> None:
        for what, unit, value in figures:
            measured[name].setdefault((latency, what, unit), []).append(value)
            print(f"{latency}  {name}  {what}: {value:,.1f} {unit}", file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        servers, urls, proxy_url = stack.enter_context(started(list(commands.values())))
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = {size: write_lines(place / str(size), size, count) for size, count in LINES.items()}
        large = write_lines(place / "memory", MEMORY_LINE_BYTES, args.memory_mb * 1_000_000 // MEMORY_LINE_BYTES)
        counters = Counters(proxy_url)
        for url in urls:
            call(url, "POST", "/v1/basins", {"basin": BASIN}, HEADERS)
            for number in range(STREAMS):
                call(url, "POST", "/v1/streams", {"stream": f"s{number}"}, HEADERS)
        for latency_ms in map(float, args.latencies.split(",")):
            counters.delay(latency_ms)
            for run in range(args.runs):
                for name, url in zip(commands, urls, strict=True):
                    note(name, f"{latency_ms:g} ms", loads(url, run, latency_ms, args.seconds, files))
        counters.delay(0)
        for name, url, server in zip(commands, urls, servers, strict=True):
            note(name, "0 ms", memory(url, server.pid, large, args.memory_mb))
    print_table(measured)
    if args.json is not None:
        rows = {name: [[*key, *values] for key, values in each.items()] for name, each in measured.items()}
        args.json.write_text(json.dumps(rows, indent=1))


def print_table(measured: dict[str, dict[tuple[str, str, str], list[float]]]) -> None:
    print(f"| latency | | {' | '.join([*measured, 'ratio', 'unit'])} |\n|--:|---{'|--:' * len(measured)}|--:|---|")
    for key in measured["ours"]:
        latency, what, unit = key
        figures = [median(each[key]) for each in measured.values()]
        ratio = ""
        if len(figures) == 2:
            ours, peer = figures if unit not in ("ms", "MiB") else reversed(figures)
            ratio = f"{ours / peer:.2f}"
        cells = [latency, what, *(f"{figure:,.1f}" for figure in figures), ratio, unit]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
