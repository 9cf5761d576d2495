"""A large stream on a bucket: how fast it is appended and with how much memory, how soon a server that was killed takes
it up again, and how long a read from the middle takes.

    bucket_bulk.py [--gib 10] [--line-bytes 1000] [--latencies 0,50] [--server COMMAND]

The S3 server keeps its data in TMPDIR: up to five times as much as the stream has. Each latency is what a proxy adds to
a request to the bucket while the server starts and reads; the appends go without.
"""

import argparse
import contextlib
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bucket_beside import HEADERS, memory_mib
from bench.bucket_cost import BASIN, S2, SERVER, TESTS, Counters, call
from support.ports import choose_port
from support.s3_server import BUCKET, S3Server, environment

STREAM = "bulk"
PIECE_LINES = 10_000
PACE_S = 0.25
START_S = 60.0


class Node:
    """A server on the bucket, always on the same port."""

    def __init__(self, command: str, place: Path, proxy_url: str, port: int) -> None:
        self._words = shlex.split(command.format(port=port, data=place / "data", bucket=BUCKET))
        self._env = os.environ | environment(proxy_url) | {"HOME": str(place)}
        self._log = place / "server.log"
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self._words, env=self._env, stdin=-3, stdout=log, stderr=log)

    def answers(self, method: str, path: str, body: object = None) -> dict:
        """The answer, as soon as there is one."""
        deadline_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return json.loads(call(self.url, method, path, body, HEADERS))
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(self._log.read_text())
            time.sleep(0.005)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def resident_mib(pid: int) -> float:
    """What a process has of memory now, and shares with nobody."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) / 1024


def append(node: Node, gib: float, line_bytes: int) -> None:
    piece = b"".join(os.urandom(line_bytes // 2).hex().encode()[: line_bytes - 1] + b"\n" for _ in range(PIECE_LINES))
    count = round(gib * 2**30 / len(piece))
    private, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(PACE_S):
            private.append(resident_mib(node.process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = time.monotonic()
    words = [str(S2), "append", f"s2://{BASIN}/{STREAM}"]
    env = os.environ | {"S2_ACCOUNT_ENDPOINT": node.url, "S2_BASIN_ENDPOINT": node.url, "S2_ACCESS_TOKEN": "ignored"}
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        for number in range(count):
            client.stdin.write(piece)
            if number % max(1, count // 20) == 0:
                mib = number * len(piece) / 2**20
                print(f"{mib:,.0f} MiB in {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
        client.stdin.close()
        assert client.wait() == 0
    took_s = time.monotonic() - began_s
    done.set()
    watcher.join()
    mib = count * len(piece) / 2**20
    pid = node.process.pid
    print(f"appended {mib:,.0f} MiB, {count * PIECE_LINES:,} records: {mib / took_s:.1f} MiB/s")
    print(
        f"memory of the server: {memory_mib(pid, 'VmHWM'):.0f} MiB at most (VmHWM), of it private {max(private):.0f};"
        f" {memory_mib(pid, 'VmRSS'):.0f} at the end",
        flush=True,
    )


def take_up(node: Node, latency_ms: float) -> None:
    """Start the server anew, append one record, read some from the middle."""
    node.kill()
    began_s = time.monotonic()
    node.start()
    record = {"records": [{"body": "x" * 100}]}
    ack = node.answers("POST", f"/v1/streams/{STREAM}/records", record)
    started_s = time.monotonic() - began_s
    middle = ack["tail"]["seq_num"] // 2
    path = f"/v1/streams/{STREAM}/records?seq_num={middle}&count=1000"
    took_s = []
    for _ in range(2):
        began_s = time.monotonic()
        batch = node.answers("GET", path)
        took_s.append(time.monotonic() - began_s)
        assert [record["seq_num"] for record in batch["records"]] == list(range(middle, middle + len(batch["records"])))
    print(
        f"{latency_ms:g} ms a request: first ack {started_s:.2f} s after the start of the server;"
        f" {len(batch['records'])} records from the middle in {took_s[0]:.3f} s, again in {took_s[1]:.3f} s;"
        f" memory {memory_mib(node.process.pid, 'VmHWM'):.0f} MiB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=10.0)
    parser.add_argument("--line-bytes", type=int, default=1000)
    parser.add_argument("--latencies", default="0,50")
    parser.add_argument("--server", default=SERVER)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        s3 = stack.enter_context(contextlib.closing(S3Server(place / "s3")))
        s3.start()
        proxy = subprocess.Popen([sys.executable, str(TESTS / "support/s3_proxy.py"), s3.url], stdin=-1, stdout=-1)
        stack.callback(proxy.kill)
        assert proxy.stdout is not None
        proxy_url = proxy.stdout.readline().decode().strip()
        port, holder = choose_port()
        if holder is not None:
            stack.enter_context(holder)
        node = Node(args.server, place, proxy_url, port)
        node.start()
        stack.callback(node.kill)
        node.answers("POST", "/v1/basins", {"basin": BASIN})
        node.answers("POST", "/v1/streams", {"stream": STREAM})
        append(node, args.gib, args.line_bytes)
        stored = sum(file.stat().st_size for file in (place / "s3").rglob("*") if file.is_file())
        print(f"the S3 server has {stored / 2**20:,.0f} MiB on its disk", flush=True)
        for latency_ms in map(float, args.latencies.split(",")):
            Counters(proxy_url).delay(latency_ms)
            take_up(node, latency_ms)


if __name__ == "__main__":
    main()
