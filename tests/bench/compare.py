#!/usr/bin/env python3
"""Measure how fast `s2` and its server are, beside the official tool where S2_PEER names its binary.

    compare.py                          every row, ours alone, or ours and the peer with the ratio of each figure
    S2_PEER=/path/to/s2 compare.py --rows a,b16,d --runs 5 --json

Ours is the `s2` beside this Python, or the one that S2 names. The two take turns in one run. Rows:

    a                         start-up, medians of 15: --version, --help, list basins (one request), append one line
    b16 b100 b1000 b100000    append a file of lines of that many bytes, read it back to a file, compare the two
    c    acknowledgement of 500 single 100-byte appends in turn: JSON requests; one S2S session over HTTP/1.1
    d    one-record JSON appends on 64 connections for 5 s, to 1 and to 64 streams (by wrk, without it by asyncio)
    h    the same with a new stream in each request: POST, PUT, appends that create; appends to 1000 new streams
    o16 o100 o1000 o100000    as b, but by the official client over h2c, to our server and to its own; from 1000 bytes
         on also with the client on one core
    p    the official Python SDK, to our server and to its own
    e    from a line written to append's stdin to the same line on a follower's stdout
    f    server memory after start and after 1 GB of 1000-byte records
    g    single small appends to one stream while a bulk append to another one runs, and what that costs the bulk

Each row has its own server with empty data, in TMPDIR (3 GB). Figures are medians of --runs; "spread" is (highest -
lowest) / median; "ratio" is above 1 where ours is better. Compare figures of one run only. Rows o need S2_PEER. All
talk is with 127.0.0.1, but the official server listens on all interfaces. --lock FILE is for machines where several
measure.
"""

import argparse
import asyncio
import base64
import contextlib
import copy
import fcntl
import filecmp
import itertools
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

OFFICIAL = {
    "server": "lite --local-root {data} --port {port}",
    "version": "--version",
    "help": "--help",
    "list basins": "list-basins",
    "append": "append s2://{stream}",
    "follow": "tail -f -n 0 s2://{stream}",
    "read": "read s2://{stream} --seq-num 0 --count {count} --format text",
}
OURS = {
    "server": "lite --data {data} --port {port}",
    "version": "--version",
    "help": "--help",
    "list basins": "basins list",
    "append": "append --create s2://{stream}",
    "follow": "read --follow s2://{stream} --from end",
    "read": "read s2://{stream} --from 0",
}
CONTENDERS = {"ours": OURS, "peer": OFFICIAL}
LINES = {16: 2_000_000, 100: 1_500_000, 1000: 400_000, 100_000: 5_000}  # 5 to 9 s for the official append
BASIN, NOTHING = "speed-basin", Path(os.devnull)
PATHS = [f"/v1/streams/s{n}/records" for n in range(64)]
HEADERS = {"s2-basin": BASIN, "content-type": "application/json"}
JSON_BODY = json.dumps({"records": [{"body": "x" * 100}]})
# An S2S frame (3 bytes of length, 1 of flags) around AppendInput{records: [AppendRecord{body: 100 bytes}]}.
FRAME = b"\0\0\x69\0" + b"\x0a\x66" + b"\x1a\x64" + b"x" * 100
Figures = Iterator[tuple[str, str, float]]  # name, unit, value


