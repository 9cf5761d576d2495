"""Append a large file of awkward lines and read it back, over every kind of connection; compare, and print peak memory.

    roundtrip.py [--mib 1024] [--transports local,h1,h2c,tls]

The lines are log lines with CR, NUL, invalid UTF-8 and empty ones among them. Each way has a fresh server and an empty
home. Ends with 1 if a byte differs, or a client's peak passes 100 MB or a server's 200 MB.
"""

import argparse
import contextlib
import filecmp
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.terminator import tls_terminator

S2 = os.environ.get("S2") or str(Path(sys.executable).with_name("s2"))
CLIENT_LIMIT_BYTES, SERVER_LIMIT_BYTES = 100_000_000, 200_000_000
STREAM = "s2://roundtrip/lines"


def write_lines(path: Path, size_bytes: int) -> None:
    """Lines of 0 to some 1000 bytes, the same in every run; the last one without a newline."""
    chance = random.Random(1)
    words = [
        b"GET /index.html 200",
        b"\r",
        b"\0",
        b"\xff\xfe\x80",
        "größe".encode(),
        b"user=42",
        b" ",
        b"\t",
        b'{"a":1}',
    ]
    lines = [b"", b"\r", b"\0", b"\xff"]
    for _ in range(20_000):
        count = chance.choice((0, 1, 3, 8, 12, 20, 40))
        lines.append(
            b" ".join(chance.choices(words, k=count)) + chance.randbytes(chance.choice((0, 0, 9))).replace(b"\n", b"")
        )
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            chance.shuffle(lines)
            file.write(b"\n".join(lines) + b"\n")
        file.write(b"the last line")


def memory_bytes(pid: int | str, key: str = "VmHWM") -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def run(words: list[str], env: dict[str, str], stdin: Path, stdout: Path) -> tuple[float, int]:
    """Seconds and peak memory of `s2` with these words."""
    start, peak = time.perf_counter(), 0
    with stdin.open("rb") as source, stdout.open("wb") as target:
        client = subprocess.Popen([S2, *words], stdin=source, stdout=target, env=env)
    with open(os.pidfd_open(client.pid)) as end:
        while not select.select([end], [], [], 0.02)[0]:
            peak = memory_bytes(client.pid) or peak
    if client.wait():
        raise SystemExit(f"s2 {' '.join(words)} ended with {client.returncode}")
    return time.perf_counter() - start, peak


@contextlib.contextmanager
def way(name: str, work: Path) -> Iterator[tuple[list[str], dict[str, str], int]]:
    """Global options, environment and the server's process for one way."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("S2_", "XDG_"))} | {"HOME": str(work)}
    if name == "local":
        subprocess.run([S2, "--local", "basins", "create", "roundtrip"], env=env, check=True, capture_output=True)
        try:
            status = subprocess.run([S2, "lite", "status"], env=env, check=True, capture_output=True, text=True)
            found = re.search(r"(?:process|pid)\D*(\d+)", status.stdout)
            yield ["--local"], env, int(found[1]) if found else 0
        finally:
            subprocess.run([S2, "lite", "stop"], env=env, check=True, capture_output=True)
        return
    words = [S2, "lite", "--data", str(work / "data"), "--port", "0"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        found = re.search(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline() + server.stdout.readline())
        if not found:
            raise SystemExit("the server did not say where it is")
        try:
            if name == "tls":
                with tls_terminator("127.0.0.1", int(found[1]), work) as (url, ca_file):
                    options = ["--account-endpoint", url, "--basin-endpoint", url, "--ca-file", str(ca_file)]
                    yield options, env, server.pid
            else:
                options = ["--account-endpoint", found[0], "--basin-endpoint", found[0]]
                yield [*options, *(["--http2"] if name == "h2c" else [])], env, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(15)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (1024)")
    parser.add_argument("--transports", default="local,h1,h2c,tls", help="which of local, h1, h2c, tls (all)")
    args = parser.parse_args()
    failed = False
    print(
        "| transport | append MiB/s | client MB | read MiB/s | client MB | server MB | bytes |\n"
        "|---|--:|--:|--:|--:|--:|---|"
    )
    with tempfile.TemporaryDirectory(prefix="roundtrip-") as top:
        source, target = Path(top, "input"), Path(top, "output")
        write_lines(source, args.mib << 20)
        for name in args.transports.split(","):
            with tempfile.TemporaryDirectory(prefix="s2-") as work, way(name, Path(work)) as (options, env, server):
                append_s, append_peak = run([*options, "append", "--create", STREAM, "-q"], env, source, target)
                read_s, read_peak = run([*options, "read", STREAM], env, Path(os.devnull), target)
                server_peak = memory_bytes(server)
            # A text ends with a newline whether or not the input did.
            with source.open("ab") as file:
                file.write(b"\n")
            same = filecmp.cmp(source, target, shallow=False)
            os.truncate(source, source.stat().st_size - 1)
            failed |= not same or max(append_peak, read_peak) > CLIENT_LIMIT_BYTES or server_peak > SERVER_LIMIT_BYTES
            print(
                f"| {name} | {args.mib / append_s:.0f} | {append_peak / 1e6:.0f} | {args.mib / read_s:.0f}"
                f" | {read_peak / 1e6:.0f} | {server_peak / 1e6:.0f} | {'equal' if same else 'DIFFERENT'} |",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
