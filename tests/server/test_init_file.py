import json
import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S

from s2cli.errors import UsageError
from s2cli.server.init_file import read_init_file

FILE = {
    "$schema": "https://example.com/apply.json",
    "basins": [
        {
            "name": "first-basin",
            "config": {
                "create_stream_on_append": True,
                "default_stream_config": {"retention_policy": "7days", "delete_on_empty": {"min_age": "1day"}},
            },
            "streams": [
                {"name": "plain"},
                {
                    "name": "a/b",
                    "config": {
                        "storage_class": "glacial",
                        "retention_policy": "infinite",
                        "timestamping": {"mode": "arrival", "uncapped": None},
                        "delete_on_empty": {"min_age": "0s"},
                    },
                },
            ],
        },
        {"name": "second-basin"},
    ],
}


def write(path, value):
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def configs(server):
    found = {}
    for basin in server.request("GET", "/v1/basins").json()["basins"]:
        name = basin["name"]
        found[name] = server.request("GET", f"/v1/basins/{name}").json()
        for stream in server.request("GET", "/v1/streams", basin=name).json()["streams"]:
            path = "/v1/streams/" + stream["name"].replace("/", "%2F")
            found[name, stream["name"]] = server.request("GET", path, basin=name).json()
    return found


def test_what_the_file_says_is_made(make_server, tmp_path):
    server = make_server(options=("--init-file", write(tmp_path / "init.json", FILE)))
    found = configs(server)
    assert set(found) == {"first-basin", ("first-basin", "plain"), ("first-basin", "a/b"), "second-basin"}
    assert found["first-basin"] == {
        "default_stream_config": {
            "storage_class": None,
            "retention_policy": {"age": 604800},
            "timestamping": None,
            "delete_on_empty": {"min_age_secs": 86400},
        },
        "stream_cipher": None,
        "create_stream_on_append": True,
        "create_stream_on_read": False,
    }
    assert found["first-basin", "plain"]["delete_on_empty"] == {"min_age_secs": 86400}
    assert found["first-basin", "a/b"] == {
        "storage_class": "glacial",
        "retention_policy": {"infinite": {}},
        "timestamping": {"mode": "arrival", "uncapped": False},
        "delete_on_empty": {"min_age_secs": 0},
    }


def test_it_may_be_run_again(make_server, tmp_path):
    path = write(tmp_path / "init.json", FILE)
    server = make_server(options=("--init-file", path))
    first = configs(server)
    created_at = server.request("GET", "/v1/basins").json()
    server.create_basin("third-basin")
    patch = {"create_stream_on_append": False}
    assert server.request("PATCH", "/v1/basins/first-basin", json_body=patch).status == 200
    body = {"records": [{"body": "kept"}]}
    assert server.request("POST", "/v1/streams/plain/records", basin="first-basin", json_body=body).status == 200
    server.stop()
    server.start()
    assert server.request("GET", "/v1/basins?limit=2").json()["basins"] == created_at["basins"]
    again = configs(server)
    del again["third-basin"]
    assert again == first
    assert server.request("GET", "/v1/streams/plain/records?seq_num=0", basin="first-basin").status == 200
    # Another file: what it names is changed, what it does not name is left alone.
    write(tmp_path / "init.json", {"basins": [{"name": "first-basin", "streams": [{"name": "new"}]}]})
    server.stop()
    server.start()
    changed = configs(server)
    assert changed["first-basin"]["default_stream_config"] is None
    assert changed["first-basin", "a/b"] == first["first-basin", "a/b"]
    assert ("first-basin", "new") in changed


