"""Records in: what makes a record of the input of an append, what becomes of a line that is none, and how fast they
leave. Through the installed `s2`: bytes in the stream, the account, the exit code."""

import json
import os
import time

import pytest


@pytest.fixture
def uri(shared_server, basin):
    """A new stream, whose writers may say when."""
    shared_server.create_stream(basin, timestamping={"mode": "client-prefer", "uncapped": True})
    return f"s2://{basin}/stream"


@pytest.fixture
def records(s2, uri):
    """What the stream holds, as objects."""
    return lambda: [json.loads(line) for line in s2("read", uri, "-o", "json").stdout.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# One file = one record; a delimiter; NUL


def test_one_file_is_one_record(s2, uri, records, folder):
    (folder / "a.bin").write_bytes(b"one\ntwo\n")
    (folder / "empty").write_bytes(b"")
    (folder / "b.bin").write_bytes(b"x" * 200_000)
    account = json.loads(s2("append", uri, "--raw", "a.bin", "empty", "b.bin", "-o", "json").stdout)
    assert (account["read"], account["durable"]) == (3, 3)
    assert [record.get("body", "") for record in records()] == ["one\ntwo\n", "", "x" * 200_000]
    s2("append", uri, "--raw", stdin=b"from\nstdin")
    assert records()[-1]["body"] == "from\nstdin"


def test_a_file_that_is_no_record_is_named_and_the_rest_can_be_appended(s2, uri, records, folder):
    for name, size in (("a", 3), ("b", 1 << 20), ("c", 4)):
        (folder / name).write_bytes(b"x" * size)
    result = s2("append", uri, "--raw", "a", "b", "c", code=7)
    assert b"error: b: the record has " in result.stderr
    assert f"; correct it, or to resume after it: s2 append {uri} --raw c\n".encode() in result.stderr
    s2("append", uri, "--raw", "--on-error", "skip", "b", "c", code=7)
    assert [len(record["body"]) for record in records()] == [3, 4]


@pytest.mark.parametrize(
    ("words", "data", "expected"),
    [
        (["--delimiter", ";"], b"a;b\nc;;d", [b"a", b"b\nc", b"", b"d"]),
        (["--delimiter", r"\r\n"], b"a\nb\r\nc\rd\r\n", [b"a\nb", b"c\rd"]),
        (["--delimiter", r"\x1e\0"], b"a\x1eb\x1e\0c\x1e", [b"a\x1eb", b"c\x1e"]),
        (["--delimiter", "END"], b"aENENDbEN", [b"aEN", b"bEN"]),
        (["-0"], b"a\nb\0\0c", [b"a\nb", b"", b"c"]),
        (["--delimiter", "é"], "aéb".encode(), [b"a", b"b"]),
    ],
)
def test_a_delimiter_or_nul_ends_records(s2, uri, words, data, expected):
    s2("append", uri, *words, stdin=data)
    assert s2("read", uri, "-0").stdout.split(b"\0")[:-1] == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--raw", "-0"], "--raw and -0 each say where a record ends: give one of them"),
        (["--delimiter", ";", "-0"], "-0 and --delimiter each say where a record ends"),
        (["--raw", "--format", "json"], "--raw takes an input as it is: it cannot be --format json too"),
        (["--delimiter", ""], "a delimiter must not be empty"),
        (["--delimiter", r"\q"], "has an escape that is none of"),
        (["--rate", "5"], "is not a rate: write 500/s, 30/m or 2MiB/s"),
        (["--rate", "0/s"], "is not a rate"),
    ],
)
def test_what_contradicts_itself_is_refused(s2, uri, words, text):
    assert text in s2("append", uri, *words, code=2).stderr.decode()
    assert s2("check-tail", uri).stdout.startswith(b"0 @")


# The same header on every record; a timestamp of the body


def test_the_same_header_on_every_record(s2, uri, records):
    s2("append", uri, "-H", "host=web-1", "-H", "empty=", stdin=b"a\nb\n")
    s2("append", uri, "-H", "x=é=y", "--format", "json", stdin=b'{"body":"c","headers":[["own","1"]]}\n')
    assert [record["headers"] for record in records()] == [
        [["host", "web-1"], ["empty", ""]],
        [["host", "web-1"], ["empty", ""]],
        [["own", "1"], ["x", "é=y"]],
    ]


