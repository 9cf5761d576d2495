"""Basins and streams on the command line, against a real server."""

import itertools
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from support.terminal import answered
from support.waiting import TIMEOUT_S, until_readable

_numbers = itertools.count()
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def name() -> str:
    """Of a basin that is not there yet."""
    return f"new-{os.getpid()}-{next(_numbers)}"


def test_create_says_so_on_stderr_and_nothing_on_stdout(s2, name):
    done = s2("basins", "create", name)
    assert (done.stdout, done.stderr) == (b"", f"created basin {name}\n".encode())
    done = s2("create", f"s2://{name}/a/b")
    assert (done.stdout, done.stderr) == (b"", f"created stream s2://{name}/a/b\n".encode())
    assert s2("streams", "create", f"s2://{name}/q", "-q").stderr == b""


def test_create_prints_the_resource_where_it_is_asked_to(s2, name):
    created = json.loads(s2("create", f"s2://{name}", "-o", "json").stdout)
    assert created["name"] == name
    assert RFC3339.fullmatch(created["created_at"])
    assert s2("create", f"s2://{name}/s", "-o", "name").stdout == f"s2://{name}/s\n".encode()
    assert json.loads(s2("streams", "create", f"s2://{name}/t", "-o", "jsonl").stdout)["name"] == "t"
    rows = s2("create", f"s2://{name}/u", "-o", "table").stdout.decode().splitlines()
    assert rows[0].split("\t") == ["NAME", "STATE", "CREATED", "CIPHER"]
    assert rows[1].split("\t")[:2] == ["u", "active"]


def test_options_of_create_become_the_config(s2, name):
    s2("create", name, "--create-stream-on-append", "--retention-policy", "12h", "--storage-class", "standard")
    config = json.loads(s2("basins", "get", f"s2://{name}", "-o", "json").stdout)
    assert config["create_stream_on_append"] is True
    assert config["create_stream_on_read"] is False
    assert config["default_stream_config"]["retention_policy"] == {"age": 43_200}
    s2(
        "create",
        f"s2://{name}/a",
        "--retention-policy",
        "infinite",
        "--timestamping-mode",
        "client-require",
        "--timestamping-uncapped=true",
    )
    config = json.loads(s2("streams", "get", f"s2://{name}/a", "-o", "jsonl").stdout)
    assert config["retention_policy"] == {"infinite": {}}
    assert config["storage_class"] == "standard"
    assert config["timestamping"] == {"mode": "client-require", "uncapped": True}


def test_get_shows_settings_as_text_that_options_take(s2, name):
    s2("create", name, "--retention-policy", "36h")
    s2("create", f"s2://{name}/s", "--delete-on-empty-min-age", "1d")
    rows = dict(line.split("\t") for line in s2("streams", "get", f"s2://{name}/s").stdout.decode().splitlines())
    assert rows["SETTING"] == "VALUE"
    assert rows["retention_policy"] == "1d 12h"
    assert rows["delete_on_empty.min_age"] == "1d"
    assert rows["timestamping.mode"] == "client-prefer"
    assert s2("streams", "get", f"s2://{name}/s", "-o", "name").stdout == f"s2://{name}/s\n".encode()
    rows = s2("basins", "get", name, "--no-headers").stdout.decode().splitlines()
    assert "default_stream_config.retention_policy\t1d 12h" in rows
    assert "stream_cipher\t-" in rows


def test_lists_in_every_format(s2, basin, shared_server):
    for stream in ("a/1", "a/2", "b ü"):
        shared_server.create_stream(basin, stream)
    table = s2("streams", "list", basin).stdout.decode().splitlines()
    assert table[0] == "NAME\tSTATE\tCREATED\tCIPHER"
    assert [line.split("\t")[0] for line in table[1:]] == ["a/1", "a/2", "b ü"]
    assert s2("streams", "list", basin, "--no-headers").stdout.decode().splitlines() == table[1:]
    whole = json.loads(s2("streams", "list", f"s2://{basin}", "-o", "json").stdout)
    assert [item["name"] for item in whole] == ["a/1", "a/2", "b ü"]
    assert set(whole[0]) >= {"name", "created_at", "deleted_at"}
    lines = s2("streams", "list", basin, "-o", "jsonl").stdout.decode().splitlines()
    assert [json.loads(line) for line in lines] == whole
    names = s2("streams", "list", basin, "-o", "name").stdout.decode().splitlines()
    assert names == [f"s2://{basin}/a/1", f"s2://{basin}/a/2", f"s2://{basin}/b ü"]
    assert s2("basins", "list", "--prefix", basin, "-o", "name").stdout == f"{basin}\n".encode()


