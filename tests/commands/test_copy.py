"""Copy stream to stream, keeping headers and time: between streams, basins and servers. Through the installed `s2`."""

import base64
import json
import os
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

LINES = [
    {"timestamp": 1_700_000_000_000, "body": "one"},
    {"timestamp": 1_700_000_000_001, "headers": [["k", "v"], ["k", "w"]], "body": ""},
    {"timestamp": 1_700_000_000_001, "base64": True, "headers": [["/w==", "AA=="]], "body": "AP8K"},
    {"timestamp": 1_700_000_000_002, "body": ""},
    *({"timestamp": 1_700_000_001_000 + number // 3, "body": f"line {number}"} for number in range(2500)),
]


def put(s2, uri, lines, **options):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    s2("append", uri, "--create", "--format", "json", stdin=text.encode(), **options)


def records(s2, uri, **options):
    """Headers, timestamp and body of each record."""
    lines = s2("read", uri, "-o", "json-base64", **options).stdout.splitlines()
    found = []
    for line in map(json.loads, lines):
        found.append((line.get("headers"), line["timestamp"], base64.b64decode(line.get("body", ""))))
    return found


@pytest.fixture
def source(s2, basin):
    uri = f"s2://{basin}/source"
    put(s2, uri, LINES)
    return uri


def test_headers_times_and_any_bytes_are_kept(s2, source, basin):
    result = s2("copy", source, f"s2://{basin}/copy", "--create")
    assert f"{source} to s2://{basin}/copy: 2504 records copied at 0..2503 (".encode() in result.stderr
    assert records(s2, f"s2://{basin}/copy") == records(s2, source)
    account = json.loads(s2("copy", source, f"s2://{basin}/copy", "-o", "json").stdout)
    assert (account["copied"], account["next_source_seq_num"], account["outcome"]) == (0, 2504, "ok")


def test_a_copy_that_has_not_begun_resumes_where_it_would_have_begun(s2, source, unique_basin):
    result = s2("copy", source, f"s2://{unique_basin()}/copy", code=3)
    assert b": 0 records copied (0 B, " in result.stderr
    assert b"; the same command resumes at record 0\n" in result.stderr


def test_nothing_is_copied_to_itself(s2, source, basin):
    assert b"cannot be copied to itself" in s2("copy", source, source, code=2).stderr
    assert b"cannot be copied to itself" in s2("copy", f"s2://{basin}/", f"s2://{basin}/", code=2).stderr
    result = s2("copy", f"s2://{basin}/", f"s2://{basin}/copies/", code=2)
    assert b"/copies/ is part of s2://" in result.stderr
    assert b": the next run would copy the copies\n" in result.stderr
    s2("copy", f"s2://{basin}/source", f"s2://{basin}/source/copy", "--create")  # another stream
    assert len(records(s2, source)) == len(LINES)


@pytest.mark.parametrize("option", ["--src-key-file", "--dst-key-file"])
def test_a_key_file_that_cannot_be_read_is_told_by_its_option(s2, source, basin, option):
    result = s2("copy", source, f"s2://{basin}/copy", option, "missing", code=2)
    assert result.stderr.startswith(f"error: {option} needs a file, but ".encode())


def test_a_copy_goes_on_where_it_ended(s2, source, basin):
    copy = f"s2://{basin}/copy"
    s2("copy", source, copy, "--create", "--to", "2")
    assert len(records(s2, copy)) == 2
    s2("copy", source, copy, "--to", "-500")
    assert len(records(s2, copy)) == 2004
    put(s2, source, [{"timestamp": 1_700_000_002_000, "body": "later"}])
    s2("copy", source, copy)
    assert records(s2, copy) == records(s2, source)


def test_a_stream_is_forked_at_a_position(s2, source, basin):
    everything = records(s2, source)
    for name, words, expected in (
        ("a", ["--from", "2", "--to", "4"], everything[2:4]),
        ("b", ["--from", "-3"], everything[-3:]),
        ("c", ["--from", "@1700000000001", "--to", "@1700000001001"], everything[1:7]),
        ("d", ["--to", "start"], []),
        ("e", ["--from", "@1900000000000"], []),
    ):
        s2("copy", source, f"s2://{basin}/{name}", "--create", *words)
        assert records(s2, f"s2://{basin}/{name}") == expected, name
    assert (
        b"ends at sequence number 2504, before 99999, where the copy is to start\n"
        in s2("copy", source, f"s2://{basin}/f", "--from", "99999", code=5).stderr
    )


def test_command_records_are_left_out_unless_they_are_asked_for(s2, source, basin):
    before = records(s2, source)
    s2("fence", source, "mine")
    s2("append", source, stdin=b"behind\n")
    result = s2("copy", source, f"s2://{basin}/copy", "--create")
    assert b"; left out 1 command record (--commands send copies them)\n" in result.stderr
    copied = records(s2, f"s2://{basin}/copy")
    assert (copied[:-1], copied[-1][2]) == (before, b"behind")
    s2("copy", source, f"s2://{basin}/all", "--create", "--commands", "send")
    assert records(s2, f"s2://{basin}/all") == records(s2, source)


def test_all_below_a_name_or_a_whole_basin_is_copied(s2, shared_server, basin, unique_basin):
    for name in ("app/a", "app/b/c", "other"):
        put(s2, f"s2://{basin}/{name}", [{"body": name}])
    target = unique_basin()
    s2("copy", f"s2://{basin}/app/", f"s2://{target}/2026/", "--create")
    assert s2("list", target, "-o", "name").stdout.decode() == f"s2://{target}/2026/a\ns2://{target}/2026/b/c\n"
    s2("copy", f"s2://{basin}", f"s2://{target}", "--create")
    assert s2("read", f"s2://{target}/2026/b/c").stdout == s2("read", f"s2://{target}/app/b/c").stdout == b"app/b/c\n"
    assert s2("read", f"s2://{target}/other").stdout == b"other\n"
    assert b"no stream name begins with" in s2("copy", f"s2://{basin}/none/", f"s2://{target}/x/").stderr
    assert b"are not of a kind" in s2("copy", f"s2://{basin}/app/", f"s2://{target}/x", code=2).stderr


def test_a_copy_goes_from_one_server_to_another_with_their_keys(s2, run_s2, make_server, home):
    near, far = make_server(), make_server(data=home / "far")
    profiles = "".join(
        f'[{name}]\naccount_endpoint = "{server.url}"\nbasin_endpoint = "{server.url}"\n'
        for name, server in (("near", near), ("far", far))
    )
    (home / ".config/s2").mkdir(parents=True)
    (home / ".config/s2/profiles.toml").write_text(profiles)
    keys = []
    for name, server in (("near", near), ("far", far)):
        keys.append(home / f"{name}.key")
        keys[-1].write_bytes(base64.b64encode(os.urandom(32)))
        s2("create", f"s2://{name}-vault", "--stream-cipher", "aes-256-gcm", at=server)
    put(s2, "s2://near-vault/a", LINES[:3], at=near, env={"S2_ENCRYPTION_KEY": keys[0].read_text()})
    words = ["copy", "s2://near-vault/a", "s2://far-vault/b", "--create", "--src-key-file", keys[0]]
    run_s2(*words, "--src-profile", "near", "--dst-profile", "far", "--dst-key-file", keys[1], check=True)
    assert [body for _, _, body in records(
        lambda *arguments, **options: s2(*arguments, "-k", keys[1], at=far), "s2://far-vault/b"
    )] == [b"one", b"", b"\0\xff\n"]  # fmt: skip
    # One side may have what all options say.
    run_s2(*words, "--src-profile", "near", "--dst-key-file", keys[1], env=far.env(), check=True)


def test_a_copy_follows_until_it_is_stopped_and_goes_on_then(s2, env, source, basin):
    copy = f"s2://{basin}/copy"
    command = [sys.executable, "-m", "s2cli", "copy", source, copy, "--create", "--follow"]
    with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE) as process:
        until(lambda: s2("check-tail", copy, code=None).stdout.startswith(b"2504 @"))
        put(s2, source, [{"body": "live"}])
        until(lambda: s2("check-tail", copy).stdout.startswith(b"2505 @"))
        process.terminate()
        said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 143
    assert b": 2505 records copied at 0..2504 (" in said
    assert b"; the same command resumes at record 2505\n" in said
    put(s2, source, [{"body": "later"}])
    s2("copy", source, copy)
    assert records(s2, copy) == records(s2, source)


def test_another_writer_in_the_copy_ends_it(s2, env, source, basin):
    copy = f"s2://{basin}/copy"
    command = [sys.executable, "-m", "s2cli", "copy", source, copy, "--create", "--follow"]
    with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE) as process:
        until(lambda: s2("check-tail", copy, code=None).stdout.startswith(b"2504 @"))
        s2("append", copy, stdin=b"of somebody else\n")
        put(s2, source, [{"body": "live"}])
        said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 5
    assert b"another writer appends to this stream: the record at sequence number 2504 " in said


def test_what_is_not_there_is_said(s2, basin, source):
    assert s2("copy", f"s2://{basin}/missing", f"s2://{basin}/copy", code=3).stderr.startswith(b"error: ")
    assert s2("copy", source, f"s2://{basin}/copy", code=3).stderr
    assert b"--follow has no end" in s2("copy", source, source, "--follow", "--to", "5", code=2).stderr