class Server:
    """A contender's server on a free port, with empty data; close() ends it and its children."""

    def __init__(self, commands: dict[str, str], binary: str, work: Path) -> None:
        self.commands, self.binary, self.work, self.data = commands, binary, work, work / "data"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        endpoint = f"http://127.0.0.1:{self.port}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("S2_")} | {
            "HOME": str(work),
            "S2_ACCESS_TOKEN": "test",
            "S2_NO_UPDATE_CHECK": "1",
            "S2_ACCOUNT_ENDPOINT": endpoint,
            "S2_BASIN_ENDPOINT": endpoint,
        }
        self.data.mkdir()
        with open(work / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command("server"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )

    def close(self) -> None:
        for number in signal.SIGTERM, signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, number)  # a session of its own, so nobody else is in the group
                self.process.wait(15)

    def with_official_client(self) -> "Server":
        other = copy.copy(self)
        other.commands, other.binary = OFFICIAL, os.path.abspath(os.environ["S2_PEER"])
        return other

    def command(self, name: str, count: int = 0) -> list[str]:
        fields = {"data": self.data, "port": self.port, "stream": f"{BASIN}/s0", "count": count}
        return [self.binary, *(word.format(**fields) for word in self.commands[name].split())]

    def create_streams(self) -> None:
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                control = HTTPConnection("127.0.0.1", self.port)
                post(control, "/v1/basins", json.dumps({"basin": BASIN}))
                for path in PATHS:
                    post(control, "/v1/streams", json.dumps({"stream": path.split("/")[3]}))
                return
        raise RuntimeError("the server did not start")

    def run(
        self, name: str, stdin=NOTHING, stdout=NOTHING, count: int = 0, cpu: int | None = None
    ) -> tuple[float, float, float]:
        """Run a client command to its end, maybe on one core; return wall seconds, CPU seconds and peak MiB."""
        with open(stdin, "rb") as source, open(stdout, "wb") as target, open(self.work / "log", "ab") as log:
            start, peak_mib = time.perf_counter(), 0.0
            client = subprocess.Popen(
                [*([] if cpu is None else ["taskset", "-c", str(cpu)]), *self.command(name, count)],
                stdin=source,
                stdout=target,
                stderr=log,
                env=self.env,
            )
        with open(os.pidfd_open(client.pid)) as end:
            while not select.select([end], [], [], 0.02)[0]:  # not ru_maxrss, which starts at this script's own size
                peak_mib = self.memory_mib("VmHWM", client.pid) or peak_mib
            wall_s = time.perf_counter() - start
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        if client.returncode:
            raise RuntimeError(f"{name} ended with {client.returncode}")
        return wall_s, usage.ru_utime + usage.ru_stime, peak_mib

    def pids(self) -> list[str]:  # of the server and its children: its session
        return subprocess.run(["pgrep", "-s", str(self.process.pid)], capture_output=True, text=True).stdout.split()

    def cpu_s(self) -> float:
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, key: str, pid: int | None = None) -> float:
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in ([pid] if pid else self.pids())]
        return sum(map(int, re.findall(key + r":\s+(\d+)", "".join(texts)))) / 1024


def post(connection: HTTPConnection, path: str, body: str) -> None:
    connection.request("POST", path, body, HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"POST {path}: {answer.status} {text!r}")


def latencies(name: str, count: int, function: Callable[[], None], pause_s: float = 0) -> Figures:
    seconds = []
    for _ in range(count):
        time.sleep(random.uniform(0, pause_s))  # lest a timer of the server keep step with us
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    yield f"{name} p50", "ms", median(seconds) * 1000
    yield f"{name} p99", "ms", quantiles(seconds, n=100)[98] * 1000


def write_lines(path: Path, size: int, count: int) -> Path:
    """Lines of printable noise, the same in every run, on the disk before anything is timed."""
    noise = base64.b64encode(random.Random(size).randbytes(3 << 18))
    lines = [noise[at : at + size] + b"\n" for at in range(0, len(noise) - size + 1, size)]
    with open(path, "wb") as file:
        file.writelines(itertools.islice(itertools.cycle(lines), count))
        os.fsync(file.fileno())
    return path


def start_up(server: Server) -> Figures:
    one = write_lines(server.work / "input", 16, 1)
    for name in "version", "help", "list basins", "append":
        yield name, "ms", median([server.run(name, one)[0] for _ in range(16)][1:]) * 1000