def test_the_option_and_the_variable_of_the_command(tmp_path, endpoint_at):
    path = write(tmp_path / "init.json", FILE)
    for options, environment in ([("--init-file", path), {}], [(), {"S2LITE_INIT_FILE": path}]):
        command = [sys.executable, "-m", "s2cli", "lite", "--memory", "--port", "0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        url = process.stdout.readline().strip().partition("=")[2]
        endpoint = endpoint_at(int(url.rpartition(":")[2]))
        assert endpoint.request("GET", "/v1/streams/plain", basin="first-basin").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        process.stdout.close()


def test_a_basin_that_is_being_deleted(make_server, tmp_path):
    path = write(tmp_path / "init.json", FILE)
    server = make_server(options=("--init-file", path))
    server.request("DELETE", "/v1/basins/second-basin")
    server.stop()
    # Whether the deletion was over in time or not: the server starts, or says why not.
    command = [sys.executable, "-P", "-m", "s2cli.commands.lite", "--host", "127.0.0.1", "--port", "0"]
    command += ["--data", str(tmp_path / "data"), "--init-file", path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.stdout.readline():
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    else:
        assert process.wait(TIMEOUT_S) == 1
        assert "`second-basin` of the init file is being deleted" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not valid JSON: it ends too early, at column 2"),
        ("", "is not valid JSON: it is empty"),
        ('{"basins":\n  [{"name": "good-name",}]}', "a name in double quotes is missing at line 2, column 25"),
        ('{"basins": [}', "a value is missing at column 13"),
        ('{"basins" [', "a colon is missing at column 11"),
        ('{"basins": []\n"x": 1}', "a comma is missing at line 2, column 1"),
        ("{} {}", "something follows the end at column 4"),
        ("[" * 100_000, "nested too deep"),
        (b"\xff", "byte 1 is not UTF-8"),
        ([], "it must be an object"),
        ({"basins": {}}, "basins must be an array"),
        ({"basins": [5]}, "basins[0] must be an object"),
        ({"basins": [{}]}, "basins[0] needs a `name`, a string"),
        ({"basins": [{"name": "short"}]}, "basins[0].name: Basin name must be between 8 and 48 bytes, not 5"),
        ({"basins": [{"name": "good-name", "stream": []}]}, "basins[0] has an unknown member `stream`"),
        ({"basins": [{"name": "good-name"}] * 2}, "basins[1]: the basin `good-name` is listed twice"),
        ({"basins": [{"name": "good-name", "config": []}]}, "basins[0].config must be an object"),
        ({"basins": [{"name": "good-name", "config": {"x": 1}}]}, "basins[0].config has an unknown member `x`"),
        ({"basins": [{"name": "good-name", "config": {"stream_cipher": "rot13"}}]}, "basins[0].config.stream_cipher"),
        ({"basins": [{"name": "good-name", "streams": [{"name": ".."}]}]}, "basins[0].streams[0].name: "),
        ({"basins": [{"name": "good-name", "streams": [{"name": "s"}] * 2}]}, "the stream `s` is listed twice"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_file(tmp_path, value, message):
    path = write(tmp_path / "init.json", value)
    with pytest.raises(UsageError) as caught:
        read_init_file(path)
    assert caught.value.message.startswith(f"--init-file: {path}")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"x": 1}, "has an unknown member `x`"),
        ({"storage_class": 5}, ".storage_class must be a string"),
        ({"retention_policy": {"age": 5}}, ".retention_policy must be a duration"),
        ({"retention_policy": "soon"}, '.retention_policy: "soon" is not a duration'),
        ({"retention_policy": "0s"}, "age must be greater than 0 seconds"),
        ({"retention_policy": "1500ms"}, ".retention_policy: 1500ms is not in whole seconds"),
        ({"timestamping": {"mode": "never"}}, ".timestamping.mode must be one of"),
        ({"timestamping": {"x": 1}}, ".timestamping has an unknown member `x`"),
        ({"delete_on_empty": {"min_age_secs": 5}}, ".delete_on_empty has an unknown member `min_age_secs`"),
        ({"delete_on_empty": {"min_age": 5}}, ".delete_on_empty.min_age must be a duration"),
    ],
    ids=str,
)
def test_a_bad_stream_config(tmp_path, config, message):
    for basin in (
        {"name": "good-name", "streams": [{"name": "s", "config": config}]},
        {"name": "good-name", "config": {"default_stream_config": config}},
    ):
        path = write(tmp_path / "init.json", {"basins": [basin]})
        with pytest.raises(UsageError) as caught:
            read_init_file(path)
        assert message in caught.value.message


def test_a_bad_file_keeps_the_server_from_starting(tmp_path, run_s2):
    for path in tmp_path / "none", write(tmp_path / "init.json", "[]"):
        answer = run_s2("lite", "--memory", "--port", "0", "--init-file", path)
        assert answer.returncode == 2
        assert str(path) in answer.stderr.decode()
        assert not answer.stdout
