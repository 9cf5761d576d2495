"""What appends to a server on a bucket take and cost: acks, throughput, requests, and what S3 would charge for them.

    bucket_cost.py [--latencies 0,10,50,200] [--seconds 5] [--server COMMAND] [--json FILE]
    bucket_cost.py --url URL [--proxy URL]

The first starts an S3 server, before it the proxy of tests/support/s3_proxy.py, and `COMMAND` (with `{port}`, `{data}`
and `{bucket}` filled in, and the usual AWS variables). The second takes a server that runs, and the proxy between it
and its bucket; without one, nothing is counted. The server of another program must take the same requests.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

S2 = Path(sys.executable).with_name("s2")
SERVER = f"{S2} lite --bucket s3://{{bucket}}/bench --port {{port}}"
BASIN = "bucket-cost-basin"
STREAMS = 64
RECORD_BYTES = 100
BATCH_RECORDS = 100
LINES = 200_000
START_S = 60.0
MONTH_S = 30 * 24 * 3600

# In dollars, us-east-1, as of April 2025: of 1000 PUT, POST or LIST; of 1000 GET or HEAD; of a GB sent; of a GB
# received there. DELETE is free.
PRICES = {"S3 Standard": (0.005, 0.0004, 0.0, 0.0), "S3 Express": (0.00113, 0.00003, 0.0032, 0.0006)}
KINDS = ("PUT", "GET", "LIST", "DELETE")

Row = dict[str, Any]


def by_kind(counts: dict) -> dict[str, int]:
    """How many requests of `KINDS`: as on a bill, where POST is a PUT, and HEAD a GET."""
    requests = counts["requests"]
    more = {"PUT": requests.get("POST", 0), "GET": requests.get("HEAD", 0)}
    return {kind: requests.get(kind, 0) + more.get(kind, 0) for kind in KINDS}


def price(counts: dict, of: str) -> float:
    """What that costs, in dollars."""
    writes, reads, sent_gb, received_gb = PRICES[of]
    requests = by_kind(counts)
    return (
        (requests["PUT"] + requests["LIST"]) * writes / 1000
        + requests["GET"] * reads / 1000
        + sum(counts["sent_bytes"].values()) * sent_gb / 1e9
        + sum(counts["received_bytes"].values()) * received_gb / 1e9
    )


def call(url: str, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> bytes:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body).encode(), headers or {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text!r}")
        return text


class Counters:
    """What the proxy at `url` counts; nothing, without one."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def delay(self, latency_ms: float) -> None:
        if self._url is not None:
            call(self._url, "PUT", "/-/rules", {"latency_ms": latency_ms})

    def take(self) -> dict:
        """What came since the last time."""
        if self._url is None:
            return {"requests": {}, "sent_bytes": {}, "received_bytes": {}}
        return json.loads(call(self._url, "GET", "/-/counts"))


async def append(url: str, basin: str, stream: str, body: bytes, until_s: float) -> list[float]:
    """One append after the other until then. Returns how long each took, in seconds."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST /v1/streams/{stream}/records HTTP/1.1\r\nhost: {parts.netloc}\r\ns2-basin: {basin}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    took_s = []
    while (began_s := time.perf_counter()) < until_s:
        writer.write(request)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        text = await reader.readexactly(int(answer.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        if not answer.startswith(b"http/1.1 200"):
            raise SystemExit(f"append: {answer!r} {text!r}")
        took_s.append(time.perf_counter() - began_s)
    writer.close()
    return took_s


def measure_acks(
    url: str, seconds: float, streams: list[tuple[str, str]], records: int
) -> tuple[list[float], int, float]:
    """Latencies, records and seconds of a client for each of these streams (with its basin), all at once."""
    body = json.dumps({"records": [{"body": "x" * RECORD_BYTES}] * records}).encode()

    async def run() -> list[float]:
        until_s = time.perf_counter() + seconds
        each = await asyncio.gather(*(append(url, *stream, body, until_s) for stream in streams))
        return sorted(took_s for some in each for took_s in some)

    began_s = time.perf_counter()
    took_s = asyncio.run(run())
    return took_s, len(took_s) * records, time.perf_counter() - began_s


def measure_lines(url: str, words: list[str], stdin: Path) -> float:
    """The seconds that `s2` takes with these words, from that input to nowhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("S2_")}
    env = kept | {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "ignored"}
    began_s = time.perf_counter()
    with stdin.open("rb") as source:
        subprocess.run([str(S2), *words], stdin=source, stdout=subprocess.DEVNULL, env=env, check=True, stderr=-1)
    return time.perf_counter() - began_s


