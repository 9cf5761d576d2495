"""`append --exactly-once --state`: an interrupted load resumes, and the stream equals the input byte for byte, whenever
the command, the server or both are killed."""

import json
import os
import random
import subprocess
import sys
import time

import pytest
from support.waiting import TIMEOUT_S, until

ROUNDS = int(os.environ.get("EXACTLY_ONCE_ROUNDS", "4"))
SEED = int(os.environ.get("EXACTLY_ONCE_SEED", "21"))


@pytest.fixture
def start(tmp_path):
    """Starts `s2 append` with the input in a file, or through a pipe."""
    running = []

    def start(uri, server, path, *options, by_pipe=False, **more):
        command = [sys.executable, "-m", "s2cli", "append", uri, "--state", "load", *options]
        env = {**os.environ, **server.env()}
        with open(path, "rb") as file:
            process = subprocess.Popen(
                command if by_pipe else [*command, str(path)],
                stdin=file if by_pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                **more,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_load_whose_command_and_server_are_killed_is_in_the_stream_once(number, make_server, start, run_s2, tmp_path):
    dice = random.Random(SEED * 1000 + number)
    server = make_server()
    uri = f"s2://{server.create_basin()}/stream"
    path = tmp_path / "input"
    lines = [b"%d %s" % (at, dice.randbytes(dice.choice((3, 30, 300))).hex().encode()) for at in range(60_000)]
    # Equal lines, too, and empty ones: what stands in the stream is told by its place.
    lines = [line if dice.random() < 0.8 else dice.choice((b"", b"same")) for line in lines]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(data)
    options = ["-q", "--create"]
    if dice.random() < 0.3:
        options += ["--transport", "unary"]
    fast = ["--rate", dice.choice(("200000/s", "4MiB/s"))] if dice.random() < 0.5 else []
    by_pipe = dice.random() < 0.5
    runs = kills = 0
    while True:
        runs += 1
        # The first run is too slow to end before it is killed.
        pace = ["--rate", "50000/s"] if runs == 1 else fast
        process = start(uri, server, path, *options, *pace, by_pipe=by_pipe)
        try:
            # A random moment is what is tested; the longer a run lives, the further the load gets.
            code = process.wait(dice.uniform(0.05, 0.35) * (1 + runs / 8))
            assert code == 0, process.communicate()
            break
        except subprocess.TimeoutExpired:
            pass
        fate = dice.random()
        if fate < 0.4:
            process.kill()
        elif fate < 0.7:
            server.kill()
            server.start()
            continue_s = dice.uniform(0, 0.2)
            time.sleep(continue_s)
            process.kill()
        else:
            process.kill()
            server.kill()
            server.start()
        kills += 1
        process.wait(TIMEOUT_S)
    assert kills
    # Once more: there is nothing left to do.
    again = run_s2("append", uri, "--state", "load", path, "-o", "json", env=server.env(), check=True)
    assert json.loads(again.stdout)["durable"] == 0
    assert run_s2("read", uri, env=server.env(), check=True).stdout == data


def test_an_interrupted_load_goes_on_after_the_last_durable_record(server, start, s2, env, tmp_path):
    uri = f"s2://{server.create_basin()}/stream"
    path = tmp_path / "input"
    data = b"".join(b"line %d\n" % at for at in range(20_000))
    path.write_bytes(data)
    process = start(uri, server, path, "--create", "--rate", "2000/s")
    until(lambda: s2("check-tail", uri, at=server, code=None).stdout.split(b" ")[0] not in (b"", b"0"))
    process.terminate()
    said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 143
    assert said.endswith(b"; the same command resumes there\n")
    result = s2("append", uri, "--state", "load", path, at=server)
    assert b"lines are durable since an earlier run: resuming after them\n" in result.stderr
    assert s2("read", uri, at=server).stdout == data


def test_a_file_that_has_grown_is_appended_from_where_it_ended(server, s2, tmp_path):
    uri = f"s2://{server.create_basin()}/stream"
    path = tmp_path / "input"
    path.write_bytes(b"1\n2\n")
    s2("append", uri, "--create", "--state", tmp_path / "a.state", path, at=server)
    s2("append", uri, at=server, stdin=b"of somebody else\n")  # between two runs
    path.write_bytes(b"1\n2\n3\n")
    for _ in range(2):
        s2("append", uri, "--state", tmp_path / "a.state", path, at=server)
    assert s2("read", uri, at=server).stdout == b"1\n2\nof somebody else\n3\n"


def test_lines_that_were_left_out_count_where_a_load_goes_on(server, s2, tmp_path):
    uri = f"s2://{server.create_basin()}/stream"
    options = ["--create", "--state", "json", "--format", "json", "--on-error", "skip", "-H", "k=v"]
    lines = [
        b'{"body":"1"}',
        b"bad",
        b'{"headers":[["","fence"]],"body":"t"}',
        b'{"body":"4"}',
        b"bad",
        b'{"body":"6"}',
    ]
    s2("append", uri, *options, at=server, stdin=b"\n".join(lines[:4]) + b"\n", code=7)
    account = json.loads(s2("append", uri, *options, "-o", "json", at=server, stdin=b"\n".join(lines), code=7).stdout)
    assert (account["durable"], account["rejected_lines"], account["next_line"]) == (1, [[5, 5]], 7)
    assert s2("read", uri, at=server).stdout == b"1\n4\n6\n"


@pytest.mark.parametrize("options", [["--exactly-once"], ["--state", "x"]])
def test_another_writer_ends_it(options, server, start_append, s2):
    uri = f"s2://{server.create_basin()}/stream"
    append = start_append(uri, server.env(), "--create", *options)
    append.feed(b"ours\n")
    until(lambda: s2("read", uri, at=server, code=None).stdout == b"ours\n")
    s2("append", uri, at=server, stdin=b"theirs\n")
    append.feed(b"ours again\n")
    code, account, _ = append.ending()
    assert code == 5, append.said
    assert (account["durable"], account["outcome"]) == (1, "precondition")
    assert any(
        "another writer appends to this stream: the record at sequence number 1 " in line for line in append.said
    )
    assert s2("read", uri, at=server).stdout == b"ours\ntheirs\n"


def test_a_state_is_of_one_stream_one_input_and_one_run_at_a_time(server, start_append, s2, tmp_path):
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    s2("append", uri, "--create", "--state", "x", at=server, stdin=b"first\nsecond\n")
    for words, stdin, text in (
        ([f"s2://{basin}/other", "--create"], b"first\n", b"the state x is of another stream: s2://"),
        ([uri], b"First\nsecond\nthird\n", b"the state x is of another input: this one begins with other bytes"),
        ([uri], b"first\n", b"the state x is of a longer input: 2 lines of it are durable"),
        ([uri, "-m", "2"], b"first\n", b"it cannot be combined with --match-seq-num"),
        ([uri, "--on-lost-ack", "resend"], b"first\n", b"--on-lost-ack cannot be combined with it"),
    ):
        result = s2("append", *words, "--state", "x", at=server, stdin=stdin, code=2)
        assert text in result.stderr
    append = start_append(uri, server.env(), "--state", "x")
    append.feed(b"first\nsecond\nthird\n")
    until(lambda: s2("read", uri, at=server).stdout == b"first\nsecond\nthird\n")
    result = s2("append", uri, "--state", "x", at=server, code=5)
    assert b"another s2 is using the state x right now" in result.stderr
    assert append.finish()[0] == 0
    assert s2("read", uri, at=server).stdout == b"first\nsecond\nthird\n"


def test_a_stream_that_was_made_anew_is_not_gone_on_with(server, s2):
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    s2("append", uri, "--create", "--state", "x", at=server, stdin=b"1\n2\n")
    s2("delete", uri, "--yes", at=server)
    until(lambda: s2("create", uri, at=server, code=None).returncode == 0)
    result = s2("append", uri, "--state", "x", at=server, stdin=b"1\n2\n3\n", code=5)
    assert b"the stream was deleted and created again" in result.stderr


def test_states_are_listed_shown_and_forgotten(server, s2, home):
    uri = f"s2://{server.create_basin()}/stream"
    assert s2("state", "list", "-o", "json").stdout == b"[]\n"
    s2("append", uri, "--create", "--state", "nightly", at=server, stdin=b"1\n2\n")
    (item,) = json.loads(s2("state", "list", "-o", "json").stdout)
    assert (item["name"], item["command"], item["stream"]) == ("nightly", "append", uri)
    assert (item["next_line"], item["next_seq_num"], item["clean"]) == (3, 2, True)
    assert s2("state", "list", "-o", "name").stdout == b"nightly\n"
    assert json.loads(s2("state", "show", "nightly", "-o", "json").stdout) == item
    assert s2("state", "show", "nightly").stdout.startswith(b"WHAT\tVALUE\nname\tnightly\n")
    assert (home / ".local/state/s2/states/nightly.json").stat().st_mode & 0o777 == 0o600
    assert b"add --yes" in s2("state", "reset", "nightly", code=2).stderr
    s2("state", "reset", "nightly", "--yes")
    assert b"there is no state nightly" in s2("state", "reset", "nightly", "--yes", code=3).stderr
    assert b"there is no state nightly" in s2("state", "show", "nightly", code=3).stderr
    s2("append", uri, "--state", "nightly", at=server, stdin=b"1\n2\n")
    assert s2("read", uri, at=server).stdout == b"1\n2\n1\n2\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version":99}', '{"version":1,"command":"append"}', "x" * 100_000])
def test_a_state_that_cannot_be_read_is_named_and_can_be_forgotten(server, s2, home, text):
    uri = f"s2://{server.create_basin()}/stream"
    path = home / ".local/state/s2/states/x.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    result = s2("append", uri, "--create", "--state", "x", at=server, stdin=b"1\n", code=None)
    assert result.returncode in (1, 2)
    s2("state", "reset", "x", "--yes")
    s2("append", uri, "--create", "--state", "x", at=server, stdin=b"1\n")
    assert s2("read", uri, at=server).stdout == b"1\n"