def test_the_timestamp_comes_from_a_field_of_the_body(s2, uri, records):
    lines = [
        b'{"at":1700000000000}',
        b'{"at":1700000001}',
        b'{"at":1700000002.5}',
        b'{"at":"2023-11-14T22:13:24.250Z"}',
    ]
    s2("append", uri, "--timestamp-from", "at", stdin=b"\n".join(lines))
    nested = b'{"log":{"time":1700000010000}}\n{"log.time":1700000011000,"log":{}}\n'
    s2("append", uri, "--timestamp-from", "log.time", stdin=nested)
    s2("append", uri, "--timestamp-from", "t", "--format", "json", stdin=b'{"body":"{\\"t\\":1700000020000}"}\n')
    assert [record["timestamp"] - 1_700_000_000_000 for record in records()] == [
        0, 1000, 2500, 4250, 10_000, 11_000, 20_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"no JSON", "line 2: the body is not valid JSON, which has no at"),
        (b'{"other":1}', 'line 2: the body has no "at", which --timestamp-from names'),
        (b'{"at":true}', 'line 2: "at" is neither a time nor a number of seconds or milliseconds'),
        (b'{"at":"soon"}', 'line 2: "at": "soon" is not a time'),
        (b'{"at":-1}', "line 2: "),
        (b'{"at":NaN}', "line 2: "),
        (b"[1]", 'line 2: the body has no "at"'),
    ],
)
def test_a_body_without_that_time_is_named(s2, uri, line, text):
    result = s2("append", uri, "--timestamp-from", "at", stdin=b'{"at":1700000000}\n' + line + b"\n", code=7)
    assert text in result.stderr.decode()
    assert b"1 durable at 0 " in result.stderr


# Tell which line failed, keep going or stop (--on-error)


LINES = b'{"body":"1"}\nbad\n{"body":"3"}\n{"body":4}\n' + b'{"body":"%s"}\n' % (b"x" * (1 << 20)) + b'{"body":"6"}\n'


def test_on_error_stop_is_what_happens_without_it(s2, uri):
    for words in ([], ["--on-error", "stop"]):
        result = s2("append", uri, "--format", "json", *words, stdin=LINES, code=7)
        assert b"error: line 2: not valid JSON" in result.stderr
    assert s2("read", uri).stdout == b"1\n1\n"


def test_on_error_skip_tells_which_lines_failed_and_goes_on(s2, uri):
    result = s2("append", uri, "--format", "json", "--on-error", "skip", stdin=LINES, code=7)
    said = result.stderr.decode()
    assert "warning: line 2: not valid JSON" in said
    assert "warning: line 4: body must be a string; left out\n" in said
    assert "warning: line 5: record has a metered size of 1048584 bytes" in said
    assert f"{uri}: 3 records durable at 0..2 (" in said
    assert "; left out, not valid records: lines 2, 4 to 5\n" in said
    assert said.endswith("error: 3 lines are not valid records, and were left out\n")
    assert s2("read", uri).stdout == b"1\n3\n6\n"
    account = json.loads(
        s2("append", uri, "--format", "json", "--on-error", "skip", "-o", "json", stdin=LINES, code=7).stdout
    )
    assert (account["read"], account["durable"], account["rejected"], account["next_line"]) == (6, 3, 3, 7)
    assert (account["rejected_lines"], account["outcome"]) == ([[2, 2], [4, 5]], "bad_data")


