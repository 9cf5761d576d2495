"""The forms in which `s2 read` and `tail` print records: what users of such tools ask for, a test for each wish."""

import base64
import json
import os
import pty
import re
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RECORDS = [
    {"timestamp": 1000, "body": "plain"},
    {"timestamp": 1700000000123, "headers": [["k", "v"], ["é", "w"], ["k", "2"]], "body": 'a "line"\nand 100 %'},
    {"timestamp": 1700000000124, "base64": True, "headers": [["/w==", "AA=="]], "body": "/wA="},
    {"timestamp": 1700000000125},
]


@pytest.fixture
def uri(s2, basin):
    """A stream with text, quotes, a newline, bytes that are no text, headers, and an empty record."""
    uri = f"s2://{basin}/app/log"
    s2("append", "--create", uri, "--format", "jsonl", stdin=lines(*RECORDS))
    return uri


def lines(*values) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_jsonl_envelope(s2, uri):
    printed = s2("read", uri, "-o", "jsonl")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"seq_num": seq_num, **record} for seq_num, record in enumerate(RECORDS)
    ]
    assert printed.stderr == b""
    for words in (["-o", "json"], ["--format", "jsonl"], ["--format", "json"]):
        assert s2("read", uri, *words).stdout == printed.stdout


def test_text_when_valid_and_marked_base64_when_not(s2, uri):
    printed = s2("read", uri, "-o", "jsonl", "--from", "1", "-n", "2").stdout.splitlines()
    assert b'"body":"a \\"line\\"\\nand 100 %"' in printed[0]
    assert b'"base64":true,"headers":[["/w==","AA=="]],"body":"/wA="' in printed[1]


BYTES = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))
HEADERS = st.lists(st.tuples(BYTES.filter(len), BYTES), max_size=3)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1_700_000_000_000), HEADERS, BYTES), min_size=1, max_size=20))
@pytest.mark.parametrize("form", ["jsonl", "json-base64"])
@pytest.mark.parametrize("end", [(), ("-0",)], ids=["newline", "NUL"])
def test_envelope_exact_for_binary(s2, shared_server, form, end, records):
    """Any bytes, headers and times -> append -> read -> append: equal."""
    basin = shared_server.create_basin(create_stream_on_append=True)
    records = sorted(records, key=lambda record: record[0])  # a stream's times do not go back
    given_lines = lines(
        *(
            {"timestamp": time_ms, "headers": [[*map(pack, pair)] for pair in headers], "body": pack(body)}
            for time_ms, headers, body in records
        )
    )
    s2("append", f"s2://{basin}/a", "--format", "json-base64", stdin=given_lines)
    printed = s2("read", f"s2://{basin}/a", "-o", form, *end).stdout
    s2("append", f"s2://{basin}/b", "--format", form, *end, stdin=printed)
    exact = s2("read", f"s2://{basin}/b", "-o", "json-base64").stdout
    assert exact == s2("read", f"s2://{basin}/a", "-o", "json-base64").stdout
    found = [json.loads(line) for line in exact.splitlines()]
    assert [
        (
            record["timestamp"],
            [(unpack(name), unpack(value)) for name, value in record.get("headers", [])],
            unpack(record.get("body", "")),
        )
        for record in found
    ] == records


