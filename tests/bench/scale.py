"""What many basins, many streams and many records cost: figures at each size, which should stay flat.

    scale.py [--basins 1000] [--streams 100000] [--records 10000000] [--small-streams 10000]

Control plane: medians of 200 of each call while a basin grows, the start of the server, and how soon `s2 streams list`
prints. Data plane: one stream of many records beside many small ones; opening, check-tail, and reads from the middle,
by timestamp and by tail offset.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

S2 = os.environ.get("S2") or str(Path(sys.executable).with_name("s2"))
BASIN = "scale-basin"
JSON = {"content-type": "application/json", "s2-basin": BASIN}


class Server:
    """`s2 lite` on a free port; close() ends it."""

    def __init__(self, data: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("S2_")} | {"HOME": str(data)}
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [S2, "lite", "--data", str(data), "--port", "0"], env=kept, stdout=-1, stderr=-1
        )
        assert self.process.stdout
        found = re.search(rb"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        if not found:
            raise SystemExit("the server did not start")
        self.port = int(found[1])
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.call("GET", "/health")
        self.start_ms = (time.perf_counter() - start) * 1000
        url = f"http://127.0.0.1:{self.port}"
        self.env = kept | {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}

    def call(self, method: str, path: str, body: object = None, connection: HTTPConnection | None = None) -> bytes:
        connection = connection or self.connection
        connection.request(method, path, None if body is None else json.dumps(body), JSON)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text!r}")
        return text

    def memory_mib(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextlib.contextmanager
def server_on(data: Path) -> Iterator[Server]:
    server = Server(data)
    try:
        yield server
    finally:
        server.close()


def median_ms(call: Callable[[int], object], count: int = 200) -> float:
    seconds = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - start)
    return median(seconds) * 1000


def in_parallel(
    server: Server, job: Callable[[int, HTTPConnection], object], numbers: range, threads: int = 16
) -> None:
    def work(mine: range) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        for number in mine:
            job(number, connection)

    running = [threading.Thread(target=work, args=(numbers[at::threads],)) for at in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def control_plane(basins: int, streams: int) -> None:
    print("| basins | streams | create | get | first page | middle page | start | memory | list begins | list ends |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        data, made, size = Path(work), 0, max(1, streams // 100)
        with server_on(data) as server:
            in_parallel(
                server, lambda n, c: server.call("POST", "/v1/basins", {"basin": f"many-basins-{n}"}, c), range(basins)
            )
            server.call("POST", "/v1/basins", {"basin": BASIN})
        while size <= streams:
            with server_on(data) as server:
                numbers = range(made, size)
                in_parallel(server, lambda n, c: server.call("POST", "/v1/streams", {"stream": f"s{n:07}"}, c), numbers)
                made = size
            with server_on(data) as server:
                print(f"| {basins} | {size} | {measure_control(server, size)} |", flush=True)
            size *= 10


def measure_control(server: Server, size: int) -> str:
    chance, middle = random.Random(size), f"/v1/streams?start_after=s{size // 2:07}"
    create_ms = median_ms(lambda n: server.call("POST", "/v1/streams", {"stream": f"x{size}-{n}"}))
    get_ms = median_ms(lambda _: server.call("GET", f"/v1/streams/s{chance.randrange(size):07}"))
    first_ms = median_ms(lambda _: server.call("GET", "/v1/streams"), 20)
    middle_ms = median_ms(lambda _: server.call("GET", middle), 20)
    begins_ms, ends_ms = list_ms(server)
    return (
        f"{create_ms:.2f} ms | {get_ms:.2f} ms | {first_ms:.1f} ms | {middle_ms:.1f} ms | {server.start_ms:.0f} ms"
        f" | {server.memory_mib():.0f} MiB | {begins_ms:.0f} ms | {ends_ms:.0f} ms"
    )


def list_ms(server: Server) -> tuple[float, float]:
    """When `s2 streams list` prints its first bytes, and when it ends."""
    start = time.perf_counter()
    with subprocess.Popen([S2, "streams", "list", BASIN, "-o", "name"], env=server.env, stdout=-1) as process:
        assert process.stdout
        os.read(process.stdout.fileno(), 1)
        begins_s = time.perf_counter() - start
        while os.read(process.stdout.fileno(), 1 << 20):
            pass
    return begins_s * 1000, (time.perf_counter() - start) * 1000


def data_plane(records: int, small_streams: int) -> None:
    print("| records | small streams | first tail | tail | middle | timestamp | tail offset | memory |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="scale-") as work:
        data, made, size = Path(work), 0, max(1000, records // 100)
        with server_on(data) as server:
            server.call("POST", "/v1/basins", {"basin": BASIN, "config": {"create_stream_on_append": True}})
            body = {"records": [{"body": f"record {number}"} for number in range(100)]}
            in_parallel(
                server,
                lambda n, c: server.call("POST", f"/v1/streams/small-{n}/records", body, c),
                range(small_streams),
            )
        while size <= records:
            with server_on(data) as server:
                lines = "".join(f"line {number}\n" for number in range(made, size)).encode()
                subprocess.run([S2, "append", "-q", f"s2://{BASIN}/large"], input=lines, env=server.env, check=True)
                made = size
            with server_on(data) as server:
                print(f"| {size} | {small_streams} | {measure_data(server, size)} |", flush=True)
            size *= 10


def measure_data(server: Server, size: int) -> str:
    start = time.perf_counter()
    server.call("GET", "/v1/streams/large/records/tail")
    opened_ms = (time.perf_counter() - start) * 1000
    tail_ms = median_ms(lambda _: server.call("GET", "/v1/streams/large/records/tail"))
    chance, path = random.Random(size), "/v1/streams/large/records?count=100"
    middle_ms = median_ms(lambda _: server.call("GET", f"{path}&seq_num={chance.randrange(size - 100)}"))
    first = json.loads(server.call("GET", f"{path}&seq_num={size // 2}"))["records"][0]["timestamp"]
    timestamp_ms = median_ms(lambda _: server.call("GET", f"{path}&timestamp={first}"))
    offset_ms = median_ms(lambda _: server.call("GET", f"{path}&tail_offset={chance.randrange(100, 1000)}"))
    return (
        f"{opened_ms:.2f} ms | {tail_ms:.2f} ms | {middle_ms:.2f} ms | {timestamp_ms:.2f} ms | {offset_ms:.2f} ms"
        f" | {server.memory_mib():.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in ("basins", 1000), ("streams", 100_000), ("records", 10_000_000), ("small-streams", 10_000):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"({value})")
    args = parser.parse_args()
    control_plane(args.basins, args.streams)
    data_plane(args.records, args.small_streams)


if __name__ == "__main__":
    main()