def throughput(size: int, server: Server) -> Figures:
    count = LINES[size]
    source, target = write_lines(server.work / "input", size, count), server.work / "output"
    for name, stdin, stdout in ("append", source, NOTHING), ("read", NOTHING, target):
        before_s, (wall_s, client_s, client_mib) = server.cpu_s(), server.run(name, stdin, stdout, count)
        server_s, server_mib = server.cpu_s() - before_s, server.memory_mib("VmHWM")
        if name == "read" and not filecmp.cmp(source, target, shallow=False):
            raise RuntimeError("what was read is not what was appended")
        yield f"{name} rate", "records/s", count / wall_s
        yield f"{name} bytes", "MiB/s", count * size / wall_s / 2**20
        yield f"{name} client CPU", "s", client_s
        yield f"{name} server CPU", "s", server_s
        yield f"{name} client peak memory", "MiB", client_mib
        yield f"{name} server peak memory", "MiB", server_mib


def official_client(size: int, server: Server) -> Figures:
    count, client = LINES[size] // 2, server.with_official_client()
    source, target = write_lines(server.work / "input", size, count), server.work / "output"
    for name, stdin, stdout in ("append", source, NOTHING), ("read", NOTHING, target):
        for cpu in [None, 0] if size >= 1000 else [None]:
            figure = name if cpu is None else f"{name}, client on one core"
            before_s, (wall_s, _, _) = server.cpu_s(), client.run(name, stdin, stdout, count, cpu)
            yield figure, "records/s", count / wall_s
            yield f"{figure}, server CPU", "s", server.cpu_s() - before_s
    if not filecmp.cmp(source, target, shallow=False):
        raise RuntimeError("what was read is not what was appended")


def python_sdk(server: Server) -> Figures:
    words = [sys.executable, Path(__file__).with_name("sdk_load.py"), str(server.port), BASIN, "s0", "s1"]
    yield from json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def ack_latency(server: Server) -> Figures:
    def append_frame() -> None:
        connection.sock.sendall(b"%x\r\n%b\r\n" % (len(FRAME), FRAME))
        ack = b""
        while len(ack) < 4 or len(ack) < 3 + int.from_bytes(ack[:3]):
            ack += (data := answer.read1())
            if not data or ack[3:4] >= b"\x80":
                raise RuntimeError(f"the session ended: {answer.status} {ack!r}")

    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield from latencies("JSON", 500, lambda: post(connection, PATHS[0], JSON_BODY))
    connection.request("POST", PATHS[0], b"", HEADERS | {"content-type": "s2s/proto", "transfer-encoding": "chunked"})
    answer = connection.getresponse()
    yield from latencies("S2S session", 500, append_frame)


