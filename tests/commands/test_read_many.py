"""Several streams at once, or all whose names begin alike: ordered by time, labelled, with those that appear later."""

import json
import os
import pty
import select
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until, until_readable

S2 = [sys.executable, "-m", "s2cli"]
START = 1_600_000_000_000


@pytest.fixture
def env(shared_server):
    return {**os.environ, **shared_server.env()}


@pytest.fixture
def app(s2, basin):
    """Three streams below one prefix, and one beside them; gives the prefix."""
    fill(s2, f"s2://{basin}/app/a", [(0, "a0"), (30, "a1"), (30, "a2")])
    fill(s2, f"s2://{basin}/app/b", [(10, "b0"), (30, "b1")])
    fill(s2, f"s2://{basin}/app/long/c", [(5, "c0"), (40, "c1")])
    fill(s2, f"s2://{basin}/other", [(1, "other")])
    return f"s2://{basin}/app/"


def fill(s2, uri, records):
    lines = [json.dumps({"timestamp": START + time, "body": body, "headers": [["n", body]]}) for time, body in records]
    s2("append", "--create", uri, "--format", "json", stdin="\n".join(lines).encode())


ORDER = ["a0", "c0", "b0", "a1", "a2", "b1", "c1"]


def test_several_streams_at_once_by_prefix_ordered_by_time_and_labelled(s2, app):
    printed = s2("read", app + "*").stdout.decode()
    assert printed.splitlines() == [f"app/{'long/c' if body[0] == 'c' else body[0]}\t{body}" for body in ORDER]


def test_several_streams_that_are_named(s2, app, basin):
    printed = s2("read", f"{app}b", f"s2://{basin}/other", f"{app}b").stdout.decode()
    assert printed == "other\tother\napp/b\tb0\napp/b\tb1\n"
    assert s2("read", f"s2://{basin}/o*", f"{app}b", "-t", r"%v\n").stdout == b"other\nb0\nb1\n"


@pytest.mark.parametrize("options", [[], ["-t", r"%v\n"]])
def test_a_command_record_is_told_with_its_stream(s2, app, options):
    s2("fence", app + "b", "mine")
    assert f'{app}b: new fencing token "mine" // 2 @ ' in s2("read", app + "*", *options).stderr.decode()
    assert s2("read", app + "b", *options).stderr.startswith(b'new fencing token "mine" // 2 @ ')


def test_labels_name_the_basin_where_there_are_several(s2, app, shared_server):
    other = shared_server.create_basin()
    fill(s2, f"s2://{other}/x", [(7, "x0")])
    basin = app.split("/")[2]
    printed = s2("read", f"{app}b", f"s2://{other}/x").stdout.decode()
    assert printed == f"{other}/x\tx0\n{basin}/app/b\tb0\n{basin}/app/b\tb1\n"


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (["--raw"], "".join(ORDER)),
        (["-t", r"%s|%o %v\n", "-n", "2"], "APPa|0 a0\nAPPlong/c|0 c0\n"),
        (["--grep", "[ab]1"], "app/a\ta1\napp/b\tb1\n"),
        (["--header", "n=c1"], "app/long/c\tc1\n"),
        (["-n", "3", "--raw", "--grep-not", "c"], "a0b0a1"),
        (["--from", f"@{START + 30}", "--raw"], "a1a2b1c1"),
        (["--to", f"@{START + 10}", "--raw"], "a0c0"),
        (["--from", "-1", "--raw"], "a2b1c1"),
        (["--from", "2", "--raw"], "a2"),
        (["--from", "end", "--raw"], ""),
        (["-n", "0"], ""),
        (["--jq", "select(.seq_num == 0) | [.stream, .body]"], '["APPa","a0"]\n["APPlong/c","c0"]\n["APPb","b0"]\n'),
        (["--speed", "1000x", "--raw"], "".join(ORDER)),
    ],
)
def test_the_options_of_one_stream_hold_for_all(s2, app, options, output):
    assert s2("read", app + "*", *options).stdout.decode() == output.replace("APP", app)


def test_json_names_the_stream_and_is_taken_back(s2, app, basin):
    printed = s2("read", app + "*", "-o", "jsonl").stdout
    records = [json.loads(line) for line in printed.splitlines()]
    assert [record["body"] for record in records] == ORDER
    assert [record["stream"].removeprefix(app)[0] for record in records] == ["a", "l", "b", "a", "a", "b", "l"]
    s2("append", "--create", f"s2://{basin}/all", "--format", "json", stdin=printed)
    copied = [json.loads(line) for line in s2("read", f"s2://{basin}/all", "-o", "json").stdout.splitlines()]
    for record in records:
        del record["stream"], record["seq_num"]
    for record in copied:
        del record["seq_num"]
    assert copied == records


def test_tail_of_several_streams(s2, app):
    assert s2("tail", app + "*", "-1", "--raw").stdout == b"a2b1c1"


