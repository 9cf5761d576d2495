"""`s2 bench` against the real server."""

import json
import os
import re
import signal
import struct
import subprocess
import sys

import pytest
from support.altering_proxy import AlteringProxy
from support.terminal import answered
from support.waiting import TIMEOUT_S, until

from s2cli.bench.payload import MAGIC
from s2cli.cli import command_tree

# A bench of a moment: its figures mean nothing, and all else is as in a long one.
SHORT = ("-d", "300ms", "-w", "0s")


def streams_of(server, basin) -> list[str]:
    """Those that nobody has deleted."""
    listed = server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    return [stream["name"] for stream in listed if stream.get("deleted_at") is None]


def tail_of(server, basin, stream) -> int:
    path = f"/v1/streams/{stream.replace('/', '%2F')}/records/tail"
    return server.request("GET", path, basin=basin).json()["tail"]["seq_num"]


@pytest.fixture
def bench(s2, basin):
    """The result of a bench of the basin."""

    def bench(*options, **more) -> dict:
        return json.loads(s2("bench", basin, *SHORT, "-o", "json", *options, **more).stdout)

    return bench


@pytest.fixture
def start_bench(basin):
    """Starts a bench that runs until it is ended, and waits until it has written something."""
    processes = []

    def start(server, *options) -> subprocess.Popen:
        if server.request("GET", "/v1/basins?prefix=" + basin).json()["basins"] == []:
            server.create_basin(basin)
        process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", "bench", basin, "-d", "1h", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **server.env()},
        )
        processes.append(process)
        until(lambda: any(tail_of(server, basin, name) for name in streams_of(server, basin)))
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_what_is_written_is_read_live_and_again(bench, shared_server, basin):
    found = bench("--rate", "500/s", "-b", "200", "--batch", "5")
    assert found["outcome"] == "ok"
    assert found["write"]["records"] == found["live"]["records"] == found["catch_up"]["records"] == 150
    assert found["write"]["bytes"] == 150 * 200
    assert found["write"]["batches"] == found["live"]["batches"] == 30
    assert found["unsent_batches"] == 0
    assert streams_of(shared_server, basin) == []


@pytest.mark.parametrize(
    "options", [("--max",), ("--max", "-b", "100"), ("-t", "3"), ("--rate", "1MiB/s", "-b", "1MiB")]
)
def test_fixed_rates_and_as_fast_as_it_goes(bench, options):
    found = bench(*options)
    assert found["outcome"] == "ok"
    assert 0 < found["write"]["records"] == found["live"]["records"] == found["catch_up"]["records"]
    latency = found["write"]["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99_9"] <= latency["max"]


def test_several_streams_writers_and_readers(bench, shared_server, basin):
    found = bench("--streams", "3", "--writers", "2", "--readers", "2", "--rate", "600/s", "-b", "100", "--batch", "2")
    assert found["write"]["records"] == found["catch_up"]["records"] == 180
    assert found["live"]["records"] == 360
    assert streams_of(shared_server, basin) == []


def test_many_small_streams(bench, shared_server, basin):
    found = bench("--streams", "100", "--rate", "2000/s", "-b", "64")
    assert found["write"]["records"] == found["live"]["records"] == found["catch_up"]["records"] == 600
    assert streams_of(shared_server, basin) == []


def test_reads_can_be_left_out(bench):
    found = bench("--readers", "0", "--no-catchup")
    assert found["live"] is None
    assert found["catch_up"] is None
    assert found["write"]["records"] > 0


