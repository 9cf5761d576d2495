"""What hostile clients cost a server, and another client of it: CPU seconds and peak memory of the server, and the 99th
percentile of the small appends that run beside them.

    attacks.py [--s2 PATH] [--seconds 8] [--streams 20000] [--only NAME,NAME]

Each attack has a fresh server. `--s2` is any `s2` executable, to compare one version with another.
"""

import argparse
import contextlib
import gzip
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import content_attacks
import h2.config
import h2.connection
import h2.errors
import h2.settings
import http2_attacks
import waiting_attacks
from attacked_server import BASIN, MIB, RECORDS, Server, head, repeatedly


def append_beside(port: int, ready: "multiprocessing.Event", ended: "multiprocessing.Event", results: object) -> None:
    """Another client: a small append, and the next one as soon as it is acknowledged."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"s2-basin": BASIN, "content-type": "application/json"}
    body = json.dumps({"records": [{"body": "x"}]})
    took_s = []
    while not ended.is_set():
        began_s = time.perf_counter()
        connection.request("POST", RECORDS.format("beside"), body, headers)
        connection.getresponse().read()
        took_s.append(time.perf_counter() - began_s)
        ready.set()
        time.sleep(0.002)
    results.put(took_s)


# The attacks: each begins, and gives what is to be kept open.


def h2_client(window: int) -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    client.local_settings = h2.settings.Settings(client=True, initial_values={code: window})
    client.initiate_connection()
    return client


def h2_headers(method: str, path: str) -> list[tuple[str, str]]:
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "s2"), (":path", path)]
    return [*pseudo, ("s2-basin", BASIN), ("content-type", "s2s/proto")]


def h2_window_0(server: Server, until_s: float) -> Iterator[object]:
    """4 connections with 200 read sessions each, whose windows are 0."""
    for _ in range(4):
        connection, client = server.connect(), h2_client(0)
        for number in range(200):
            headers = h2_headers("GET", RECORDS.format("large") + "?seq_num=0")
            client.send_headers(1 + 2 * number, headers, end_stream=True)
        connection.sendall(client.data_to_send())
        yield connection


def readers(server: Server, until_s: float) -> Iterator[object]:
    """500 read sessions over HTTP/1.1 that take nothing."""
    for _ in range(500):
        connection = server.connect()
        connection.sendall(head("GET", RECORDS.format("large") + "?seq_num=0", "content-type: s2s/proto"))
        yield connection


def single_reads(server: Server, until_s: float) -> Iterator[object]:
    """800 single reads of a megabyte over HTTP/1.1 that are not taken."""
    for _ in range(800):
        connection = server.connect()
        connection.sendall(
            head("GET", RECORDS.format("large") + "?seq_num=0&count=1000", "accept: application/protobuf")
        )
        yield connection


def half_frames(server: Server, until_s: float) -> Iterator[object]:
    """400 append sessions, each with a frame of 2 MiB less a byte."""
    frame = (2 * MIB - 1).to_bytes(3, "big") + b"\0" + bytes(2 * MIB - 16)
    for _ in range(400):
        connection = server.connect()
        connection.sendall(
            head("POST", RECORDS.format("half"), "content-type: s2s/proto", "transfer-encoding: chunked")
        )
        connection.setblocking(False)
        data = b"%x\r\n" % (len(frame) + 100) + frame
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[connection.send(data) :]
        yield connection, data


def half_bodies_h2(server: Server, until_s: float) -> Iterator[object]:
    """8 connections of HTTP/2 with 60 append sessions each, in which no frame ends."""
    for _ in range(8):
        connection, client = server.connect(), h2_client(65535)
        headers = h2_headers("POST", RECORDS.format("half"))
        connection.settimeout(1)
        with contextlib.suppress(OSError):
            connection.sendall(client.data_to_send())
            while client.remote_settings.initial_window_size <= 65535 or client.outbound_flow_control_window <= 65535:
                if not (data := connection.recv(65536)):
                    raise ConnectionError("the server has ended the connection")
                client.receive_data(data)
            for number in range(60):
                stream = 1 + 2 * number
                client.send_headers(stream, headers)
                client.send_data(stream, (2 * MIB - 1).to_bytes(3, "big") + b"\0")
                for _ in range(MIB // 16384):
                    size = min(16384, client.local_flow_control_window(stream), client.max_outbound_frame_size)
                    if size:
                        client.send_data(stream, bytes(size))
                connection.sendall(client.data_to_send())
        yield connection


def heads(server: Server, until_s: float) -> Iterator[object]:
    """2000 heads of 60 kB that do not end."""
    for _ in range(2000):
        connection = server.connect()
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.send(head("GET", "/")[:-2] + b"x: " + b"y" * 60_000)
        yield connection


def upgrades(server: Server, until_s: float) -> Iterator[object]:
    """40 connections that send a padded head and 56 kB of wishes for another protocol, again and again."""
    wish = b"GET / HTTP/1.1\r\nhost: s2\r\nconnection: upgrade\r\nupgrade: x\r\n"
    flood = b"POST / HTTP/1.1\r\nhost: s2\r\ncontent-length: 1\r\npad: " + b"p" * 2000 + b"\r\n\r\nx"
    flood += (wish + b"\r\n") * (56_000 // len(wish))
    yield from repeatedly(server, [flood] * 40, until_s)


def structures(path: str) -> Callable[[Server, float], Iterator[object]]:
    def attack(server: Server, until_s: float) -> Iterator[object]:
        bodies = [b"{" * 2 * MIB, b"[" * 2 * MIB, b"[" + b"{}," * (2 * MIB // 3 - 2) + b"{}]"]
        bodies.append(b'{"records":[{"headers":[' + b'["",""],' * ((2 * MIB - 80) // 8) + b'["",""]]}]}')
        bodies.append(b'{"a":[' + b"[]," * (2 * MIB // 3 - 8) + b"[]]}")
        requests = []
        for body in bodies:
            packed = gzip.compress(body[: 2 * MIB])
            fields = ("content-type: application/json", "content-encoding: gzip", f"content-length: {len(packed)}")
            requests.append(head("POST", path, *fields) + packed)
        yield from repeatedly(server, requests * 8, until_s)

    attack.__doc__ = f"40 connections that send structures in gzip to {path}, again and again."
    return attack


def prefixes(server: Server, until_s: float) -> Iterator[object]:
    """40 connections that list streams with a prefix that none has, again and again."""
    yield from repeatedly(server, [head("GET", "/v1/streams?prefix=zz")] * 40, until_s)


ATTACKS: dict[str, Callable[[Server, float], Iterator[object]]] = {
    "nothing": lambda server, until_s: iter(()),
    "h2-window-0": h2_window_0,
    "readers": readers,
    "single-reads": single_reads,
    "half-frames": half_frames,
    "half-bodies-h2": half_bodies_h2,
    "heads": heads,
    "upgrades": upgrades,
    "json-append": structures(RECORDS.format("beside")),
    "json-basins": structures("/v1/basins"),
    "prefixes": prefixes,
    **content_attacks.ATTACKS,
    **waiting_attacks.ATTACKS,
    **http2_attacks.ATTACKS,
}


def prepare(server: Server, name: str, streams: int) -> None:
    config = {"create_stream_on_append": True, "create_stream_on_read": True}
    assert server.ask("POST", "/v1/basins", {"basin": BASIN, "config": config}) == 201
    if name == "prefixes":
        connection = server.connect()
        body = b'{"records":[{"body":"x"}]}'
        for begin in range(0, streams, 1000):
            for number in range(begin, begin + 1000):
                fields = ("content-type: application/json", f"content-length: {len(body)}")
                connection.sendall(head("POST", RECORDS.format(f"a{number:07}"), *fields) + body)
                if number % 50 == 49:
                    got = b""
                    while got.count(b"HTTP/1.1 ") < 50:
                        got += connection.recv(65536)
    else:
        for _ in range(12):
            records = [{"body": "x" * 1_000_000}]
            assert server.ask("POST", RECORDS.format("large"), {"records": records}) == 200


def run(s2: str, name: str, seconds: float, streams: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        server = Server(s2, home)
        ready, ended, results = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue()
        try:
            prepare(server, name, streams)
            beside = multiprocessing.Process(target=append_beside, args=(server.port, ready, ended, results))
            beside.start()
            ready.wait(30)
            before_s = server.cpu_s()
            server.until_s = until_s = time.monotonic() + seconds
            attack = ATTACKS[name](server, until_s)
            kept: list[object] = []
            while time.monotonic() < until_s:
                try:
                    for opened in attack:
                        kept.append(opened)
                        server.look()
                        if time.monotonic() > until_s:
                            break
                except OSError:
                    pass  # it defends itself
                server.look()
                time.sleep(0.05)
            cpu_s = server.cpu_s() - before_s
            ended.set()
            took_s = sorted(results.get(timeout=120))
            beside.join()
        finally:
            server.stop()
    p99_ms, worst_ms = (took_s[at] * 1000 for at in (len(took_s) * 99 // 100, -1))
    peak_mib = server.peak_bytes / MIB
    print(f"{name:<15} {cpu_s:9.1f} {peak_mib:9.0f} {p99_ms:9.1f} {worst_ms:9.1f} {len(took_s):9}", flush=True)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--s2", default=str(Path(sys.executable).with_name("s2")))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--only", default=",".join(ATTACKS))
    options = parser.parse_args()
    print(f"{'attack':<15} {'CPU s':>9} {'peak MiB':>9} {'p99 ms':>9} {'worst ms':>9} {'appends':>9}", flush=True)
    for name in options.only.split(","):
        run(options.s2, name, options.seconds, options.streams)


if __name__ == "__main__":
    main()