def rows_at(url: str, counters: Counters, latency_ms: float, seconds: float, lines: Path) -> Iterator[Row]:
    def row(load: str, records: int, took_s: float, latencies_s: list[float] | None = None) -> Row:
        counts = counters.take()
        facts: Row = {"latency_ms": latency_ms, "load": load, "records": records, "seconds": took_s}
        if latencies_s:
            facts["p50_ms"] = latencies_s[len(latencies_s) // 2] * 1000
            facts["p99_ms"] = latencies_s[len(latencies_s) * 99 // 100] * 1000
        return facts | counts | {of: price(counts, of) for of in PRICES}

    counters.delay(latency_ms)
    counters.take()
    for load, streams, records in (
        ("1 client, 1 record", 1, 1),
        (f"{STREAMS} clients, 1 record", STREAMS, 1),
        (f"{STREAMS} clients, {BATCH_RECORDS} records", STREAMS, BATCH_RECORDS),
    ):
        took_s, appended, elapsed_s = measure_acks(
            url, seconds, [(BASIN, f"s{number}") for number in range(streams)], records
        )
        yield row(load, appended, elapsed_s, took_s)
    yield row("append of lines", LINES, measure_lines(url, ["append", f"s2://{BASIN}/lines-{latency_ms:g}"], lines))
    words = ["read", f"s2://{BASIN}/lines-{latency_ms:g}", "--from", "0"]
    yield row("read of lines", LINES, measure_lines(url, words, Path(os.devnull)))
    counters.take()
    time.sleep(seconds)
    yield row("idle", 0, seconds)


def print_table(rows: list[Row]) -> None:
    columns = ["latency", "load", "ack p50 / p99 ms", "records/s", "MiB/s", *KINDS, *PRICES]
    print(f"| {' | '.join(columns)} |\n|--:|---{'|--:' * (len(columns) - 2)}|")
    for row in rows:
        records, seconds = row["records"], row["seconds"]
        cells = [f"{row['latency_ms']:g} ms", row["load"]]
        cells.append(f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}" if "p50_ms" in row else "")
        cells.append(f"{records / seconds:,.0f}" if records else "")
        cells.append(f"{records * RECORD_BYTES / seconds / 2**20:.1f}" if records else "")
        # Of a million records; of a month with nothing to do.
        factor = 1_000_000 / records if records else MONTH_S / seconds
        cells += [f"{count * factor:,.0f}" for count in by_kind(row).values()]
        cells += [f"${row[of] * factor:,.2f}" for of in PRICES]
        print(f"| {' | '.join(cells)} |")
    print("\nRequests and dollars are of a million records; in rows `idle`, of a month of 30 days. Storage is extra.")


@contextlib.contextmanager
def started(commands: list[str]) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[str], str]]:
    """An S3 server, the proxy, and a server of each command. Gives these, their URLs, and the URL of the proxy."""
    from support.ports import choose_port
    from support.s3_server import BUCKET, S3Server, environment

    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        s3 = stack.enter_context(contextlib.closing(S3Server(place / "s3")))
        s3.start()
        proxy = subprocess.Popen([sys.executable, str(TESTS / "support/s3_proxy.py"), s3.url], stdin=-1, stdout=-1)
        stack.callback(proxy.kill)
        assert proxy.stdout is not None
        proxy_url = proxy.stdout.readline().decode().strip()
        servers, urls = [], []
        for number, command in enumerate(commands):
            port, holder = choose_port()
            if holder is not None:
                stack.enter_context(holder)
            words = shlex.split(command.format(port=port, data=place / f"data-{number}", bucket=BUCKET))
            env = os.environ | environment(proxy_url) | {"HOME": str(place)}
            log = stack.enter_context(open(place / f"server-{number}.log", "w+"))
            servers.append(subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
            stack.callback(servers[-1].wait)
            stack.callback(servers[-1].kill)
            urls.append(f"http://127.0.0.1:{port}")
            deadline_s = time.monotonic() + START_S
            while True:
                with contextlib.suppress(OSError):
                    call(urls[-1], "GET", "/health")
                    break
                if servers[-1].poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(Path(log.name).read_text())
                time.sleep(0.05)
        yield servers, urls, proxy_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latencies", default="0,10,50,200", help="what the proxy adds to a request, in ms")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--server", default=SERVER)
    parser.add_argument("--url", help="of a server that runs")
    parser.add_argument("--proxy", help="the URL of the proxy between it and its bucket")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url, proxy_url = args.url, args.proxy
        if url is None:
            _, (url,), proxy_url = stack.enter_context(started([args.server]))
        lines = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "lines"
        lines.write_bytes((b"x" * (RECORD_BYTES - 1) + b"y\n") * LINES)
        counters = Counters(proxy_url)
        latencies = [float(latency) for latency in args.latencies.split(",")]
        json_type = {"content-type": "application/json"}
        call(url, "POST", "/v1/basins", {"basin": BASIN}, json_type)
        for name in [f"s{number}" for number in range(STREAMS)] + [f"lines-{latency:g}" for latency in latencies]:
            call(url, "POST", "/v1/streams", {"stream": name}, json_type | {"s2-basin": BASIN})
        rows = [row for latency in latencies for row in rows_at(url, counters, latency, args.seconds, lines)]
    print_table(rows)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
