"""The input of an append: several files, command records in it, and how an account says where to resume."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from support.waiting import until


@pytest.fixture
def files(tmp_path, monkeypatch):
    """a.log, which no newline ends, b.log and one whose name a shell would take apart."""
    (tmp_path / "a.log").write_bytes(b"a1\na2")
    (tmp_path / "b.log").write_bytes(b"b1\nb2\n")
    (tmp_path / "c d.log").write_bytes(b"c1\n")
    (tmp_path / "empty").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = b"a1\na2\nb1\nb2\nc1\n"


@pytest.mark.parametrize(
    "words",
    [
        ["URI", "a.log", "empty", "b.log", "c d.log"],
        ["-i", "a.log", "-i", "b.log", "URI", "--input", "c d.log"],
        ["a.log", "URI", "b.log", "c d.log"],
        ["URI", "-", "b.log", "c d.log"],
        ["URI", "a.log", "-", "c d.log"],
    ],
)
def test_several_inputs_are_read_in_order(s2, uri, files, words):
    stdin = {b"-": b""}.get(b"", b"a1\na2" if words[1] == "-" else b"b1\nb2")
    s2("append", *(uri if word == "URI" else word for word in words), stdin=stdin)
    assert s2("read", uri).stdout == ALL


def test_the_stream_may_come_from_the_environment(s2, uri, files):
    s2("append", "a.log", "b.log", env={"S2_STREAM": uri})
    assert s2("read", uri).stdout == b"a1\na2\nb1\nb2\n"
    result = s2("append", "quickstart/events", code=2)
    assert b"quickstart/events is taken for a file: a stream begins with s2://" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a.log", "missing.log"], "cannot read missing.log: no such file or directory"),
        (["a.log", "."], "cannot read .: is a directory"),
        (["-", "-"], "standard input (-) was given twice"),
        (["-i", "a.log", "b.log"], "--input and the operand b.log both name inputs: use one or the other"),
        (["s2://other-basin/x"], "two streams were given: URI and s2://other-basin/x"),
        (["--commands", "send"], "--commands needs --format json or json-base64"),
    ],
)
def test_inputs_that_cannot_be_are_refused_before_anything_is_sent(s2, uri, files, words, text):
    result = s2("append", uri, *words, code=2)
    assert text.replace("URI", uri) in result.stderr.decode()
    assert s2("check-tail", uri).stdout.startswith(b"0 @")


def test_a_named_pipe_is_waited_for_behind_a_file(s2, uri, files):
    os.mkfifo("pipe")

    def write():
        with open("pipe", "wb") as pipe:
            pipe.write(b"from the pipe\n")

    writer = threading.Thread(target=write)
    writer.start()
    result = s2("append", uri, "a.log", "pipe", "b.log")
    writer.join()
    assert result.returncode == 0
    assert s2("read", uri).stdout == b"a1\na2\nfrom the pipe\nb1\nb2\n"


# Where to resume


def resume(result, env):
    """Runs the command that the account gives, as a user would who pastes it, in a shell."""
    command = re.search(r"to resume(?: after it)?: (.*)\n", result.stderr.decode())[1]
    with_python = command.replace("s2 append", f"{shlex.quote(sys.executable)} -m s2cli append")
    done = subprocess.run(with_python, shell=True, env={**os.environ, **env}, capture_output=True, timeout=60)
    assert done.returncode == 0, done
    return command


BAD = b"x" * (1 << 20)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (("a.log", b"a1\n" + BAD + b"\na3"), b"a1\na3\nb1\nb2\nc1\n"),
        (("a.log", BAD + b"\na2"), b"a2\nb1\nb2\nc1\n"),
        (("b.log", b"b1\n" + BAD + b"\n"), b"a1\na2\nb1\nc1\n"),
        (("b.log", BAD + b"\nb2"), b"a1\na2\nb2\nc1\n"),
    ],
)
def test_after_a_bad_line_the_rest_is_appended_by_the_command_that_is_printed(s2, uri, env, files, bad, expected):
    name, data = bad
    (files / name).write_bytes(data)
    result = s2("append", uri, "a.log", "b.log", "c d.log", code=7)
    line = 1 + data[: data.index(b"xx")].count(b"\n")
    assert result.returncode == 7
    assert f"error: {name}: line {line}: the record has ".encode() in result.stderr
    assert f"; next line: {line} of {name}; correct it, or ".encode() in result.stderr
    resume(result, env)
    assert s2("read", uri).stdout == expected


def test_the_command_that_resumes_appends_in_the_same_way(s2, shared_server, env, files, basin):
    uri = f"s2://{basin}/it's a *"
    shared_server.create_stream(basin, "it's a *")
    (files / "-odd name").write_bytes(b'{"body":"1"}\nnot JSON\n{"body":"3"}\n')
    s2("fence", uri, "my token")
    result = s2(
        "append",
        uri,
        "./-odd name",
        "--format",
        "json",
        "-f",
        "my token",
        "-m",
        "1",
        "-H",
        "k=a b",
        "--commands",
        "send",
        code=7,
    )
    command = resume(result, env)
    assert command == (
        f"tail -n +3 './-odd name' | s2 append 's2://{basin}/it'\"'\"'s a *' --format json --commands send"
        " --header 'k=a b' --fencing-token 'my token' --match-seq-num 2"
    )
    lines = s2("read", uri, "-o", "json").stdout.splitlines()
    assert [(json.loads(line)["body"], json.loads(line)["headers"]) for line in lines[1:]] == [
        ("1", [["k", "a b"]]),
        ("3", [["k", "a b"]]),
    ]


def test_what_ends_the_append_early_resumes_at_the_next_line(s2, uri, env, files):
    os.mkfifo("pipe")
    with subprocess.Popen(
        [sys.executable, "-m", "s2cli", "append", uri, "a.log", "pipe", "b.log"],
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
    ) as process:
        with open("pipe", "wb") as pipe:
            pipe.write(b"p1\n")
            pipe.flush()
            until(lambda: s2("check-tail", uri).stdout.startswith(b"3 @"))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode().endswith(f"; next line: 2 of pipe; to resume: tail -n +2 pipe | s2 append {uri} - b.log\n")


def test_no_command_is_printed_where_none_would_resume(s2, uri, files):
    for words, stdin in [
        (["-0"], b"good\0" + BAD + b"\0"),  # `tail` counts newlines
        (["a.log", "-", "b.log"], b""),
    ]:
        if stdin == b"":
            (files / "a.log").write_bytes(b"a1\n" + BAD)
        result = s2("append", uri, *words, stdin=stdin, code=7)
        assert b"; correct it\n" in result.stderr
    # A condition that failed would fail again.
    result = s2("append", uri, "b.log", "-m", "99", code=5)
    assert b"to resume" not in result.stderr


def test_the_json_account_of_several_inputs(s2, uri, files):
    (files / "b.log").write_bytes(b"b1\n" + BAD + b"\n")
    account = json.loads(s2("append", uri, "a.log", "b.log", "c d.log", "-o", "json", code=7).stdout)
    assert (account["read"], account["durable"], account["next_line"]) == (3, 3, 4)
    assert account["next_input"] == {"input": "b.log", "line": 2}
    assert account["inputs"] == [{"input": "a.log", "lines": 2}, {"input": "b.log", "lines": 1}]


# Command records


LINES = (
    b'{"headers":[["","fence"]],"body":"mine"}\n'
    b'{"body":"one"}\n'
    b'{"headers":[["","trim"]],"body":"\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0001"}\n'
    b'{"headers":[["","dHJpbQ=="]],"body":"AAAAAAAAAAI=","base64":true}\n'
    b'{"body":"two","headers":[["k","v"]]}\n'
    b'{"headers":[["","fence"]]}\n'
)


def test_command_records_are_left_out_and_counted(s2, uri):
    result = s2("append", uri, "--format", "json", "-H", "all=x", stdin=LINES)
    assert b"2 records durable at 0..1 (" in result.stderr
    assert result.stderr.endswith(b"; skipped 4 command records (--commands send sends them)\n")
    assert s2("read", uri).stdout == b"one\ntwo\n"
    account = json.loads(s2("append", uri, "--format", "json", "-o", "json", stdin=LINES).stdout)
    assert (account["read"], account["durable"], account["skipped_commands"], account["next_line"]) == (6, 2, 4, 7)


def test_command_records_are_sent_where_that_is_asked(s2, uri):
    result = s2("append", uri, "--format", "json", "--commands", "send", "-H", "all=x", stdin=LINES)
    assert b"6 records durable at 0..5 (" in result.stderr
    assert b"skipped" not in result.stderr
    result = s2("read", uri, "-o", "json")
    assert [json.loads(line)["seq_num"] for line in result.stdout.splitlines()] == [2, 3, 4, 5]


def test_lines_that_are_left_out_count_where_the_account_names_lines(s2, uri):
    result = s2("append", uri, "--format", "json", stdin=LINES + b"bad\n", code=7)
    assert b"error: line 7: not valid JSON" in result.stderr
    assert b"6 read, 2 sent, 2 durable at 0..1 (" in result.stderr
    assert b"; next line: 7; correct it, or to resume after it: tail -n +8 FILE" in result.stderr


def test_a_copy_of_a_stream_that_was_fenced_and_trimmed_has_all_its_records(s2, uri, shared_server, basin):
    s2("append", uri, stdin=b"0\n1\n2\n3\n")
    s2("trim", uri, "2")
    s2("fence", uri, "mine")
    s2("append", uri, stdin=b"4\n")
    shared_server.create_stream(basin, "copy")
    copy = f"s2://{basin}/copy"
    s2("append", copy, "--format", "json", stdin=s2("read", uri, "-o", "json").stdout)
    assert s2("read", copy).stdout == s2("read", uri).stdout == b"2\n3\n4\n"