def test_an_encrypted_stream(s2, shared_server, unique_basin):
    basin = shared_server.create_basin(unique_basin(), stream_cipher="aegis-256")
    key = {"S2_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}
    found = json.loads(s2("bench", basin, *SHORT, "-o", "json", env=key).stdout)
    assert found["outcome"] == "ok"
    assert found["catch_up"]["records"] == found["write"]["records"] > 0


def test_a_stream_that_is_named_keeps_what_was_written(s2, shared_server, basin):
    shared_server.create_stream(basin, "mine")
    s2("append", f"s2://{basin}/mine", stdin=b"one\ntwo\n")
    found = json.loads(s2("bench", f"s2://{basin}/mine", *SHORT, "-o", "json").stdout)
    assert found["uri"] == f"s2://{basin}/mine"
    assert found["write"]["records"] == found["live"]["records"] == found["catch_up"]["records"]
    assert streams_of(shared_server, basin) == ["mine"]
    assert tail_of(shared_server, basin, "mine") == 2 + found["write"]["records"]


def test_the_official_spellings(s2, basin):
    done = s2(
        "bench", basin, "--record-size", "8192", "--target-mibps", "1", "--duration", "300ms", "--catchup-delay", "1ms",
        "--storage-class", "express",
    )  # fmt: skip
    assert b" records written; read and as written: " in done.stderr


def test_what_help_says_of_the_json_is_there(bench, tmp_path):
    found = bench("--compare", str(result_file(tmp_path, bench())), code=None)
    named = {name for names in command_tree.BENCH_RESULT for name in names.split(", ")}
    assert set(found) == named
    for flow in ("write", "live", "catch_up"):
        assert set(found[flow]) == {
            "records", "bytes", "seconds", "mib_per_s", "records_per_s", "batches", "latency_ms",
        }  # fmt: skip
        for name in found[flow]:
            assert name in command_tree.BENCH_RESULT["write, live, catch_up"]
        assert sum(interval["records"] for interval in found["intervals"][flow]) == found[flow]["records"]


def test_in_a_pipe_there_are_the_table_and_one_line(s2, basin):
    done = s2("bench", basin, *SHORT)
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"\r" not in done.stdout + done.stderr
    assert done.stderr.count(b"\n") == 1
    rows = [line.split(b"\t") for line in done.stdout.splitlines()]
    assert rows[0] == [b"", b"WRITE", b"LIVE", b"CATCH-UP"]
    assert [row[0] for row in rows[1:6]] == [b"MiB/s", b"records/s", b"records", b"MiB", b"seconds"]
    assert {len(row) for row in rows} == {4}


def test_on_a_terminal_it_shows_what_goes_on(shared_server, basin):
    code, said = answered(
        ["bench", basin, "-d", "1500ms", "-w", "600ms"], b"", {**shared_server.env(), "COLUMNS": "80"}
    )
    assert code == 0
    shown = re.split(r"[\r\n]+", re.sub(r"\x1b\[\d*[A-Z]", "", said))
    live = [line for line in shown if line.startswith(("write ", "live ", "catch-up ", "writing "))]
    assert {line.split()[0] for line in live} == {"write", "live", "catch-up", "writing"}
    assert all(len(line) < 80 for line in live)


# Comparison


def result_file(place, found, **changes):
    """A result, changed: `write__mib_per_s=5` is a member of a member."""
    for path, value in changes.items():
        holder, (*parents, name) = found, path.split("__")
        for parent in parents:
            holder = holder[parent]
        holder[name] = value
    path = place / "old.json"
    path.write_text(json.dumps(found))
    return path


BETTER = {"write__mib_per_s": 1e9}
WORSE = {f"{flow}__mib_per_s": 0.000001 for flow in ("write", "live", "catch_up")} | {
    f"{flow}__latency_ms": {"p50": 1e9, "p99": 1e9} for flow in ("write", "live")
}


def test_an_earlier_bench_that_was_worse_compares_with_0(s2, bench, basin, tmp_path):
    old = result_file(tmp_path, bench(), **WORSE)
    done = s2("bench", basin, *SHORT, "--compare", old)
    assert b"FIGURE\tOLD\tNEW\tCHANGE\t" in done.stdout
    assert b"worse" not in done.stdout


def test_an_earlier_bench_that_was_better_compares_with_5(s2, bench, basin, tmp_path):
    old = result_file(tmp_path, bench(), **{**WORSE, **BETTER})
    done = s2("bench", basin, *SHORT, "--compare", old, code=5)
    assert b"worse than %s by more than 20 %%: write mib_per_s\n" % bytes(old) in done.stderr
    done = s2("bench", basin, *SHORT, "-o", "json", "--compare", old, code=5)
    compared = {difference["figure"]: difference for difference in json.loads(done.stdout)["compared"]}
    assert compared["write mib_per_s"]["worse"]
    assert compared["write mib_per_s"]["old"] == 1e9
    assert not compared["live mib_per_s"]["worse"]


def test_a_latency_that_is_higher_compares_with_5(s2, bench, basin, tmp_path):
    latency = {"write__latency_ms": {"p50": 0.0, "p99": -10.0}}
    old = result_file(tmp_path, bench(), **{**WORSE, **latency})
    assert b"write p99_ms" in s2("bench", basin, *SHORT, "--compare", old, code=5).stderr


def test_the_tolerance_decides(s2, bench, basin, tmp_path):
    found = bench("--rate", "1000/s")
    old = result_file(tmp_path, found, **{**WORSE, "write__mib_per_s": found["write"]["mib_per_s"] * 3})
    line = ("bench", basin, *SHORT, "--rate", "1000/s", "--compare", old)
    s2(*line, "--tolerance", "50", code=5)
    s2(*line, "--tolerance", "99")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, 2, b"cannot read"),
        ("no json", 7, b"is not the result of a bench"),
        ('{"bench":1}', 7, b"is not the result of a bench"),
        ('{"bench":1,"settings":{},"outcome":"ok"}', 7, b"is not the result of a bench"),
        ('{"bench":1,"settings":{},"outcome":"interrupted"}', 7, b"did not come to its end"),
        (
            '{"bench":1,"settings":{"record_bytes":100},"outcome":"ok","write":{"mib_per_s":1}}',
            2,
            b"was measured with --record-size 100, and not with 8192",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    s2, shared_server, basin, tmp_path, text, code, said
):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    done = s2("bench", basin, "--compare", path, code=code)
    assert said in done.stderr
    assert done.stdout == b""
    assert server_never_made(shared_server, basin)


