"""Names, messages and bodies that would drive a terminal, or become two lines: nothing of them reaches it as it is."""

import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.cli import console
from s2cli.errors import NotFoundError

HOSTILE = ["a\nb", "esc\x1b[2J", "c1\x9b2J", "del\x7f", "bidi\u202etxt", "line\u2028end", "tab\there"]
# What Unicode calls controls, ends of lines and paragraphs, halves of characters, and its Bidi_Control.
HARMFUL = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp", "Cs")}
HARMFUL |= set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
PLAIN = ["a b", "grün 語", "family 👨\u200d👩"]


@pytest.fixture
def hostile_basin(shared_server, basin) -> str:
    for name in (*HOSTILE, *PLAIN):
        shared_server.create_stream(basin, name)
    return basin


def drives_a_terminal(data: bytes) -> bool:
    return bool(HARMFUL.intersection(data.decode().replace("\t", "").replace("\n", "")))


def test_names_that_are_no_line_are_left_out_of_lines_and_that_is_an_error(s2, hostile_basin):
    done = s2("streams", "list", hostile_basin, "-o", "name", code=8)
    assert done.stdout.decode().splitlines() == [f"s2://{hostile_basin}/{name}" for name in sorted(PLAIN)]
    assert done.stderr.decode().splitlines() == [
        "error: 7 names were left out, because of control characters",
        "hint: -o name -0 prints all of them, each with a NUL byte behind it, for xargs -0",
    ]


def test_nul_ends_names_of_any_characters(s2, hostile_basin):
    done = s2("streams", "list", hostile_basin, "-o", "name", "-0")
    assert (done.returncode, done.stderr) == (0, b"")
    names = done.stdout.decode().split("\0")
    assert names.pop() == ""
    assert names == sorted(f"s2://{hostile_basin}/{name}" for name in (*HOSTILE, *PLAIN))


def test_xargs_deletes_what_was_listed_and_nothing_else(shared_server, basin):
    shared_server.create_stream(basin, "precious")
    shared_server.create_stream(basin, f"tmp/x\ns2://{basin}/precious")
    shared_server.create_stream(basin, "tmp/b c 'd")
    run = f"{sys.executable} -m s2cli"
    script = f"{run} streams list {basin} -p tmp/ -o name -0 | xargs -0 -n1 {run} streams delete --yes -q"
    subprocess.run(["sh", "-c", script], env={**shared_server.env(), "PATH": "/usr/bin:/bin"}, check=True, timeout=60)
    left = shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert [item["name"] for item in left if item.get("deleted_at") is None] == ["precious"]
    lines = subprocess.run(
        ["sh", "-c", f"{run} streams list {basin} -o name"],
        env={**shared_server.env(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
    )
    assert lines.stdout.count(b"precious\n") == 1


def test_zero_without_names_is_a_usage_error(s2, basin):
    done = s2("streams", "list", basin, "-0", code=2)
    assert (done.returncode, done.stderr) == (2, b"error: -0, --zero needs -o name\n")


@pytest.mark.parametrize(
    "arguments", [["streams", "list"], ["streams", "list", "-o", "json"], ["list-streams"], ["ls"]]
)
def test_no_list_drives_a_terminal(s2, hostile_basin, arguments):
    done = s2(*arguments, hostile_basin, code=0 if arguments[0] == "streams" else 8)
    assert not drives_a_terminal(done.stdout + done.stderr)
    if "json" in arguments:
        assert [item["name"] for item in json.loads(done.stdout)] == sorted((*HOSTILE, *PLAIN))
    elif arguments[0] == "streams":
        assert b"a\\x0ab\t" in done.stdout
        assert b"bidi\\u{202e}txt\t" in done.stdout
        assert "👨\u200d👩".encode() in done.stdout
    else:
        assert b"were left out" in done.stderr


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "name"])
@pytest.mark.parametrize("name", HOSTILE)
def test_one_resource_does_not_either(s2, basin, name, output):
    done = s2("streams", "create", f"s2://{basin}/{name}", "-o", output, code=8 if output == "name" else 0)
    assert not drives_a_terminal(done.stdout + done.stderr)


def test_what_an_error_quotes_does_not_either(s2, basin):
    for arguments in (
        ["read", f"s2://{basin}/no\x1b]0;title\x07\n\u202e"],
        ["streams", "get", f"s2://{basin}/\x9b2J"],
        ["append", "--format", "ya\x1bml", f"s2://{basin}/s"],
        ["frob\x1bnicate"],
        ["read", "--op\x1btion"],
        ["--profile", "x\x1b", "ls"],
    ):
        done = s2(*arguments, code=None)
        assert done.returncode != 0
        assert not drives_a_terminal(done.stdout + done.stderr), arguments


def test_access_tokens_and_their_scopes_do_not_either(s2, shared_server):
    body = {"id": "t\x1b[2J", "scope": {"streams": {"prefix": "p\n\x9b"}, "ops": ["append"]}}
    assert shared_server.request("POST", "/v1/access-tokens", json_body=body).status == 201
    for arguments in (["tokens", "list"], ["tokens", "list", "-o", "name"], ["list-access-tokens"]):
        done = s2(*arguments, code=None)
        assert not drives_a_terminal(done.stdout + done.stderr), arguments


def test_json_of_records_escapes_what_text_gives_as_it_is(s2, basin, shared_server):
    shared_server.create_stream(basin, "r")
    body = "\x1b[2J\x7f\x9b\u202e grün 語".encode()
    s2("append", f"s2://{basin}/r", "-H", "k=v\u2066", stdin=body + b"\n")
    done = s2("read", f"s2://{basin}/r", "-o", "json")
    assert not drives_a_terminal(done.stdout)
    assert json.loads(done.stdout)["body"].encode() == body
    assert "grün 語".encode() in done.stdout
    assert s2("read", f"s2://{basin}/r").stdout == body + b"\n"


@given(st.text() | st.text(st.sampled_from("a\\\x00\x1b\x7f\x85\x9b\u2028\u202e\udcffé語")))
def test_any_text_is_escaped_to_something_harmless_and_json_stays_equal(text):
    line = console.printable(text)
    assert not HARMFUL.intersection(line)
    assert line == text or HARMFUL.intersection(text)
    data = console.encode_json({text: [text]}, indent=2)
    assert not drives_a_terminal(data)
    assert json.loads(data) == {text: [text]}


def test_errors_in_json_are_ascii(capfd):
    console.configure(quiet=False, verbose=False, color=None, json_errors=True)
    console.error(NotFoundError("x\x9b\u202e"))
    console.configure(quiet=False, verbose=False, color=None, json_errors=False)
    assert capfd.readouterr().err.isascii()
