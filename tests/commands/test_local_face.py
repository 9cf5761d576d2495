"""The profile `local` from the command line: no configuration, and nothing to anybody else."""

import json
import socket

import pytest


@pytest.fixture
def elsewhere():
    """A listener that nobody may connect to, and the environment that names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "secret"}
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_local_sends_nothing_to_the_endpoints_of_the_environment(run_s2, elsewhere):
    uri = "s2://quickstart/numbers"
    done = run_s2("--local", "append", "--create", uri, "-v", stdin=b"one\ntwo\n", env=elsewhere)
    assert done.returncode == 0, done
    assert b"S2_ACCESS_TOKEN and S2_ACCOUNT_ENDPOINT and S2_BASIN_ENDPOINT ignored" in done.stderr
    assert run_s2("read", "--local", uri, env=elsewhere).stdout == b"one\ntwo\n"
    listed = run_s2("basins", "list", "--local", "-o", "json", env=elsewhere)
    assert [item["name"] for item in json.loads(listed.stdout)] == ["quickstart"]


def test_profile_and_stream_of_the_environment(run_s2):
    env = {"S2_PROFILE": "local", "S2_STREAM": "s2://quickstart/numbers"}
    assert run_s2("append", "--create", "-q", stdin=b"one\n", env=env).stderr == b""
    assert run_s2("read", env=env).stdout == b"one\n"
    assert run_s2("streams", "list", "quickstart", "-o", "name", env=env).stdout == b"s2://quickstart/numbers\n"


@pytest.mark.parametrize("command", ["append", "read", "tail", "check-tail", "basins list"])
def test_without_profile_token_and_endpoints_everything_fails_with_4(run_s2, command):
    done = run_s2(*command.split(), env={"S2_STREAM": "s2://quickstart/numbers"})
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"error: no access token, no endpoints and no profile")
    assert b"--local" in done.stderr


@pytest.mark.parametrize("command", ["append", "read", "tail", "check-tail", "trim 5", "fence t"])
def test_a_record_command_without_a_stream_names_the_ways_to_give_one(run_s2, command):
    done = run_s2("--local", *command.split())
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--stream, S2_STREAM" in done.stderr


def test_a_bad_stream_starts_no_server(run_s2, home):
    done = run_s2("--local", "append", "quickstart/numbers")
    assert done.returncode == 2
    assert b"s2://" in done.stderr
    assert not (home / ".local/share/s2").exists()
