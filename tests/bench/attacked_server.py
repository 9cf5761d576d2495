"""A server under attack, and what all attacks do."""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

MIB = 1024 * 1024
BASIN = "attack-basin"
RECORDS = "/v1/streams/{}/records"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, s2: str, home: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("S2_", "XDG_"))}
        command = [s2, "lite", "--data", f"{home}/data", "--port", "0"]
        self.process = subprocess.Popen(
            command, env=env | {"HOME": home}, stdout=subprocess.PIPE, stderr=open(f"{home}/log", "w"), text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        self.peak_bytes = 0
        # When the attack ends: none of its connections waits for longer.
        self.until_s = math.inf

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def look(self) -> None:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)

    def ask(self, method: str, path: str, body: object = None) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"s2-basin": BASIN, "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    def connect(self) -> socket.socket:
        left_s = max(0.1, self.until_s - time.monotonic())
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=min(60, left_s))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return connection

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: s2", f"s2-basin: {BASIN}", *headers, "", ""]).encode()


def repeatedly(server: Server, requests: list[bytes], until_s: float) -> Iterator[object]:
    def send(request: bytes) -> None:
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError), server.connect() as connection:
                connection.settimeout(max(0.1, until_s - time.monotonic()))
                connection.sendall(request)
                connection.recv(65536)

    threads = [threading.Thread(target=send, args=(request,), daemon=True) for request in requests]
    for thread in threads:
        thread.start()
    yield threads