def test_what_is_listed_can_be_chosen(s2, basin, shared_server):
    for stream in ("a/1", "a/2", "a/3", "b"):
        shared_server.create_stream(basin, stream)

    def names(*arguments):
        done = s2("streams", "list", *arguments, "-o", "name").stdout.decode()
        return [line.rpartition(basin + "/")[2] for line in done.splitlines()]

    assert names(basin, "--prefix", "a/") == ["a/1", "a/2", "a/3"]
    assert names(f"s2://{basin}/a/") == ["a/1", "a/2", "a/3"]
    assert names(basin, "-s", "a/2") == ["a/3", "b"]
    assert names(basin, "-n", "2") == ["a/1", "a/2"]
    assert names(basin, "-p", "zzz") == []
    assert names(basin, "-n2", "--no-auto-paginate") == ["a/1", "a/2"]


def test_an_empty_list_is_an_empty_list(s2, basin):
    assert json.loads(s2("streams", "list", basin, "-o", "json").stdout) == []
    for output in ("jsonl", "name"):
        assert s2("streams", "list", basin, "-o", output).stdout == b""
    assert s2("streams", "list", basin).stdout == b"NAME\tSTATE\tCREATED\tCIPHER\n"


def test_deleted_resources_are_gone_or_marked(s2, basin, shared_server):
    shared_server.create_stream(basin, "s")
    done = s2("streams", "delete", f"s2://{basin}/s", "--yes")
    assert done.stderr == f"stream s2://{basin}/s is being deleted\n".encode()
    for line in s2("streams", "list", basin, "--no-headers").stdout.decode().splitlines():
        assert line.split("\t")[1] == "deleting"
    assert s2("basins", "delete", f"s2://{basin}/", "-y").stderr == f"basin {basin} is being deleted\n".encode()


def test_delete_without_a_terminal_wants_yes(s2, basin):
    done = s2("basins", "delete", basin, code=2)
    assert done.stderr.splitlines()[1] == b"hint: add --yes"
    assert s2("basins", "get", basin, "-o", "name").stdout == f"{basin}\n".encode()


def test_delete_asks_on_a_terminal(s2, basin, shared_server):
    shared_server.create_stream(basin, "s")
    env = shared_server.env()
    code, said = answered(["streams", "delete", f"s2://{basin}/s"], b"n\n", env)
    assert (code, "nothing was deleted" in said) == (1, True)
    code, said = answered(["streams", "delete", f"s2://{basin}/s"], b"\x03", env)
    assert code == 130
    code, said = answered(["streams", "delete", f"s2://{basin}/s"], b"y\n", env)
    assert (code, f"delete stream s2://{basin}/s with all its records?" in said) == (0, True)
    code, said = answered(["basins", "delete", basin], b"y\n", env)
    assert (code, "type " + basin in said) == (1, True)
    code, said = answered(["basins", "delete", basin], basin.encode() + b"\n", env)
    assert code == 0


@pytest.mark.parametrize(
    ("line", "code", "message", "hint"),
    [
        (
            "basins get missing-basin",
            3,
            "error: cannot get basin missing-basin: basin `missing-basin` not found",
            "s2 basins list",
        ),
        (
            "streams list missing-basin",
            3,
            "error: cannot list the streams of missing-basin: ",
            "s2 create s2://missing-basin",
        ),
        ("streams get s2://{basin}/x", 3, "error: cannot get stream s2://{basin}/x: ", "s2 streams list {basin}"),
        ("streams delete -y s2://{basin}/x", 3, "error: cannot delete stream s2://{basin}/x: ", "s2 streams list"),
        (
            "create s2://missing-basin/x",
            3,
            "error: cannot create stream s2://missing-basin/x: ",
            "s2 create s2://missing-basin",
        ),
        ("create {basin}", 5, "error: cannot create basin {basin}: basin `{basin}` already exists", ""),
    ],
)
def test_what_the_server_refuses_is_explained(s2, basin, line, code, message, hint):
    done = s2(*line.format(basin=basin).split(), code=code)
    lines = done.stderr.decode().splitlines()
    assert done.stdout == b""
    assert lines[0].startswith(message.format(basin=basin))
    assert "".join(lines[1:]).startswith("hint: " + hint.format(basin=basin) if hint else "")