class Load(NamedTuple):
    """Requests for 5 s over 64 connections. `#` in the path and the body is their number, which begins again after
    `numbers` of them."""

    method: str
    path: str
    body: str
    numbers: int = 10**9
    basin: str = BASIN

    def run(self, server: Server, name: str) -> Figures:
        before_s = server.cpu_s()
        count, p99_s = self.by_wrk(server) if shutil.which("wrk") else asyncio.run(self.by_asyncio(server))
        yield name, "requests/s", count / 5
        yield f"{name}, p99", "ms", p99_s * 1000
        yield f"{name}, server CPU a request", "us", (server.cpu_s() - before_s) / count * 1e6

    def by_wrk(self, server: Server) -> tuple[float, float]:
        (script := server.work / "wrk.lua").write_text(
            f"""
            local n, texts = 0, {{}}
            local headers = {{["s2-basin"] = "{self.basin}", ["content-type"] = "application/json"}}
            local function text(n) return wrk.format("{self.method}",
                (string.gsub('{self.path}', "#", n)), headers, (string.gsub('{self.body}', "#", n))) end
            function init() if {self.numbers} <= 1000 then
                for n = 0, {self.numbers} - 1 do texts[n] = text(n) end end end
            function request() n = (n + 1) % {self.numbers}; return texts[n] or text(n) end
            function done(all, latency) local e = all.errors; print("figures", all.requests * 5e6 / all.duration,
                latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout) end
            """
        )
        command = ["wrk", "-t1", "-c64", "-d5s", "-s", str(script), f"http://127.0.0.1:{server.port}"]
        output = subprocess.run(command, capture_output=True, text=True).stdout
        if not (found := re.search(r"figures\s+([\d.]+)\s+([\d.]+)\s+0\n", output)):
            raise RuntimeError("wrk saw errors: " + " ".join(output.split()))
        return float(found[1]), float(found[2]) / 1e6

    async def by_asyncio(self, server: Server) -> tuple[float, float]:
        seconds, end = [], time.perf_counter() + 5
        numbers = itertools.count()
        headers = HEADERS | {"s2-basin": self.basin, "host": "s2"}
        head = "\r\n".join(f"{name}: {value}" for name, value in headers.items())

        async def keep_asking() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            while (start := time.perf_counter()) < end:
                number = str(next(numbers) % self.numbers)
                path, body = self.path.replace("#", number), self.body.replace("#", number)
                writer.write(
                    f"{self.method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
                )
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                if not answer.startswith(b"http/1.1 20"):
                    raise RuntimeError(f"the server answered {answer!r}")
                await reader.readexactly(int(answer.partition(b"content-length:")[2].split()[0]))
                seconds.append(time.perf_counter() - start)

        await asyncio.gather(*(keep_asking() for _ in range(64)))
        return len(seconds), quantiles(seconds, n=100)[98]


def requests(server: Server) -> Figures:
    for streams in 1, 64:
        yield from Load("POST", "/v1/streams/s#/records", JSON_BODY, streams).run(server, f"{streams} streams")


CREATING = f"{BASIN}-creating"


def creations(server: Server) -> Figures:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    post(connection, "/v1/basins", json.dumps({"basin": CREATING, "config": {"create_stream_on_append": True}}))
    yield from Load("POST", "/v1/streams", '{"stream":"posted-#"}', basin=CREATING).run(server, "POST")
    yield from Load("PUT", "/v1/streams/put-#", "{}", basin=CREATING).run(server, "PUT")
    append = Load("POST", "/v1/streams/appended-#/records", JSON_BODY, basin=CREATING)
    yield from append.run(server, "append that creates")
    yield from append._replace(path="/v1/streams/one-of-#/records", numbers=1000).run(server, "1000 streams")


