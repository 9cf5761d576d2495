"""How fast `s2 read` prints a stream in each form, and chooses from it; the old and the new `s2` take turns.

    read_formats.py [--records 1000000] [--size 100] [--runs 5] [--rows text,json,…] [--old /path/to/an/older/s2]

One server with the stream of the newer `s2`; each row is a read of all of it into a file in TMPDIR, without the start
of the process. Figures are medians in thousands of records a second; "spread" is (highest - lowest) / median.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.ports import choose_port

S2 = os.environ.get("S2") or str(Path(sys.executable).with_name("s2"))
STREAM = "s2://read-formats/lines"
# Row -> the options; those that an older s2 does not have are left out for it.
ROWS = {
    "text": [],
    "json": ["-o", "json"],
    "json-base64": ["-o", "json-base64"],
    "raw": ["--raw"],
    "template": ["-t", "%o %d %v\\n"],
    "parse-json": ["--parse-json"],
    "grep": ["--grep", "no such text"],
    "grep-regex": ["--grep", "level=(fatal|panic)"],
    "grep-class": ["--grep", r"\d{3}-\d{4}"],
    "grep-not": ["--grep-not", "level"],
    "header": ["--header", "app=none"],
}
OLD_ROWS = ("text", "json", "json-base64")


def line(number: int, size: int) -> bytes:
    start = b"2026-01-31T12:00:00Z level=info request=%09d path=/index.html " % number
    return (start + b"x" * size)[:size]


def read(s2: str, options: list[str], env: dict[str, str], work: Path) -> float:
    """Seconds that a read of everything takes."""
    with open(work / "out", "wb") as output:
        started = time.perf_counter()
        subprocess.run([s2, "read", STREAM, "-q", *options], stdout=output, env=env, check=True)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--old", help="an older s2, to take turns with")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        port, reserved = choose_port()
        url = f"http://127.0.0.1:{port}"
        env = {name: value for name, value in os.environ.items() if not name.startswith("S2_")} | {
            "HOME": place, "S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "ignored",
        }  # fmt: skip
        command = [S2, "lite", "--data", str(work / "data"), "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                lines = b"\n".join(line(number, chosen.size) for number in range(chosen.records))
                subprocess.run([S2, "append", "--create", "-q", STREAM], input=lines, env=env, check=True)
                start_s = median(read(S2, ["-n", "0"], env, work) for _ in range(5))
                report(chosen, env, work, start_s)
            finally:
                server.terminate()
        reserved.close()


def report(chosen: argparse.Namespace, env: dict[str, str], work: Path, start_s: float) -> None:
    tools = {"new": S2} | ({"old": chosen.old} if chosen.old else {})
    for row in chosen.rows.split(","):
        figures: dict[str, list[float]] = {name: [] for name in tools if name == "new" or row in OLD_ROWS}
        for _ in range(chosen.runs):
            for name, rates in figures.items():
                seconds = read(tools[name], ROWS[row], env, work) - start_s
                rates.append(chosen.records / seconds / 1000)
        parts = [
            f"{name} {median(rates):7.0f} k/s (spread {(max(rates) - min(rates)) / median(rates):.0%})"
            for name, rates in figures.items()
        ]
        print(f"{row:12} " + "   ".join(parts), flush=True)


if __name__ == "__main__":
    main()