def pack(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unpack(data: str) -> bytes:
    return base64.b64decode(data)


def test_raw_bytes_out(s2, uri):
    assert s2("read", uri, "--raw").stdout == b'plaina "line"\nand 100 %\xff\0'
    assert s2("tail", uri, "-3", "--raw").stdout == b'a "line"\nand 100 %\xff\0'


@pytest.mark.parametrize(
    ("option", "delimiter"),
    [
        (["--delimiter", " | "], b" | "),
        (["--delimiter", r"\t\xff\0\n\\"], b"\t\xff\0\n\\"),
        (["--delimiter", "%o ü"], "%o ü".encode()),
        (["-0"], b"\0"),
    ],
)
def test_a_chosen_delimiter(s2, uri, option, delimiter):
    bodies = (b"plain", b'a "line"\nand 100 %', b"\xff\0", b"")
    assert s2("read", uri, *option).stdout == b"".join(body + delimiter for body in bodies)


def test_bodies_come_back_by_a_delimiter_that_is_not_in_them(s2, uri, basin):
    s2("append", "--create", f"s2://{basin}/lines", stdin=b"one\ntwo\n\nfour\n")
    printed = s2("read", f"s2://{basin}/lines", "-0").stdout
    s2("append", "--create", f"s2://{basin}/again", "-0", stdin=printed)
    assert s2("read", f"s2://{basin}/again").stdout == b"one\ntwo\n\nfour\n"


@pytest.mark.parametrize(
    ("template", "seq_num", "printed"),
    [
        (r"%v\n", 1, b'a "line"\nand 100 %\n'),
        (r"[%o] %t %S%%\n", 2, b"[2] 1700000000124 2%\n"),
        (r"%d\n", 1, b"2023-11-14T22:13:20.123Z\n"),
        (r"%d", 0, b"1970-01-01T00:00:01.000Z"),
        (r"%h{k}|%h{é}|%h{none}|", 1, b"v|w||"),
        (r"%H\n", 1, "k=v,é=w,k=2\n".encode()),
        (r"%H%H{json}", 3, b"[]"),
        (r"%H{json}", 1, '[["k","v"],["é","w"],["k","2"]]'.encode()),
        (r"%H{json}", 2, b'[[{"base64":"/w=="},"\\u0000"]]'),
        (r"%v{hex} %v{base64} %v{json}", 2, b'ff00 /wA= {"base64":"/wA="}'),
        (r"%v{json}", 1, rb'"a \"line\"\nand 100 %"'),
        (r"%h{k}{hex}", 1, b"76"),
        (r"%o{json}%d{json}", 0, b'0"1970-01-01T00:00:01.000Z"'),
        (r"%%v\x7b%\x25\t\0\r\\", 0, None),
        (r"%o\x7b\x25\t\0\r\\", 0, b"0{%\t\0\r\\"),
        (r"%%v", 0, b"%v"),
        ("ü%o", 0, "ü0".encode()),
        ("", 0, b""),
        ("constant\n", 3, b"constant\n"),
    ],
)
def test_output_template_per_record(s2, uri, template, seq_num, printed):
    words = ["read", uri, "-t", template, "--from", seq_num, "-n1"]
    if printed is None:
        assert b"is not a verb" in s2(*words, code=2).stderr
        return
    assert s2(*words).stdout == printed


def test_a_template_names_the_stream(s2, uri):
    assert s2("tail", uri, "-2", "--template", r"%s %o\n").stdout.decode() == f"{uri} 2\n{uri} 3\n"


def test_show_seq_num_and_timestamp_beside_the_text(s2, uri):
    assert s2("read", uri, "-t", r"%o %d %v\n", "-n", "1").stdout == b"0 1970-01-01T00:00:01.000Z plain\n"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("ab%q", '"%q" at character 3 is not a verb'),
        ("ab%", '"%" at character 3 is not a verb'),
        ("%h", '"%h" at character 1 needs the name of a header: write %h{NAME}'),
        ("%h{}", '"%h{}" at character 1 needs the name'),
        ("%o{hex}", '"%o{hex}" at character 1 is not possible: %o takes {json}'),
        ("%v{foo}x", '"%v{foo}" at character 1 is not possible: %v takes {hex} or {base64} or {json}'),
        ("%v{hex", '"%v{hex" at character 1 has no closing brace'),
        (r"a\y", r'"\y" at character 2 is not an escape'),
        (r"a\x4", r'"\x4" at character 2 is not an escape'),
        (r"a\x 4", r'"\x 4" at character 2 is not an escape'),
        ("a\\", '"\\" at character 2 is not an escape'),
    ],
)
def test_a_bad_template_shows_the_place(run_s2, template, said):
    # No server is asked, nor started.
    done = run_s2("read", "s2://no-such-basin/x", "-t", template, env={"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert said in done.stderr.decode()
    at, _, rest = done.stderr.decode().partition(">>>")
    assert template.startswith(at.rpartition('(in "')[2])
    assert template.endswith(rest.partition("<<<")[2].rpartition('")')[0])


def test_json_body_shown_as_json_not_as_a_string(s2, basin):
    uri = f"s2://{basin}/json"
    bodies = [
        b'{"level":"error","n":1.0000000000000000000001,"n":2}',
        b' {"a":\n [1,\r\n2]} ',
        b"[]",
        b"5",
        b'"text"',
        b"null",
        b"{not json}",
        b'{"a":NaN}',
        b'["\xff"]',
        '["ü\u2028"]'.encode(),
        b"[" * 5000,
    ]
    s2("append", "--create", "-0", uri, stdin=b"".join(body + b"\0" for body in bodies))
    printed = s2("read", uri, "--parse-json").stdout.split(b"\n")
    assert printed.pop() == b""
    found = [line.partition(b',"body":')[2].removesuffix(b"}") for line in printed]
    assert found == [
        bodies[0],
        b' {"a":  [1,  2]} ',
        b"[]",
        b'"5"',
        rb'"\"text\""',
        b'"null"',
        b'"{not json}"',
        rb'"{\"a\":NaN}"',
        b'"Wyf/Il0="'.replace(b"Wyf/Il0=", base64.b64encode(b'["\xff"]')),
        '["ü\\u2028"]'.encode(),
        b'"' + b"[" * 5000 + b'"',
    ]
    for line in printed:
        json.loads(line)
    assert s2("read", uri, "--parse-json", "-o", "jsonl", "-0", "-n1").stdout.endswith(b'"n":2}}\0')


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--raw", "-0"], "--raw and -0 both say how a record ends"),
        (["-t", "%v", "--delimiter", "x"], "--template and --delimiter both say how a record ends"),
        (["-o", "json", "--raw"], "--raw is for the format text, not json"),
        (["--format", "json", "--delimiter", "x"], "--delimiter is for the format text, not json"),
        (["-o", "json", "-t", "%v"], "--template is for the format text, not json"),
        (["--parse-json", "--raw"], "--raw is for the format text, not json"),
        (["--parse-json", "-o", "text"], "--parse-json is for the format json, not text"),
        (["--parse-json", "-o", "json-base64"], "--parse-json is for the format json, not json-base64"),
        (["--delimiter", r"\q"], "has an escape that is none of"),
    ],
)
@pytest.mark.parametrize("command", ["read", "tail"])
def test_options_that_contradict_each_other(run_s2, command, options, said):
    done = run_s2(command, "s2://no-such-basin/x", *options, env={"S2_ACCOUNT_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert said in done.stderr.decode()


@pytest.mark.parametrize("options", [["-t", r"%o %v\n"], ["--raw"]])
def test_command_records_are_told_and_not_printed(s2, basin, options):
    uri = f"s2://{basin}/fenced"
    s2("append", "--create", uri, stdin=b"one\n")
    s2("fence", uri, "mine")
    s2("append", uri, stdin=b"two\n")
    done = s2("read", uri, *options)
    assert done.stdout in (b"0 one\n2 two\n", b"onetwo")
    assert b'new fencing token "mine" // 1 @ ' in done.stderr


# On a terminal


def on_a_terminal(arguments, env, columns):
    """What a command prints on a terminal so many columns wide."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(env, COLUMNS=str(columns), TERM="xterm")
        os.execv(sys.executable, [sys.executable, "-m", "s2cli", *arguments])
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:
        pass  # the terminal ends with its process
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def varied(s2, basin):
    uri = f"s2://{basin}/varied"
    records = [
        {"body": "two\nlines \x1b[31mred\u202e", "headers": [["app", "web\x1b"]]},
        {"body": '{"level":"error","n":1.10,"id":12345678901234567890123,"tags":["a",{}],"none":null}'},
        {"base64": True, "body": "/wBF"},
    ]
    s2("append", "--create", uri, "--format", "json", stdin=lines(*({"timestamp": 1000, **one} for one in records)))
    s2("fence", uri, "mine")
    return uri


FOLDED = """{
  "level": "error",
  "n": 1.10,
  "id": 12345678901234567890123,
  "tags": [
    "a",
    {}
  ],
  "none": null
}"""
ONE_LINE = '{"level": "error", "n": 1.10, "id": 12345678901234567890123, "tags": ["a", {}], "none": null}'


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_colour_and_highlighting_that_never_breaks_the_data(varied, env, columns):
    """Time and number stand beside the body, JSON is folded where it is too long for a line, and nothing that a record
    holds drives the terminal."""
    said = on_a_terminal(["read", varied, "-o", "pretty"], {**env, "TZ": "UTC"}, columns)
    assert '\x1b[1m"level"\x1b[0m: \x1b[32m"error"\x1b[0m' in said
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)
    assert "\x1b" not in plain
    margin = " " * 28 if columns > 40 else "  "
    json_lines = (FOLDED if columns < 200 else ONE_LINE).replace("\n", "\n" + margin)
    start = plain.partition("  3  new fencing token")[0]
    assert start.startswith(
        "1970-01-01 00:00:01.000  0  two\n"
        f"{margin}lines \\x1b[31mred\\u{{202e}}\n"
        f"{margin}app=web\\x1b\n"
        f"1970-01-01 00:00:01.000  1  {json_lines}\n"
        "1970-01-01 00:00:01.000  2  \\xff\\x00E  (3 bytes, not UTF-8)\n"
    )
    assert plain.endswith('  3  new fencing token "mine"\n')


def test_pretty_in_a_pipe_has_no_colour_and_no_folds_and_is_never_the_default(s2, varied, env):
    printed = s2("read", varied, "-o", "pretty", env={"TZ": "UTC"}).stdout.decode()
    assert "\x1b" not in printed
    assert f"1970-01-01 00:00:01.000  1  {ONE_LINE}\n" in printed
    assert "\x1b[35m" in s2("read", varied, "-o", "pretty", "--color", "always").stdout.decode()
    assert on_a_terminal(["read", varied, "--from", "1", "-n", "1"], env, 80).startswith('{"level":"error","n":1.10,')


def test_pretty_of_several_streams_has_their_labels(s2, varied, basin):
    s2("append", "--create", f"s2://{basin}/other", stdin=b"plain\n")
    printed = s2("read", varied, f"s2://{basin}/other", "-o", "pretty", env={"TZ": "UTC"}).stdout.decode()
    assert printed.startswith("1970-01-01 00:00:01.000  varied  0  two\n")
    assert "  other  0  plain\n" in printed
