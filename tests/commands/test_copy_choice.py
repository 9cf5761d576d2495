"""`s2 copy` of the records that --grep, --grep-not, --header and --jq choose: each once, through kills too."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

COUNT = 3000


def line(number):
    """Every third has an E, every fifth a header, every seventh is no UTF-8."""
    record = {"timestamp": 1_700_000_000_000 + number // 4, "body": f"{number} {'E' if number % 3 == 0 else 'info'}"}
    if number % 5 == 0:
        record["headers"] = [["five", "yes"], ["n", str(number)]]
    if number % 7 == 0:
        record = {"timestamp": record["timestamp"], "base64": True, "body": "/w=="}
    return record


def records(s2, uri):
    """All but the sequence numbers."""
    found = []
    for text in s2("read", uri, "-o", "json").stdout.splitlines():
        record = json.loads(text)
        del record["seq_num"]
        found.append(record)
    return found


@pytest.fixture
def source(s2, basin):
    uri = f"s2://{basin}/source"
    text = "".join(json.dumps(line(number)) + "\n" for number in range(COUNT))
    s2("append", uri, "--create", "--format", "json", stdin=text.encode())
    return uri


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--grep", "E$"], lambda record: record.get("body", "").endswith("E")),
        (["--grep-not", "info"], lambda record: "info" not in record["body"]),
        (["--grep", "^1", "--grep-not", "E"], lambda record: record["body"][0] == "1" and "E" not in record["body"]),
        (["--header", "five=yes"], lambda record: ["five", "yes"] in record.get("headers", [])),
        (["-H", "five=yes", "-H", "n=10"], lambda record: ["n", "10"] in record.get("headers", [])),
        (["--jq", ".headers"], lambda record: "headers" in record),
        (["--jq", '(.body | test("E"))'], lambda record: "E" in record["body"]),
        (["--jq", "select(.base64)", "--grep-not", "x"], lambda record: record.get("base64")),
        (["--jq", "empty"], lambda record: False),
        (["--grep", "nowhere"], lambda record: False),
    ],
)
def test_the_records_that_options_choose_are_copied_as_they_are(s2, source, basin, options, wanted):
    everything = records(s2, source)
    expected = [record for record in everything if wanted(record)]
    result = s2("copy", source, f"s2://{basin}/copy", "--create", *options)
    assert records(s2, f"s2://{basin}/copy") == expected
    skipped = COUNT - len(expected)
    assert f": {len(expected)} record".encode() in result.stderr
    assert f", {skipped} skipped (".encode() in result.stderr
    again = s2("copy", source, f"s2://{basin}/copy", *options, "-o", "json")
    account = json.loads(again.stdout)
    # What was left out behind the last record of the copy is not read again.
    assert (account["copied"], account["skipped"], account["next_source_seq_num"]) == (0, 0, COUNT)
    assert again.stderr == b""


def test_what_comes_later_is_chosen_by_the_same_options(s2, source, basin):
    copy = f"s2://{basin}/copy"
    s2("copy", source, copy, "--create", "--grep", "E$", "--state", "chosen")
    s2("append", source, stdin=b"late info\nlate E\n")
    s2("copy", source, copy, "--grep", "E$", "--state", "chosen")
    assert records(s2, copy)[-1]["body"] == "late E"
    result = s2("copy", source, copy, "--grep", "info", "--state", "chosen", code=2)
    assert b"the state chosen is of another choice of records: --grep 'E$', not --grep info\n" in result.stderr
    result = s2("copy", source, copy, "--state", "chosen", code=2)
    assert b"is of another choice of records: --grep 'E$', not none\n" in result.stderr


def test_command_records_are_counted_apart_from_what_was_not_chosen(s2, source, basin):
    s2("fence", source, "mine")
    result = s2("copy", source, f"s2://{basin}/copy", "--create", "--grep", "E$|mine")
    assert b", 2143 skipped (" in result.stderr
    assert b"; left out 1 command record (--commands send copies them)\n" in result.stderr


def test_a_record_on_which_the_jq_filter_fails_is_left_out_and_said(s2, source, basin):
    filter_text = ".body | fromjson"
    s2("append", source, stdin=b"[1]\nfalse\n")
    result = s2("copy", source, f"s2://{basin}/copy", "--create", "--jq", filter_text, code=8)
    bodies = s2("read", f"s2://{basin}/copy").stdout
    assert bodies == b"[1]\n"
    assert b"--jq fails on record 0: " in result.stderr
    assert b": 1 record copied at 0, 3001 skipped (" in result.stderr
    assert b"error: the jq filter failed on 3000 records, and left out what it failed on\n" in result.stderr


def test_what_cannot_be_understood_is_said_before_anything_is_copied(s2, source, basin):
    for words, said in (
        (["--grep", "("], b"is not a regular expression"),
        (["--jq", "("], b"is not a filter"),
        (["--header", "five"], b"is not NAME=VALUE"),
    ):
        assert said in s2("copy", source, f"s2://{basin}/none", "--create", *words, code=2).stderr
    assert b"none" not in s2("list", basin, "-o", "name").stdout


def test_a_missing_target_is_said_also_where_nothing_was_chosen(s2, shared_server, source, unique_basin):
    result = s2("copy", source, f"s2://{unique_basin()}/missing", "--grep", "nowhere", code=3)
    assert result.stderr.startswith(b"error: ") or b"\nerror: " in result.stderr


def test_the_same_command_after_kills_copies_each_chosen_record_once(s2, env, source, basin):
    dice = random.Random(21)
    copy = f"s2://{basin}/copy"
    command = [sys.executable, "-m", "s2cli", "copy", source, copy, "--create", "--follow", "--grep", "E$"]
    expected = [record for record in records(s2, source) if record.get("body", "").endswith("E")]
    s2("create", copy)
    for turn in range(4):
        with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.DEVNULL) as process:
            at = dice.randrange(len(expected))
            until(lambda at=at: int(s2("check-tail", copy).stdout.split()[0]) >= at)
            process.kill()
        new = [{"body": f"turn {turn} {number} {'E' if dice.random() < 0.1 else 'x'}"} for number in range(500)]
        s2("append", source, "--format", "json", stdin="\n".join(map(json.dumps, new)).encode())
    with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE) as process:
        expected = [record for record in records(s2, source) if record.get("body", "").endswith("E")]
        until(lambda: int(s2("check-tail", copy).stdout.split()[0]) >= len(expected))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 130
    assert b" skipped (" in said
    assert records(s2, copy) == expected
