"""Hints that are command lines can be pasted into a shell, whatever the names in them."""

import shlex
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.values import shell_word

ODD = "it's a *; $(touch x)"


def hint(result):
    return result.stderr.decode().rpartition("hint: ")[2].rstrip("\n")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_word_is_one_for_the_shell(text):
    assert shlex.split(shell_word(text)) == [text]
    assert shell_word(text) == shlex.quote(text) or "'" in shlex.quote(text)


def test_a_plain_word_stays_as_it_is():
    assert shell_word("s2://my-basin/a/b_c.d:e@f%20,g=h+i") == "s2://my-basin/a/b_c.d:e@f%20,g=h+i"


@pytest.mark.parametrize("command", ["append", "read", "tail", "check-tail", "trim 5", "fence t"])
def test_the_name_of_a_stream(run_s2, env, basin, command):
    verb, *operand = command.split()
    uri = f"s2://{basin}/{ODD}"
    result = run_s2(verb, uri, *operand, stdin=b"x\n", env=env)
    assert result.returncode == 3
    assert shlex.split(hint(result).removesuffix(" creates it")) == ["s2", "create", uri]


def test_the_name_of_a_profile(run_s2, shared_server, basin, home):
    profiles = home / ".config/s2/profiles.toml"
    profiles.parent.mkdir(parents=True)
    profiles.write_text(
        f'["{ODD}"]\naccount_endpoint = "{shared_server.url}"\nbasin_endpoint = "{shared_server.url}"\n'
    )
    uri = f"s2://{basin}/*?"
    result = run_s2("--profile", ODD, "read", uri)
    assert shlex.split(hint(result).removesuffix(" creates it")) == ["s2", "--profile", ODD, "create", uri]
    run_s2("--profile", ODD, "create", uri, check=True)
    result = run_s2("--profile", ODD, "append", uri, "--format", "json", stdin=b'{"body":"x"}\nbad\n')
    command = result.stderr.decode().partition("to resume after it: ")[2].partition("\n")[0]
    expected = ["s2", "--profile", ODD, "append", uri, "--format", "json"]
    assert shlex.split(command.partition(" | ")[2]) == expected


def test_the_name_of_a_file(run_s2, make_server, tmp_path):
    result = run_s2("read", "s2://my-basin/s", "-o", ODD)
    assert shlex.split(hint(result).rpartition(": ")[2]) == ["-O", ODD]
    token_file = tmp_path / ODD
    token_file.write_text("r" * 40)
    token_file.chmod(stat.S_IRUSR | stat.S_IRGRP)
    result = run_s2("lite", "--memory", "--port", "0", "--root-token-file", token_file)
    assert shlex.split(hint(result)) == ["chmod", "600", str(token_file)]
