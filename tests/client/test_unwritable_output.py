"""What was done is told where stdout cannot be written: the result of a command that changes something is not lost."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def s2_unheard(shared_server):
    """Runs `s2` with a stdout that can only be read, or that is a pipe which nobody reads; exit code and stderr."""

    def run(*arguments, stdin=b"", closed=False):
        stdout = os.open(os.devnull, os.O_RDONLY)
        if closed:
            os.close(stdout)
            reader, stdout = os.pipe()
            os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "s2cli", *arguments],
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **shared_server.env()},
            check=False,
        )
        os.close(stdout)
        return done.returncode, done.stderr.decode().splitlines()

    return run


@pytest.fixture
def uri(shared_server, basin):
    return f"s2://{basin}/{shared_server.create_stream(basin)}"


FAILED = "cannot write to standard output: bad file descriptor; this was done: "


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_an_append_prints_its_account_on_stderr(s2_unheard, uri, options):
    code, (said,) = s2_unheard("append", uri, "-o", "json", *options, stdin=b"1\n2\n")
    assert code == 1
    assert f'"message": "{FAILED}{uri}: 2 records durable at 0..1 ' in said


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_why_an_append_failed_is_its_error(s2_unheard, uri, options):
    code, said = s2_unheard("append", uri, "-o", "json", "-m", "7", *options, stdin=b"1\n")
    assert code == 5
    assert said[0].startswith(f"warning: {FAILED}{uri}: 1 read, 1 sent, 0 durable ")
    assert "--match-seq-num" in said[1]


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_a_trim_and_a_fence_say_what_they_did(s2_unheard, uri, options):
    code, (said,) = s2_unheard("fence", uri, "t", "-o", "json", *options)
    assert code == 1
    assert json.loads(said)["error"]["message"].startswith(f'{FAILED}{uri}: fencing token "t" appended at 0 // tail: 1')
    code, (said,) = s2_unheard("trim", uri, "1", "-o", "json", *options)
    assert code == 1
    assert json.loads(said)["error"]["message"].startswith(f"{FAILED}{uri}: trim point 1 appended at 1 // tail: 2 @ ")


@pytest.mark.parametrize("output", ["json", "table"])
def test_what_was_done_is_told_whoever_is_quiet(s2_unheard, unique_basin, output):
    basin = unique_basin()
    uri = f"s2://{basin}/s"
    for command, done in (
        (["create", f"s2://{basin}"], f"created basin {basin}"),
        (["create-stream", uri], "✓ Stream created"),
        (["ensure", uri, "--retention-policy", "1d"], f"changed stream {uri}"),
        (["streams", "reconfigure", uri, "--retention-policy", "2d"], f"reconfigured stream {uri}"),
        (["locations", "set-default", "local"], "the default location is local"),
    ):
        code, (said,) = s2_unheard(*command, "-q", "-o", output)
        message = json.loads(said)["error"]["message"] if output == "json" else said.removeprefix("error: ")
        assert (code, message) == (1, FAILED + done)


@pytest.mark.parametrize("command", [["tokens", "issue"], ["issue-access-token"], ["tokens", "issue", "-o", "table"]])
@pytest.mark.parametrize("closed", [False, True])
def test_a_token_that_nobody_got_is_named(s2_unheard, basin, command, closed):
    name = f"{basin}/lost token"
    code, said = s2_unheard(*command, name, "--op-group-perms", "account=r", "--basins-prefix", "", closed=closed)
    assert code == 1
    assert said[-1] == f"hint: it was issued, and is lost: s2 tokens revoke '{name}'"


@pytest.mark.parametrize("output", ["json", "jsonl", "table", "name"])
@pytest.mark.parametrize("closed", [False, True])
def test_what_was_made_or_changed_is_told_before_it_is_printed(s2_unheard, unique_basin, output, closed):
    basin = unique_basin()
    uri = f"s2://{basin}/s"
    config = ["--retention-policy", "1d"]
    for command, done in (
        (["create", f"s2://{basin}"], f"created basin {basin}"),
        (["create", uri], f"created stream {uri}"),
        (["basins", "create", f"{basin}-2"], f"created basin {basin}-2"),
        (["streams", "create", f"{uri}2"], f"created stream {uri}2"),
        (["ensure", uri, *config], f"changed stream {uri}"),
        (["ensure", f"s2://{basin}-3"], f"created basin {basin}-3"),
        (["basins", "reconfigure", basin, *config], f"reconfigured basin {basin}"),
        (["streams", "reconfigure", uri, *config], f"reconfigured stream {uri}"),
        (["reconfigure-stream", uri, *config], "✓ Stream reconfigured"),
        (["reconfigure-basin", basin, *config], "✓ Basin reconfigured"),
        (["locations", "set-default", "local"], "the default location is local"),
    ):
        asked_for = [] if command[0].startswith("reconfigure-") else ["-o", output]
        code, said = s2_unheard(*command, *asked_for, closed=closed)
        assert (code, said[0]) == (0 if closed else 1, done), said
        assert closed or "cannot write to standard output" in said[1]