def server_never_made(server, basin) -> bool:
    return server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-b", "63"), b"--record-size 63 is not from 64 B to 1 MiB"),
        (("-b", "1048577"), b"--record-size"),
        (("-d", "0"), b"--duration 0"),
        (("--inflight", "0"), b"--inflight 0"),
        (("--max", "-t", "1"), b"--target-mibps and --max name two rates"),
        (("--rate", "1/s", "--max"), b"--rate and --max name two rates"),
        (("--rate", "1000GiB/s"), b"that rate is 1024000 batches a second, and 100000 is the most"),
        (("--rate", "1000000/s", "--batch", "1"), b"that rate is 1000000 batches a second"),
    ],
)
def test_what_makes_no_sense_is_refused(s2, shared_server, basin, options, said):
    assert said in s2("bench", basin, *options, code=2).stderr
    assert server_never_made(shared_server, basin)


def test_a_stream_that_is_named_is_one(s2, basin):
    assert b"--streams 2 needs a basin" in s2("bench", f"s2://{basin}/s", "--streams", "2", code=2).stderr


def test_a_basin_that_is_not_there(s2, unique_basin):
    assert b"creates it" in s2("bench", unique_basin(), *SHORT, code=3).stderr


# Faults


def altered_once(choose):
    """Changes one byte behind the first stamp of which `choose(writer, number)` says so."""
    done = False

    def alter(data: bytes) -> bytes:
        nonlocal done
        at = data.find(MAGIC)
        while not done and 0 <= at < len(data) - 100:
            if choose(*struct.unpack_from(">IQ", data, at + 16)):
                done = True
                return data[: at + 60] + bytes((data[at + 60] ^ 1,)) + data[at + 61 :]
            at = data.find(MAGIC, at + 1)
        return data

    return alter


@pytest.fixture
def altered(shared_server):
    """What leads a command line to the server through a proxy that alters what it says."""
    proxies = []

    def start(alter) -> dict[str, str]:
        proxies.append(AlteringProxy(shared_server.port, alter))
        return proxies[-1].env()

    yield start
    for proxy in proxies:
        proxy.close()


def test_a_changed_record_in_the_live_read_ends_with_8_and_is_named(s2, altered, shared_server, basin):
    env = altered(altered_once(lambda writer, number: number == 3))
    done = s2("bench", basin, *SHORT, "--rate", "500/s", "-b", "200", "--batch", "5", "-o", "json", env=env, code=8)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["message"].startswith(f"live read of s2://{basin}/bench/")
    assert error["message"].endswith(": record 15 is not what was written, from byte 60 of its body on")
    assert json.loads(done.stdout)["outcome"] == "mismatch"
    assert streams_of(shared_server, basin) == []


