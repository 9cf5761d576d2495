"""Which records `s2 read` and `tail` print: what users of such tools ask for, a test for each wish."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.formats.record_filter import Matcher

RECORDS = [
    {"body": "level=info start", "headers": [["app", "web"], ["tier", "a"]]},
    {"body": '{"level":"error","ms":12,"id":12345678901234567890123}', "headers": [["app", "web"]]},
    {"body": "größe ERROR 5", "headers": [["app", "db"], ["app", "web"]]},
    {"base64": True, "body": "/0VSUk9S"},  # \xffERROR
    {"body": '{"level":"info","ms":3}'},
    {"headers": [["app", ""]]},
]
BODIES = [b"level=info start", b'{"level":"error","ms":12,"id":12345678901234567890123}', "größe ERROR 5".encode()]
BODIES += [b"\xffERROR", b'{"level":"info","ms":3}', b""]


@pytest.fixture
def uri(s2, basin):
    uri = f"s2://{basin}/log"
    data = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)
    s2("append", "--create", uri, "--format", "json", stdin=data)
    return uri


def printed(numbers):
    return b"".join(BODIES[number] + b"\n" for number in numbers)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--grep", "ERROR"], [2, 3]),  # a substring
        (["--grep", "(?i)error"], [1, 2, 3]),
        (["--grep", "^level"], [0]),
        (["--grep", "3}$"], [1, 4]),
        (["--grep", "gr..e"], [2]),
        (["--grep", "gr[öä]ß"], [2]),
        (["--grep", r"\wß"], [2]),
        (["--grep", "^$"], [5]),
        (["--grep", "^.ERROR"], [3]),  # a byte that is no text is one character
        (["--grep", "."], [0, 1, 2, 3, 4]),
        (["--grep", "t\n{"], []),  # bodies are not joined
        (["--grep", "nothing at all"], []),
        (["--grep-not", "level"], [2, 3, 5]),
        (["--grep", "level", "--grep-not", "error|start"], [4]),
        (["--header", "app=web"], [0, 1, 2]),
        (["-H", "app=web", "-H", "tier=a"], [0]),
        (["-H", "app="], [5]),
        (["-H", "app=web", "--grep", "ERR"], [2]),
    ],
)
@pytest.mark.parametrize("form", ["text", "jsonl", "template"])
def test_filter_by_substring_regex_and_header(s2, uri, options, numbers, form):
    words = {"text": [], "jsonl": ["-o", "jsonl"], "template": ["-t", r"%o\n"]}[form]
    done = s2("read", uri, *options, *words)
    if form == "text":
        assert done.stdout == printed(numbers)
    elif form == "jsonl":
        assert [json.loads(line)["seq_num"] for line in done.stdout.splitlines()] == numbers
    else:
        assert [*map(int, done.stdout.split())] == numbers
    noun = "record" if len(numbers) == 1 else "records"
    assert f"{uri}: {len(numbers)} {noun} read, {6 - len(numbers)} skipped (".encode() in done.stderr
    assert s2("tail", uri, "-6", "-q", *options, *words).stdout == done.stdout


def test_a_count_is_of_what_is_printed(s2, uri):
    done = s2("read", uri, "--grep", "level", "-n", "2")
    assert done.stdout == printed([0, 1])
    assert b"2 records read, 0 skipped" in done.stderr
    done = s2("read", uri, "--grep", "level", "-n", "3", "-o", "json")
    assert [json.loads(line)["seq_num"] for line in done.stdout.splitlines()] == [0, 1, 4]
    assert b"3 records read, 2 skipped" in done.stderr
    assert s2("read", uri, "--grep", "level", "-n", "0").stdout == b""
    assert s2("read", uri, "--jq", ".body|select(.)", "-n", "1").stdout == b'"level=info start"\n'


def test_a_count_ends_a_follow(s2, uri):
    assert s2("read", uri, "--follow", "--grep", "ERROR", "-n", "2").stdout == printed([2, 3])


def test_filter_by_a_json_field(s2, uri):
    done = s2("read", uri, "--parse-json", "--jq", 'select(.body|type == "object" and .level == "error")')
    assert done.stdout.startswith(b'{"seq_num":1,"timestamp":')
    assert b'"id":12345678901234567890123' in done.stdout
    assert b"1 record read, 5 skipped" in done.stderr


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (["--jq", ".seq_num # a comment"], b"0\n1\n2\n3\n4\n5\n"),
        (["--jq", ".seq_num, .base64 | values"], b"0\n1\n2\n3\ntrue\n4\n5\n"),
        (["--jq", "select(.seq_num == 0) | .headers"], b'[["app","web"],["tier","a"]]\n'),
        (["--jq", "empty"], b""),
        (["--jq", ".seq_num", "-H", "app=db"], b"2\n"),
        (["--jq", '"a\\n\\u202e"', "-0", "--from", "4"], b'"a\\n\\u202e"\0"a\\n\\u202e"\0'),
        (["--jq", "[.]|length", "-n", "1", "-o", "json"], b"1\n"),
    ],
)
def test_jq_over_the_json_form(s2, uri, options, output):
    assert s2("read", uri, *options).stdout == output


def test_a_record_on_which_jq_fails_is_named_and_the_read_ends_with_8(s2, uri):
    done = s2("read", uri, "--jq", ".body | fromjson.level", code=8)
    assert done.stdout == b'"error"\n"info"\n'
    assert b"--jq fails on record 0: " in done.stderr
    assert b"the jq filter failed on 4 records" in done.stderr


def test_without_jq_the_error_names_the_extra(uri, env):
    hidden = "import sys; sys.modules['jq'] = None; from s2cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", hidden, "read", uri, "--jq", "."]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"--jq needs the Python package jq" in done.stderr
    assert b"s2cli[jq]" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--grep", "a(b"], '"a>>>(b" is not a regular expression: missing ), unterminated subpattern at character 2'),
        (["--grep-not", "*"], '--grep-not: ">>>*" is not a regular expression: nothing to repeat at character 1'),
        (["--header", "name"], '--header "name" is not NAME=VALUE'),
        (["--header", "=value"], '--header "=value" is not NAME=VALUE'),
        (["--jq", ".["], '--jq: ".[" is not a filter'),
        (["--jq", ".", "-t", "%v"], "--template is for the format text, not json"),
        (["--jq", ".", "-o", "text"], "--jq is for the format json, not text"),
    ],
)
def test_a_choice_that_is_none_is_a_usage_error(run_s2, options, said):
    done = run_s2("read", "s2://no-such-basin/x", *options, env={"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert said in done.stderr.decode()


def test_jq_that_halts_is_an_error(s2, uri):
    assert b"the filter ends the program" in s2("read", uri, "--jq", "halt", code=2).stderr


TEXTS = st.text("abö\n\x00é1 ", max_size=6)


@given(
    st.lists(st.one_of(TEXTS.map(str.encode), st.binary(max_size=4)), max_size=6),
    st.sampled_from(["a", "ab", "ö", "a.", "^a", "b$", r"\w\W", "[^a]", "", r"\s", "a|é", "(?i)A", r"\bb", "(?s)a.b"]),
)
def test_a_batch_is_searched_as_each_body_alone_is(bodies, pattern):
    import re

    expected = [
        index
        for index, body in enumerate(bodies)
        if re.search(pattern, body.decode("utf-8", "surrogateescape")) is not None
    ]
    assert Matcher(pattern, "--grep").indexes(bodies) == expected
