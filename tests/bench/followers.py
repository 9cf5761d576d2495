"""How long a record takes to reach many followers of one stream: 1000 records/s of 100 bytes.

    followers.py [--followers 50,200,500,1000] [--seconds 10] [--http 1,2] [--runs 3]

Each follower is an S2S session over HTTP/1.1, or a connection of HTTP/2 with one stream; where both are named they take
turns, and the last lines are the medians. Two processes share the followers, another one appends a record each
millisecond whose body begins with the time. Beside them stands one follower that never reads.
"""

import argparse
import json
import multiprocessing
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import h2.config
import h2.connection
import h2.settings

S2 = os.environ.get("S2") or str(Path(sys.executable).with_name("s2"))
HEADERS = {"content-type": "application/json", "s2-basin": "follow-basin"}
PATH = "/v1/streams/s/records"
REQUEST = f"GET {PATH}?seq_num=0 HTTP/1.1\r\nhost: s2\r\ns2-basin: follow-basin\r\ncontent-type: s2s/proto\r\n\r\n"
MARK = b"\x64T"  # the length of a body, and its beginning; the time in microseconds follows


def connect(port: int, http2: bool) -> socket.socket:
    follower = socket.create_connection(("127.0.0.1", port), 30)
    if not http2:
        follower.sendall(REQUEST.encode())
        return follower
    # Windows that are never full: the frames between the records are of no concern then.
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    client.local_settings = h2.settings.Settings(client=True, initial_values={code: 2**31 - 1})
    client.initiate_connection()
    client.increment_flow_control_window(2**31 - 1 - 65535)
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "s2"), (":path", f"{PATH}?seq_num=0")]
    fields = [("s2-basin", HEADERS["s2-basin"]), ("content-type", "s2s/proto")]
    client.send_headers(1, pseudo + fields, end_stream=True)
    follower.sendall(client.data_to_send())
    return follower


def follow(
    port: int,
    count: int,
    http2: bool,
    records: int,
    results: "multiprocessing.Queue[tuple[int, list[tuple[float, int]]]]",
) -> None:
    """Read `records` from each of `count` followers; report how many came, and how late: each piece of data counts all
    its records as late as its first."""
    poll = select.epoll()
    followers = {follower.fileno(): follower for follower in (connect(port, http2) for _ in range(count))}
    for number in followers:
        poll.register(number, select.EPOLLIN)
    got = dict.fromkeys(followers, 0)
    ends = dict.fromkeys(followers, b"")
    lateness: list[tuple[float, int]] = []
    while followers:
        for number, _ in poll.poll(20):
            new = followers[number].recv(262_144)
            now = time.time()
            data = ends[number] + new
            if stamps := data.count(MARK):
                at = data.find(MARK) + len(MARK)
                if len(data) >= at + 16:
                    lateness.append((now - int(data[at : at + 16]) / 1e6, stamps))
                got[number] += stamps
            # A mark cut in two is counted when its rest has come.
            ends[number] = MARK[:1] if data.endswith(MARK[:1]) else b""
            if got[number] >= records or not new:
                poll.unregister(number)
                followers.pop(number).close()
    results.put((sum(got.values()), lateness))


def append(port: int, records: int) -> None:
    """One record a millisecond on one session, whether or not the ones before are acknowledged."""
    writer = socket.create_connection(("127.0.0.1", port), 30)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = REQUEST.replace("GET", "POST").replace("?seq_num=0", "")
    writer.sendall(head.replace("\r\n\r\n", "\r\ntransfer-encoding: chunked\r\n\r\n").encode())
    start = time.time()
    for number in range(records):
        if (ahead := start + number / 1000 - time.time()) > 0:
            time.sleep(ahead)
        body = f"T{int(time.time() * 1e6):016}".ljust(100, ".").encode()
        # An S2S frame (3 bytes of length, 1 of flags) around AppendInput{records: [AppendRecord{body: 100 bytes}]}.
        frame = b"\0\0\x69\0" + b"\x0a\x66" + b"\x1a\x64" + body
        writer.sendall(b"%x\r\n%b\r\n" % (len(frame), frame))
    writer.sendall(b"0\r\n\r\n")
    acks = b""
    while data := writer.recv(1 << 20):
        acks += data
        if acks.endswith(b"0\r\n\r\n"):
            break
    if not acks.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the append ended with {acks[:200]!r}")


def measure(followers: int, seconds: int, http2: bool) -> list[float]:
    """The figures of a row."""
    with tempfile.TemporaryDirectory(prefix="followers-") as work:
        words = [S2, "lite", "--data", work, "--port", "0"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout
            port = int(re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())[1])  # type: ignore[index]
            control = HTTPConnection("127.0.0.1", port, timeout=30)
            for path, body in ("/v1/basins", {"basin": "follow-basin"}), ("/v1/streams", {"stream": "s"}):
                control.request("POST", path, json.dumps(body), HEADERS)
                control.getresponse().read()
            stalled, records = connect(port, http2), seconds * 1000
            results: multiprocessing.Queue[tuple[int, list[tuple[float, int]]]] = multiprocessing.Queue()
            halves = [followers // 2, followers - followers // 2]
            readers = [
                multiprocessing.Process(target=follow, args=(port, half, http2, records, results)) for half in halves
            ]
            for reader in readers:
                reader.start()
            time.sleep(2)  # until they stand at the tail
            start = time.perf_counter()
            append(port, records)
            rate = records / (time.perf_counter() - start)
            got = [results.get(timeout=60) for _ in readers]
            lateness = sorted(one for _, some in got for one in some)
            memory_mib = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) / 1024  # type: ignore[index]
            stalled.close()
            server.send_signal(signal.SIGTERM)
    lost = followers * records - sum(count for count, _ in got)
    counted, total = 0, sum(count for _, count in lateness)
    marks = {0.5: 0.0, 0.99: 0.0}
    for seconds_late, count in lateness:
        counted += count
        for part in marks:
            if counted <= total * part:
                marks[part] = seconds_late * 1000
    p50, p99 = marks.values()
    longest = lateness[-1][0] * 1000
    return [rate, p50, p99, longest, lost, memory_mib]


def print_row(followers: int, version: str, run: str, figures: list[float]) -> None:
    cells = [f"{figure:.{digits}f}" for figure, digits in zip(figures, (0, 1, 1, 1, 0, 0), strict=True)]
    print("|", " | ".join([str(followers), version, run, *cells]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", default="50,200,500,1000", help="how many, one measurement each")
    parser.add_argument("--seconds", type=int, default=10, help="how long each lasts (10)")
    parser.add_argument("--http", default="1", choices=("1", "2", "1,2"), help="which versions (1)")
    parser.add_argument("--runs", type=int, default=1, help="how often each is measured (1)")
    args = parser.parse_args()
    print("| followers | HTTP | run | records/s | p50 ms | p99 ms | max ms | lost | server peak MiB |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    versions = args.http.split(",")
    for count in map(int, args.followers.split(",")):
        rows: dict[str, list[list[float]]] = {version: [] for version in versions}
        for run in range(args.runs):
            for version in versions[:: 1 if run % 2 == 0 else -1]:
                rows[version].append(measure(count, args.seconds, version == "2"))
                print_row(count, version, str(run + 1), rows[version][-1])
        if args.runs > 1:
            for version, figures in rows.items():
                print_row(count, version, "median", [median(some) for some in zip(*figures, strict=True)])


if __name__ == "__main__":
    main()