def test_a_changed_record_in_the_catch_up_read_ends_with_8_and_is_named(s2, altered, shared_server, basin):
    seen = set()

    def second_time(writer: int, number: int) -> bool:
        again = number in seen
        seen.add(number)
        return again

    env = altered(altered_once(second_time))
    done = s2("bench", basin, *SHORT, "--rate", "500/s", "-b", "200", "--batch", "5", env=env, code=8)
    assert b"error: catch-up read of s2://%s/bench/" % basin.encode() in done.stderr
    assert b"is not what was written, from byte 60 of its body on" in done.stderr
    assert streams_of(shared_server, basin) == []


def test_another_writer_of_the_stream_is_noticed(s2, shared_server, basin, altered):
    shared_server.create_stream(basin, "shared")
    written = False

    def alter(data: bytes) -> bytes:
        nonlocal written
        if MAGIC in data and not written:
            written = True
            body = {"records": [{"body": "somebody else's"}]}
            shared_server.request("POST", "/v1/streams/shared/records", basin=basin, json_body=body)
        return data

    options = ("-d", "60s", "--writers", "2", "-w", "0s")
    done = s2("bench", f"s2://{basin}/shared", *options, env=altered(alter), code=8)
    assert b"does not begin a batch that this bench wrote" in done.stderr


@pytest.mark.parametrize(("number", "code", "outcome"), [(2, 130, "interrupted"), (15, 143, "terminated")])
def test_a_signal_ends_it_with_what_was_measured_and_the_streams_are_gone(
    start_bench, shared_server, basin, number, code, outcome
):
    process = start_bench(shared_server, "--streams", "3", "-o", "json")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code, stderr
    found = json.loads(stdout)
    assert found["outcome"] == outcome
    assert found["write"]["records"] > 0
    assert streams_of(shared_server, basin) == []


def test_a_signal_while_it_waits_for_the_catch_up(shared_server, basin, s2):
    process = subprocess.Popen(
        [sys.executable, "-m", "s2cli", "bench", basin, "-d", "100ms", "-w", "1h", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **shared_server.env()},
    )
    # The session of the live read ends when all was read.
    until(lambda: any(tail_of(shared_server, basin, name) >= 13 for name in streams_of(shared_server, basin)))
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert json.loads(stdout)["catch_up"] is None
    assert streams_of(shared_server, basin) == []


def test_streams_that_cannot_be_deleted_are_named(start_bench, server, basin):
    process = start_bench(server, "--streams", "3")
    server.kill()
    _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 6
    assert b"warning: not deleted: s2://%s/bench/" % basin.encode() in stderr
    assert b"/0000 and 2 more (" in stderr
    assert b"\x1b" not in stderr


# Plots


@pytest.mark.parametrize(("name", "begins"), [("plot.svg", b"<?xml"), ("plot.PNG", b"\x89PNG\r\n")])
def test_a_plot_is_drawn_into_a_file(s2, basin, tmp_path, name, begins):
    s2("bench", basin, *SHORT, "--plot", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_plot_shows_each_direction(s2, basin, tmp_path):
    s2("bench", basin, *SHORT, "--plot", tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text()
    for label in ("MiB/s", "latency, ms", "seconds", "write p50", "live p99", "catch-up", f"s2://{basin}/bench/"):
        assert f"<!-- {label}" in drawn


def test_without_matplotlib_the_error_names_the_extra_before_anything_is_made(s2, shared_server, basin, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('as if it were not there')")
    env = {"PYTHONPATH": str(tmp_path)}
    done = s2("bench", basin, "--plot", tmp_path / "plot.svg", env=env, code=2)
    assert done.stderr.splitlines() == [b"error: --plot needs matplotlib", b"hint: pip install 's2cli[plot]'"]
    assert server_never_made(shared_server, basin)
    s2("bench", basin, *SHORT, env=env)  # nothing else needs it


@pytest.mark.parametrize(
    ("name", "said"), [("plot.pdf", b"must end with .svg or .png"), ("nowhere/plot.svg", b"cannot write")]
)
def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_made(s2, shared_server, basin, tmp_path, name, said):
    assert said in s2("bench", basin, "--plot", tmp_path / name, code=2).stderr
    assert server_never_made(shared_server, basin)
