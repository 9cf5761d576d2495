"""What was done is told where stdout cannot be written: the result of a command that changes something is not lost."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def s2(shared_server):
    """Runs `s2` with a stdout that can only be read; exit code and stderr."""

    def run(*arguments, stdin=b""):
        with open(os.devnull, "rb") as unwritable:
            done = subprocess.run(
                [sys.executable, "-m", "s2cli", *arguments],
                input=stdin,
                stdout=unwritable,
                stderr=subprocess.PIPE,
                env={**os.environ, **shared_server.env()},
                check=False,
            )
        return done.returncode, done.stderr.decode().splitlines()

    return run


@pytest.fixture
def uri(shared_server, basin):
    return f"s2://{basin}/{shared_server.create_stream(basin)}"


def test_an_append_prints_its_account_on_stderr(s2, uri):
    code, said = s2("append", uri, "-o", "json", stdin=b"1\n2\n")
    assert code == 1
    assert said[0].startswith(f"{uri}: 2 records durable at 0..1 ")
    assert "cannot write to standard output: bad file descriptor" in said[1]


def test_why_an_append_failed_comes_first(s2, uri):
    code, said = s2("append", uri, "-o", "json", "-m", "7", stdin=b"1\n")
    assert code == 5
    assert said[0].startswith(f"{uri}: 1 read, 1 sent, 0 durable ")
    assert "--match-seq-num" in said[1]


def test_a_trim_and_a_fence_say_what_they_did(s2, uri):
    code, said = s2("fence", uri, "t", "-o", "json")
    assert code == 1
    assert said[0].startswith(f'{uri}: fencing token "t" appended at 0 // tail: 1 @ ')
    code, said = s2("trim", uri, "1", "-o", "json")
    assert code == 1
    assert said[0].startswith(f"{uri}: trim point 1 appended at 1 // tail: 2 @ ")


@pytest.mark.parametrize("options", [(), ("-o", "name")])
def test_a_token_that_nobody_got_is_named(s2, basin, options):
    name = f"{basin}/lost token"
    code, said = s2("tokens", "issue", name, "--op-group-perms", "account=r", "--basins-prefix", "", *options)
    assert code == 1
    assert said[-1] == f"hint: it was issued, and is lost: s2 tokens revoke '{name}'"