def test_on_error_file_keeps_the_lines_that_failed(s2, uri, folder):
    (folder / "a.jsonl").write_bytes(LINES[:-1])
    (folder / "b.jsonl").write_bytes(b"worse\n")
    result = s2("append", uri, "--format", "json", "--on-error", "bad.jsonl", "a.jsonl", "b.jsonl", code=7)
    assert b"warning: b.jsonl: line 1: not valid JSON" in result.stderr
    assert result.stderr.endswith(b"hint: correct and append what is in bad.jsonl\n")
    lines = LINES.splitlines(keepends=True)
    assert (folder / "bad.jsonl").read_bytes() == lines[1] + lines[3] + lines[4] + b"worse\n"
    assert s2("read", uri).stdout == b"1\n3\n6\n"
    # A file of lines that failed is no place for those that fail again.
    result = s2("append", uri, "--on-error", "./bad.jsonl", "bad.jsonl", code=2)
    assert b"--on-error ./bad.jsonl would empty an input" in result.stderr
    assert (folder / "bad.jsonl").stat().st_size > 1 << 20


def test_on_error_skips_a_line_of_text_that_is_too_long_for_a_record(s2, uri):
    data = b"a\n" + b"x" * 3_000_000 + b"\nb\n"
    result = s2("append", uri, "--on-error", "skip", stdin=data, code=7)
    assert b"warning: line 2: the record has 3000000 bytes, more than the 1048568 that fit into one" in result.stderr
    assert s2("read", uri).stdout == b"a\nb\n"


def test_on_error_warns_of_so_many_lines_and_counts_the_others(s2, uri):
    result = s2("append", uri, "--format", "json", "--on-error", "skip", stdin=b"bad\n" * 5000, code=7)
    assert result.stderr.count(b"left out\n") <= 22
    assert b"; left out, not valid records: lines 1 to 5000\n" in result.stderr


# Dry run (parse, count, batch, estimate; send nothing)


def test_a_dry_run_counts_and_sends_nothing(s2, uri, folder):
    (folder / "a.log").write_bytes(b"0123456789\n" * 2500)
    result = s2("append", uri, "--dry-run", "a.log")
    assert f"{uri}: 2500 lines read, 2500 records in 3 batches, 43.9 KiB metered, ".encode() in result.stderr
    assert b"; nothing was sent (--dry-run)" in result.stderr
    account = json.loads(s2("append", uri, "--dry-run", "-H", "k=v", "-o", "json", "a.log").stdout)
    assert account == {
        "stream": uri, "dry_run": True, "read": 2500, "records": 2500, "skipped_commands": 0, "rejected": 0,
        "batches": 3, "bytes": 35_000, "metered_bytes": 2500 * (8 + 2 + 10 + 2),
    }  # fmt: skip
    assert s2("check-tail", uri).stdout.startswith(b"0 @")


def test_a_dry_run_finds_what_an_append_would_and_needs_no_server(s2, uri):
    nowhere = {"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:1", "S2_BASIN_ENDPOINT": "http://127.0.0.1:1"}
    result = s2("append", uri, "--dry-run", "--format", "json", stdin=LINES, code=7, env=nowhere)
    assert b"error: line 2: not valid JSON" in result.stderr
    result = s2("append", uri, "--dry-run", "--format", "json", "--on-error", "skip", stdin=LINES, code=7, env=nowhere)
    assert b": 6 lines read, 3 records in 1 batch, " in result.stderr
    assert b"; left out, not valid records: lines 2, 4 to 5\n" in result.stderr


# Rate limit


@pytest.mark.parametrize(("rate", "seconds"), [("100/s", 0.5), ("60KiB/s", 0.5)])
def test_no_more_than_the_rate_leaves(s2, uri, rate, seconds):
    data = b"%s\n" % (b"x" * 600) * 60
    started = time.monotonic()
    account = json.loads(s2("append", uri, "--rate", rate, "-o", "json", stdin=data).stdout)
    # Not how long it takes, but that it cannot be faster than it may.
    assert time.monotonic() - started >= seconds - 0.2
    assert account["durable"] == 60
    assert account["batches"] > 4
    assert s2("read", uri).stdout == data


def test_several_inputs_in_order_exist_however_they_are_named(s2, uri, folder):
    for name in "abc":
        (folder / name).write_bytes(name.encode() * 3)
    s2("append", "-i", "b", "-i", "a", uri)
    s2("append", uri, "c", "-", "a", stdin=b"stdin")
    assert s2("read", uri).stdout == b"bbb\naaa\nccc\nstdin\naaa\n"
    assert os.listdir(folder)
