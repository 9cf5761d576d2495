"""How fast `s2 lite check` reads data: `check_data.py --mib 1024 --body-bytes 1000 --runs 3`.

A server is filled and stopped; then the check runs on its directory, and once more beside the running server. The
figure is the size of the database by the time of the whole command, from the page cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1024 * 1024
S2 = [sys.executable, "-m", "s2cli"]


def serve(directory: Path) -> tuple[subprocess.Popen, dict[str, str]]:
    server = subprocess.Popen([*S2, "lite", "-q", "--port", "0", "--data", directory], stdout=subprocess.PIPE)
    lines = [server.stdout.readline().decode().removeprefix("export ").strip().split("=", 1) for _ in range(3)]
    return server, dict(os.environ, **dict(lines))


def stop(server: subprocess.Popen) -> None:
    server.terminate()
    server.wait()
    server.stdout.close()


def fill(env: dict[str, str], mib: int, body_bytes: int) -> None:
    subprocess.run([*S2, "create", "s2://bench-basin"], env=env, check=True, capture_output=True)
    line = os.urandom(body_bytes // 2).hex().encode()[: body_bytes - 1] + b"\n"
    for stream in range(4):
        append = subprocess.Popen(
            [*S2, "append", "-q", "--create", f"s2://bench-basin/stream-{stream}"],
            env=env,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(mib // 4):
            append.stdin.write(line * (MIB // len(line)))
        append.stdin.close()
        assert append.wait() == 0


def measure(directory: Path, what: str, runs: int) -> None:
    size_mib = (directory / "s2.db").stat().st_size / MIB
    for _ in range(runs):
        begun_s = time.perf_counter()
        subprocess.run([*S2, "lite", "check", "-q", "--data", directory], check=True)
        took_s = time.perf_counter() - begun_s
        print(f"{what:<8} {size_mib:8.0f} MiB  {took_s:6.2f} s  {size_mib / took_s:6.0f} MiB/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--body-bytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "data"
        server, env = serve(directory)
        try:
            fill(env, options.mib, options.body_bytes)
        finally:
            stop(server)
        measure(directory, "stopped", options.runs)
        server, _ = serve(directory)
        try:
            measure(directory, "running", options.runs)
        finally:
            stop(server)


if __name__ == "__main__":
    main()
