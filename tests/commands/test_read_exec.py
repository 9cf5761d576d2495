"""`s2 read --exec`: a command for each record, at least once."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

S2 = [sys.executable, "-m", "s2cli"]


@pytest.fixture
def env(shared_server):
    return {**os.environ, **shared_server.env()}


@pytest.fixture
def uri(s2, basin):
    uri = f"s2://{basin}/jobs"
    records = [{"body": f"job {n}\n", "headers": [["app", "web"], ["job id", f"{n}"]]} for n in range(6)]
    data = "".join(json.dumps(record) + "\n" for record in records)
    s2("append", "--create", uri, "--format", "json", stdin=data.encode())
    return uri


def test_run_something_per_record(s2, uri, tmp_path):
    """The body is on stdin, byte for byte, and the rest in the environment."""
    command = (
        f'echo "$S2_RECORD_SEQ_NUM $S2_RECORD_STREAM $S2_RECORD_HEADERS $S2_RECORD_HEADER_JOB_ID" >> {tmp_path}/log;'
        f" cat >> {tmp_path}/log; test $S2_RECORD_TIMESTAMP -gt 1000"
    )
    done = s2("read", uri, "--exec", command)
    assert (tmp_path / "log").read_text() == "".join(
        f'{n} {uri} [["app", "web"], ["job id", "{n}"]] {n}\njob {n}\n' for n in range(6)
    )
    assert done.stdout == b""
    assert re.search(rb": 6 records read \(0 B, \S+ s, \d+ records/s\)\n$", done.stderr)


def test_what_commands_print_is_on_stdout(s2, uri):
    assert s2("read", uri, "--exec", "cat", "-n", "2").stdout == b"job 0\njob 1\n"


def test_bodies_that_are_no_text_and_values_that_no_environment_holds(s2, basin):
    uri = f"s2://{basin}/binary"
    record = {"base64": True, "body": "AP8K", "headers": [["YQ==", "AGI="], ["/w==", "/w=="]]}
    s2("append", "--create", uri, "--format", "json", stdin=json.dumps(record).encode())
    printed = s2("read", uri, "--exec", 'printf %s "${S2_RECORD_HEADER_A-none}$S2_RECORD_HEADER__"; cat').stdout
    assert printed == b"none\xff\0\xff\n"


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--grep", "[135]"], [1, 3, 5]),
        (["--grep", "[135]", "-n", "2"], [1, 3]),
        (["-H", "job id=4"], [4]),
        (["--from", "4"], [4, 5]),
        (["-n", "0"], []),
    ],
)
@pytest.mark.parametrize("parallel", [1, 3])
def test_only_what_is_chosen_is_run(s2, uri, options, numbers, parallel):
    printed = s2("read", uri, "--exec", "cat", "--parallel", parallel, *options).stdout.decode()
    assert sorted(printed.splitlines()) == [f"job {n}" for n in numbers]


def test_the_result_of_jq_is_the_input(s2, uri):
    assert s2("read", uri, "--jq", "select(.seq_num == 2) | .headers[1]", "--exec", "cat").stdout == b'["job id","2"]'


def test_a_command_that_fails_is_run_again_and_then_ends_the_read(s2, uri, tmp_path):
    command = f"echo $S2_RECORD_SEQ_NUM >> {tmp_path}/log; test $S2_RECORD_SEQ_NUM != 2 || exit 7"
    done = s2("read", uri, "--exec", command, "--exec-retries", "2", code=1)
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "2", "2"]
    assert b"the command failed on record 2: exit code 7, 3 times" in done.stderr
    assert b"hint: to resume with that record: --from 2" in done.stderr


def test_a_command_that_recovers_is_a_success(s2, uri, tmp_path):
    command = f"test -e {tmp_path}/x || {{ touch {tmp_path}/x; kill -9 $$; }}; cat"
    assert s2("read", uri, "-n", "2", "--exec", command).stdout == b"job 0\njob 1\n"


@pytest.mark.parametrize("parallel", [1, 4])
def test_what_keeps_failing_goes_to_the_dead_letter_stream(s2, uri, basin, parallel):
    dead = f"s2://{basin}/dead"
    s2("streams", "create", dead)
    command = "test $S2_RECORD_SEQ_NUM != 2 -a $S2_RECORD_SEQ_NUM != 5 && cat"
    words = ["--exec", command, "--exec-retries", "0", "--dead-letter", dead, "--parallel", parallel]
    done = s2("read", uri, *words)
    assert sorted(done.stdout.splitlines()) == [b"job 0", b"job 1", b"job 3", b"job 4"]
    buried = [json.loads(line) for line in s2("read", dead, "-o", "json").stdout.splitlines()]
    assert [record["body"] for record in buried] == ["job 2\n", "job 5\n"]
    headers = dict(buried[0]["headers"])
    assert (headers["app"], headers["s2-source"], headers["s2-seq-num"]) == ("web", uri, "2")
    assert headers["s2-failure"] == "the command failed on record 2: exit code 1"
    assert f"the record goes to {dead}".encode() in done.stderr


def test_an_interrupt_resumes_behind_what_is_done(s2, uri, env, tmp_path):
    """Records that run beside an older one that is not done come again: at least once."""
    command = f"cat >> {tmp_path}/log; test $S2_RECORD_SEQ_NUM != 3 || sleep 1000"
    words = [*S2, "read", "--follow", uri, "--exec", command, "--parallel", "2"]
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: (tmp_path / "log").exists() and "job 5" in (tmp_path / "log").read_text())
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"stopped before sequence number 3; to resume: s2 read " in said
    assert b" --from 3 --follow --exec " in said
    assert said.rstrip().endswith(b" --parallel 2")


def test_the_state_moves_only_on_success(s2, uri, tmp_path):
    words = ["--state", "worker", "--exec-retries", "0", "--exec"]
    command = f"test $S2_RECORD_SEQ_NUM != 3 -o -e {tmp_path}/fixed && cat"
    done = s2("read", uri, *words, command, code=1)
    assert done.stdout == b"job 0\njob 1\njob 2\n"
    assert s2("read", uri, *words, command, code=1).stdout == b""
    (tmp_path / "fixed").touch()
    assert s2("read", uri, *words, command).stdout == b"job 3\njob 4\njob 5\n"
    assert s2("read", uri, *words, command).stdout == b""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--exec", "cat", "-o", "json"], "--output is for what is printed; --exec prints nothing"),
        (["--exec", "cat", "-O", "x"], "--output-file is for what is printed"),
        (["--exec", "cat", "--parse-json"], "--parse-json is for what is printed"),
        (["--exec", "cat", "--speed", "1x"], "--speed is for what is printed"),
        (["--exec", "cat", "s2://no-such-basin/y"], "--exec is for one stream"),
        (["--exec", "cat", "--dead-letter", "x"], '--dead-letter: "x" is not a stream'),
        (["--parallel", "2"], "--parallel is for --exec"),
        (["--exec-retries", "2"], "--exec-retries is for --exec"),
        (["--exec", "cat", "--parallel", "0"], "--parallel"),
    ],
)
def test_options_that_do_not_go_with_commands(run_s2, options, said):
    done = run_s2("read", "s2://no-such-basin/x", *options, env={"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert said in done.stderr.decode()