def test_a_file_has_them_all_and_the_closing_line_counts(s2, app, tmp_path):
    done = s2("read", app + "*", "-O", tmp_path / "all", "--raw", "--grep", "1")
    assert (tmp_path / "all").read_bytes() == b"a1b1c1"
    assert b"3 streams: 3 records read to " in done.stderr
    assert b", 4 skipped (6 B, " in done.stderr


def test_an_interrupted_file_of_several_streams_stays_as_it_was(s2, app, env, tmp_path):
    path, partial = tmp_path / "all", tmp_path / "all.partial"
    path.write_bytes(b"old")
    fill(s2, app + "late", [(3_600_000, "late")])
    command = [*S2, "read", app + "*", "--raw", "--speed", "1x", "-O", str(path)]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, bufsize=0) as process:
        until(lambda: partial.exists() and partial.read_bytes() == "".join(ORDER).encode())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert path.read_bytes() == b"old"
    assert f"{path} is as it was; what was read is in {partial}\n".encode() in said
    assert b"stopped; to resume " in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["s2://BASIN/none*"], 3, "no stream's name begins so: s2://BASIN/none*"),
        (["s2://BASIN/app/a", "s2://BASIN/none"], 3, "s2://BASIN/none: "),
        (["s2://BASIN/app/*", "--bytes", "5"], 2, "--bytes is for one stream"),
        (["s2://BASIN/app/*", "--stream", "s2://BASIN/x"], 2, "is for one stream"),
        (["s2://BASIN/app/*", "word"], 2, "s2 read: unexpected argument: word"),
        (["s2://BASIN/app/*", "-t", "%q"], 2, "is not a verb"),
        (["s2://BASIN/app/*", "--stream"], 2, "--stream"),
    ],
)
def test_what_cannot_be_read_at_once(s2, app, basin, words, code, said):
    done = s2("read", *(word.replace("BASIN", basin) for word in words), code=code)
    assert done.stdout == b""
    assert said.replace("BASIN", basin) in done.stderr.decode()


def test_a_stream_whose_name_ends_in_a_star_is_read_by_an_option(s2, app, basin):
    fill(s2, f"s2://{basin}/app/*", [(0, "star")])
    assert s2("read", "--stream", f"s2://{basin}/app/*").stdout == b"star\n"


def read_until(process, words, output=b""):
    while words not in output:
        until_readable(process.stdout, output)
        piece = process.stdout.read(65536)
        assert piece, (output, process.stderr.read())
        output += piece
    return output


def test_a_follow_shows_streams_that_appear_later(s2, app, env):
    command = [*S2, "read", "--follow", app + "*", "--from", "end", "--raw"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:

        def follows():
            s2("append", app + "a", stdin=b"mark;")
            return select.select([process.stdout], [], [], 0.1)[0]

        until(follows)
        s2("append", "--create", app + "new", stdin=b"first;")
        read_until(process, b"first;")
        s2("append", app + "a", stdin=b"second;")
        s2("append", app + "new", stdin=b"third;")
        read_until(process, b"third;")
        s2("streams", "delete", app + "new", "--yes")
        s2("append", app + "b", stdin=b"fourth;")
        read_until(process, b"fourth;")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"to resume (records of that millisecond come again): s2 read '" + app.encode() + b"*' --from @" in said
    assert said.rstrip().endswith(b" --follow --raw")


def test_a_follow_of_named_streams_keeps_the_order_of_what_was_there(app, env):
    command = [*S2, "read", "--follow", app + "b", app + "a", "-t", r"%v\n"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        output = read_until(process, b"a2\n")
        process.send_signal(signal.SIGUSR1)
        until_readable(process.stderr)
        assert process.stderr.readline().startswith(b"2 streams: 5 records read (")
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 0
    assert output == b"a0\nb0\nb1\na1\na2\n"


def test_a_follow_of_no_stream_waits_for_the_first(s2, basin, env):
    command = [*S2, "tail", "-f", f"s2://{basin}/none/*"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        s2("append", "--create", f"s2://{basin}/none/x", stdin=b"here\n")
        assert read_until(process, b"\n") == b"none/x\there\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)


def test_labels_are_coloured_and_aligned_on_a_terminal(app, env):
    ours, theirs = pty.openpty()
    with subprocess.Popen([*S2, "read", app + "*"], env={**env, "TERM": "xterm"}, stdout=theirs) as process:
        os.close(theirs)
        said = b""
        while b"c1" not in said:
            until_readable(ours, said)
            said += os.read(ours, 4096)
        assert process.wait(TIMEOUT_S) == 0
    os.close(ours)
    lines = said.decode().splitlines()
    assert lines[0] == "\x1b[35mapp/a     \x1b[0m  a0"
    assert lines[1] == "\x1b[31mapp/long/c\x1b[0m  c0"
    assert lines[2] == "\x1b[32mapp/b     \x1b[0m  b0"