def pipe_latency(server: Server) -> Figures:
    def pass_line() -> None:
        writer.stdin.write(b"a short line\n")
        if not select.select([follower.stdout], [], [], 10)[0] or follower.stdout.read(65536) != b"a short line\n":
            raise RuntimeError("the line did not come out of the follower, alone and within 10 s")

    start = partial(subprocess.Popen, env=server.env, stderr=subprocess.DEVNULL, bufsize=0)
    with (
        start(server.command("follow"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as follower,
        start(server.command("append"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as writer,
    ):
        try:
            time.sleep(2)  # the follower must stand at the tail before the first line comes
            pass_line()
            yield from latencies("line to line", 300, pass_line, pause_s=0.01)
        finally:
            writer.kill()
            follower.kill()


def beside_bulk(server: Server) -> Figures:
    """Small appends to s1 while a bulk append to s0 runs, and the bulk's own rate with and without them."""
    count = 1_500_000
    source = write_lines(server.work / "input", 100, count)
    alone_s = server.run("append", source)[0]
    connection, seconds = HTTPConnection("127.0.0.1", server.port, timeout=30), []
    with open(source, "rb") as lines, open(server.work / "log", "ab") as log:
        start = time.perf_counter()
        bulk = subprocess.Popen(server.command("append"), stdin=lines, stdout=log, stderr=log, env=server.env)
        while bulk.poll() is None:
            before = time.perf_counter()
            post(connection, PATHS[1], JSON_BODY)
            seconds.append(time.perf_counter() - before)
            time.sleep(0.002)
        both_s = time.perf_counter() - start
    if bulk.returncode:
        raise RuntimeError(f"the bulk append ended with {bulk.returncode}")
    yield "small append beside a bulk one p50", "ms", median(seconds) * 1000
    yield "small append beside a bulk one p99", "ms", quantiles(seconds, n=100)[98] * 1000
    yield "bulk rate alone", "records/s", count / alone_s
    yield "bulk rate beside small appends", "records/s", count / both_s


def memory(server: Server) -> Figures:
    source = write_lines(server.work / "input", 1000, 1_000_000)
    yield "server idle", "MiB", server.memory_mib("VmRSS")
    server.run("append", source)
    yield "server after 1 GB", "MiB", server.memory_mib("VmRSS")


ROWS = {
    "a": start_up,
    **{f"b{size}": partial(throughput, size) for size in LINES},
    "c": ack_latency,
    "d": requests,
    "h": creations,
    **{f"o{size}": partial(official_client, size) for size in LINES},
    "p": python_sdk,
    "e": pipe_latency,
    "f": memory,
    "g": beside_bulk,
}


def print_table(samples: dict[tuple[str, str, str], dict[str, list[float]]], contenders: list[str]) -> None:
    heads = ["row", "figure", "unit", *(head for name in contenders for head in (name, "spread")), "ratio"]
    print("|", " | ".join(heads), "|\n|---|---|---|" + "--:|" * len(heads[3:]))
    for (row, figure, unit), values in samples.items():
        cells, middles = [row, figure, unit], [median(values.get(name, [0])) for name in contenders]
        for name, middle in zip(contenders, middles, strict=True):
            spread = (max(values[name]) - min(values[name])) / middle if middle else 0
            cells += [f"{middle:,.{0 if middle >= 1000 else 2}f}", f"{spread:.0%}"] if middle else ["", ""]
        better, worse = middles[:: 1 if unit.endswith("/s") else -1] if len(middles) == 2 else (0, 0)
        print("|", " | ".join([*cells, f"{better / worse:.2f}" if better and worse else ""]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="beginnings of row names, with commas (all)")
    parser.add_argument("--runs", type=int, default=3, help="how often to measure every row (3)")
    parser.add_argument("--json", action="store_true", help="print lists of row, figure, unit, samples")
    parser.add_argument("--lock", default=os.devnull, metavar="FILE", help="hold a flock on this file during each row")
    args = parser.parse_args()
    rows = [row for row in ROWS if row.startswith(tuple(args.rows.split(",")))]
    if not os.environ.get("S2_PEER"):
        rows = [row for row in rows if not row.startswith("o")]
    ours = os.environ.get("S2") or str(Path(sys.executable).with_name("s2"))
    binaries = {"ours": ours} | ({"peer": peer} if (peer := os.environ.get("S2_PEER")) else {})
    if not rows or not all(map(shutil.which, binaries.values())):
        parser.error("give rows that exist, and binaries that can be found")
    contenders = list(binaries)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and data go too
    samples: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for run, row, turn in itertools.product(range(args.runs), rows, range(len(contenders))):
        name = contenders[(run + turn) % len(contenders)]
        print(f"run {run + 1} of {args.runs}, row {row}, {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="speed-") as work, open(args.lock, "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.closing(Server(CONTENDERS[name], os.path.abspath(binaries[name]), Path(work))) as server:
                try:
                    server.create_streams()
                    for figure, unit, value in ROWS[row](server):
                        samples.setdefault((row, figure, unit), {}).setdefault(name, []).append(value)
                except Exception as error:  # one measurement cannot be had; the others are still made
                    print("failed:", error, (server.work / "log").read_text(errors="replace")[-300:], file=sys.stderr)
    if args.json:
        return print(json.dumps([[*key, got] for key, got in samples.items()], indent=1))
    print_table(samples, contenders)


if __name__ == "__main__":
    main()