def test_errors_of_the_api_in_json_have_its_code(s2):
    done = s2("basins", "get", "missing-basin", "-o", "json", code=3)
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == ("basin_not_found", 3)


def test_official_verbs_print_what_the_official_tool_prints(s2, name):
    assert (
        s2("create-basin", name, "--create-stream-on-append", "--retention-policy", "1d").stderr
        == "✓ Basin created\n".encode()
    )
    assert s2("create-stream", f"s2://{name}/a b", "--storage-class", "express").stderr == "✓ Stream created\n".encode()
    assert s2("list-basins", "-p", name).stdout == f"{name} (local)\n".encode()
    assert s2("ls", "--prefix", name, "-n", "1").stdout == f"{name} (local)\n".encode()
    assert s2("list-streams", f"s2://{name}/a", "-n5", "-s", "").stdout == f"s2://{name}/a b\n".encode()
    uri, created = s2("ls", name).stdout.decode().rstrip("\n").rsplit(" ", 1)
    assert uri == f"s2://{name}/a b"
    assert RFC3339.fullmatch(created)
    assert b"retention_policy\t1d" in s2("get-stream-config", f"s2://{name}/a b").stdout
    assert b"create_stream_on_append\ttrue" in s2("get-basin-config", f"s2://{name}").stdout
    assert s2("delete-stream", f"s2://{name}/a b").stderr == "✓ Stream deletion requested\n".encode()
    assert s2("delete-basin", name).stderr == "✓ Basin deletion requested\n".encode()
    for line in s2("list-basins", "-p", name).stdout.decode().splitlines():
        assert line == f"{name} (local) [deleting]"


def test_a_table_on_a_terminal_is_aligned(basin, shared_server):
    for stream in ("short", "a-much-longer-name"):
        shared_server.create_stream(basin, stream)
    leader, follower = pty.openpty()
    arguments = [sys.executable, "-m", "s2cli", "streams", "list", basin, "--color=never"]
    with subprocess.Popen(arguments, stdout=follower, env={**os.environ, **shared_server.env()}) as process:
        os.close(follower)
        assert process.wait(TIMEOUT_S) == 0
        until_readable(leader)
        lines = os.read(leader, 65536).decode().split("\r\n")
    os.close(leader)
    assert lines[0] == "NAME                STATE   CREATED                   CIPHER"
    assert lines[1].startswith("a-much-longer-name  active  20")
    assert lines[2].startswith("short               active  20")


def test_lists_come_page_by_page(s2, shared_server, make_server):
    server = make_server(data=None)
    name = server.create_basin()
    for number in range(1003):
        server.create_stream(name, f"{number:04}")
    with subprocess.Popen(
        [sys.executable, "-m", "s2cli", "streams", "list", name, "-o", "name"],
        stdout=subprocess.PIPE,
        env={**os.environ, **server.env()},
    ) as process:
        assert process.stdout.readline() == f"s2://{name}/0000\n".encode()
        rest = process.stdout.read().decode().splitlines()
    assert len(rest) == 1002
    assert rest[-1] == f"s2://{name}/1002"
    assert process.returncode == 0


def test_a_reader_that_has_seen_enough_ends_a_list_quietly(basin, shared_server):
    for number in range(3):
        shared_server.create_stream(basin, f"{number}")
    read_end, write_end = os.pipe()
    os.close(read_end)
    arguments = [sys.executable, "-m", "s2cli", "streams", "list", basin]
    done = subprocess.run(
        arguments, stdout=write_end, stderr=subprocess.PIPE, env={**os.environ, **shared_server.env()}
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")
