"""How fast `s2 lite backup` copies the data of a running server, and what small appends beside it take:
`backup_beside_appends.py --mib 1024 --clients 4 --runs 3`.

The clients append 100 bytes at a time, each to a stream of its own; "alone" is the same without a backup. The rate is
that of the whole command, with its checksums and syncs. "log" is the largest write-ahead log that was seen.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from check_data import MIB, S2, fill, serve, stop


class Client(threading.Thread):
    """Appends, one after the other, and how long each took."""

    def __init__(self, port: int, stream: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._path = f"/v1/streams/{stream}/records"
        self.took_s: list[float] = []
        self.ended = False

    def run(self) -> None:
        body = json.dumps({"records": [{"body": "x" * 100}]})
        headers = {"s2-basin": "bench-basin", "content-type": "application/json"}
        while not self.ended:
            begun_s = time.perf_counter()
            self._connection.request("POST", self._path, body, headers)
            answer = self._connection.getresponse()
            answer.read()
            assert answer.status == 200
            self.took_s.append(time.perf_counter() - begun_s)


class Log(threading.Thread):
    """How large the write-ahead log gets."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self.most_bytes = 0
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            self.most_bytes = max(self.most_bytes, self._path.stat().st_size)
            time.sleep(0.01)


def beside(port: int, clients: int, work) -> tuple[float, list[float]]:
    threads = [Client(port, f"small-{number}") for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before = [len(thread.took_s) for thread in threads]
    begun_s = time.perf_counter()
    work()
    took_s = time.perf_counter() - begun_s
    latencies = [value for thread, count in zip(threads, before, strict=True) for value in thread.took_s[count:]]
    for thread in threads:
        thread.ended = True
        thread.join()
    return took_s, sorted(latencies)


def show(what: str, latencies: list[float], more: str = "") -> float:
    p99_s = latencies[int(len(latencies) * 0.99)]
    print(
        f"{what:<8} {len(latencies):7} appends  p50 {statistics.median(latencies) * 1000:6.2f} ms"
        f"  p99 {p99_s * 1000:7.2f} ms  most {latencies[-1] * 1000:7.1f} ms{more}",
        flush=True,
    )
    return p99_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--body-bytes", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "data"
        server, env = serve(directory)
        try:
            fill(env, options.mib, options.body_bytes)
            port = int(env["S2_ACCOUNT_ENDPOINT"].rpartition(":")[2])
            for number in range(options.clients):
                subprocess.run(
                    [*S2, "create", f"s2://bench-basin/small-{number}"], env=env, check=True, capture_output=True
                )
            os.sync()
            log = Log(directory / "s2.db-wal")
            log.start()
            for number in range(options.runs):
                _, alone = beside(port, options.clients, lambda: time.sleep(5))
                p99_s = show("alone", alone)
                command = [*S2, "lite", "backup", "-q", "--data", directory, Path(place) / f"backup-{number}"]
                took_s, latencies = beside(port, options.clients, partial(subprocess.run, command, check=True))
                size_mib = (Path(place) / f"backup-{number}" / "s2.db").stat().st_size / MIB
                rate = f"  {size_mib:.0f} MiB in {took_s:.2f} s, {size_mib / took_s:.0f} MiB/s"
                slower = show("backup", latencies, rate) / p99_s
                print(f"         p99 {slower:.1f} times that alone; log {log.most_bytes / MIB:.1f} MiB", flush=True)
                os.sync()
            log.ended = True
            log.join()
        finally:
            stop(server)


if __name__ == "__main__":
    main()
