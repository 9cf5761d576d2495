"""What each command loads, in a fresh interpreter: start-up is a matter of imports, and they creep in."""

import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S

# Loads nothing itself but what main loads; what stands in sys.modules at the end is said on file descriptor 2.
PROBE = """
import sys
before = set(sys.modules)
from s2cli.main import main
code = main(sys.argv[1:])
import os
os.write(2, ("\\nloaded:" + " ".join(sorted(set(sys.modules) - before))).encode())
os._exit(code)
"""

# Each costs a start more than a millisecond (style: bare Python starts in 9).
HEAVY = {
    "typer", "click", "rich", "httpx", "h2", "google.protobuf", "zstandard", "asyncio", "socket", "ssl", "logging",
    "re", "json", "enum", "typing", "dataclasses", "collections", "contextlib", "functools", "argparse", "pathlib",
    "signal", "subprocess", "threading", "tempfile", "datetime", "tomllib", "inspect", "importlib", "random", "urllib",
}  # fmt: skip


@pytest.fixture
def loaded(shared_server, home):
    """The modules that a command line loads; it has to succeed."""

    def loaded(*arguments, stdin=b"", server=shared_server) -> set[str]:
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", **server.env()}
        command = [sys.executable, "-c", PROBE, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=TIMEOUT_S)
        assert done.returncode == 0, done
        return set(done.stderr.decode().rpartition("\nloaded:")[2].split())

    return loaded


def heavy(modules: set[str]) -> set[str]:
    return HEAVY & modules


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["--help"], ["-h"], ["help"], []])
def test_help_and_version_load_next_to_nothing(loaded, arguments):
    modules = loaded(*arguments)
    assert not heavy(modules)
    assert not any(
        name.startswith(("s2cli.client", "s2cli.server", "s2cli.commands", "s2cli.wire")) for name in modules
    )


@pytest.mark.parametrize("command", ["append", "basins list", "streams", "lite", "completion"])
def test_help_of_a_command_loads_typer_and_no_more(loaded, command):
    modules = loaded(*command.split(), "--help")
    assert heavy(modules).isdisjoint({"httpx", "google.protobuf", "rich", "asyncio", "h2", "zstandard", "ssl", "json"})
    assert not any(
        name.startswith(("s2cli.client", "s2cli.server", "s2cli.commands", "s2cli.wire")) for name in modules
    )


def test_a_plain_append_loads_none_of_the_heavy_ones(loaded, basin, shared_server):
    shared_server.create_stream(basin, "s")
    for arguments in (["-q"], [], ["--linger", "5ms"], ["-m", "3"]):
        assert heavy(loaded("append", f"s2://{basin}/s", *arguments, stdin=b"line\n")) == set()


def test_check_tail_trim_and_fence_load_none_of_the_heavy_ones(loaded, basin, shared_server):
    shared_server.create_stream(basin, "s")
    uri = f"s2://{basin}/s"
    assert heavy(loaded("check-tail", uri)) == set()
    assert heavy(loaded("trim", uri, "0")) == set()
    assert heavy(loaded("fence", uri, "")) == set()


def test_read_and_tail_load_neither_typer_nor_httpx_nor_asyncio(loaded, basin, shared_server):
    shared_server.create_stream(basin, "s")
    for arguments in (["read"], ["tail"], ["tail", "-n5", "-o", "json"]):
        modules = loaded(*arguments, f"s2://{basin}/s")
        assert heavy(modules).isdisjoint(
            {"typer", "click", "rich", "httpx", "h2", "asyncio", "socket", "ssl", "tomllib"}
        )


# What an option of `read` needs, and nothing else.
OF_OPTIONS = {
    "jq", "msgspec", "rich", "subprocess", "s2cli.commands.read_many", "s2cli.commands.read_exec",
    "s2cli.commands.read_selection", "s2cli.commands.read_pace", "s2cli.commands.pretty_output",
    "s2cli.commands.output_file", "s2cli.client.merge_loop", "s2cli.formats.record_template",
    "s2cli.formats.record_filter", "s2cli.formats.jq_filter", "s2cli.client.append_loop",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ([], set()),
        (["--raw"], set()),
        (["-o", "jsonl"], set()),
        (["-t", "%v"], {"s2cli.formats.record_template"}),
        (["--grep", "x"], {"s2cli.commands.read_selection", "s2cli.formats.record_filter"}),
        (["--speed", "2x"], {"s2cli.commands.read_pace"}),
    ],
)
def test_a_read_loads_what_its_options_need(loaded, basin, shared_server, options, needed):
    shared_server.create_stream(basin, "s")
    assert loaded("read", f"s2://{basin}/s", *options) & OF_OPTIONS == needed


def test_lists_load_neither_typer_nor_httpx_nor_asyncio(loaded):
    modules = loaded("basins", "list")
    assert heavy(modules).isdisjoint(
        {"typer", "click", "rich", "httpx", "h2", "google.protobuf", "asyncio", "socket", "ssl", "tomllib"}
    )
    assert "s2cli.cli.typer_app" not in modules


def test_no_client_loads_the_server(loaded, basin, shared_server):
    shared_server.create_stream(basin, "s")
    for arguments in (["append"], ["read"], ["streams", "get"]):
        modules = loaded(*arguments, f"s2://{basin}/s")
        assert not any(name.startswith(("s2cli.server", "sqlite3")) for name in modules)


def test_only_a_bench_loads_the_bench_and_only_a_plot_matplotlib(loaded, basin, shared_server):
    shared_server.create_stream(basin, "s")
    for arguments in (["append"], ["read"]):
        assert not any(name.startswith("s2cli.bench") for name in loaded(*arguments, f"s2://{basin}/s"))
    modules = loaded("bench", basin, "-d", "10ms", "-w", "0s")
    assert "s2cli.bench.measure" in modules
    assert modules.isdisjoint({"matplotlib", "numpy", "typer", "rich", "httpx", "asyncio", "h2"})
