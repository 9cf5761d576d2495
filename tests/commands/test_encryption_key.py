"""Where the commands take the key of an encrypted stream from, and that they never repeat it."""

import base64
import os
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def uri(shared_server):
    basin = shared_server.create_basin(stream_cipher="aes-256-gcm")
    shared_server.create_stream(basin)
    return f"s2://{basin}/stream"


def test_a_file_a_descriptor_or_the_environment(s2, uri, shared_server, tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    s2("append", uri, "-k", str(file), stdin=b"one\n")
    s2("append", uri, stdin=b"two\n", env={"S2_ENCRYPTION_KEY": KEY})
    s2("fence", uri, "", "--encryption-key-file", str(file))
    assert s2("tail", uri, "-n3", "-k", str(file)).stdout == b"one\ntwo\n"
    reading, writing = os.pipe()
    os.write(writing, KEY.encode())
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-m", "s2cli", "read", uri, "-k", f"/dev/fd/{reading}"],
        env={**os.environ, **shared_server.env()},
        pass_fds=[reading],
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    os.close(reading)
    assert (done.returncode, done.stdout) == (0, b"one\ntwo\n"), done.stderr
    # The file wins.
    assert s2("read", uri, "-k", str(file), env={"S2_ENCRYPTION_KEY": "x"}).stdout == b"one\ntwo\n"
    assert s2("check-tail", uri).stdout.startswith(b"3 @ ")


def test_a_key_on_the_command_line_is_refused_and_not_repeated(s2, uri):
    done = s2("read", uri, "-k", KEY, code=2)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"S2_ENCRYPTION_KEY" in done.stderr
    assert KEY.encode() not in done.stderr


@pytest.mark.parametrize("text", ["not base64", base64.b64encode(bytes(16)).decode()])
def test_what_is_no_key_is_refused_and_not_repeated(s2, uri, tmp_path, text):
    file = tmp_path / "key"
    file.write_text(text)
    for options, env in (["-k", str(file)], {}), ([], {"S2_ENCRYPTION_KEY": text}):
        done = s2("read", uri, *options, env=env, code=2)
        assert text.encode() not in done.stderr


def test_a_missing_key_is_asked_for(s2, uri):
    for done in (
        s2("read", uri, "--follow", code=7),
        s2("read", uri, "--follow", "--transport", "sse", code=7),
        s2("append", uri, stdin=b"x\n", code=7),
        s2("append", uri, "--transport", "unary", stdin=b"x\n", code=7),
        s2("fence", uri, "token", code=7),
    ):
        assert done.returncode == 7
        assert b"missing encryption key" in done.stderr
        assert b"-k FILE" in done.stderr


def test_a_key_does_not_go_in_the_clear_to_another_machine(run_s2):
    env = {"S2_ACCOUNT_ENDPOINT": "http://192.0.2.1", "S2_BASIN_ENDPOINT": "http://192.0.2.1"}
    done = run_s2("read", "s2://some-basin/s", env={**env, "S2_ENCRYPTION_KEY": KEY})
    assert done.returncode == 2
    assert b"encryption key would go unencrypted" in done.stderr


def test_a_key_from_a_pipe_serves_every_stream_that_a_command_opens(s2, uri, tmp_path):
    basin = uri.rpartition("/")[0]
    key, more = {"stdin": KEY.encode()}, tmp_path / "more"
    more.write_bytes(b"one\ntwo\n")
    for path in ("-", "/dev/stdin"):
        s2("append", uri, "-k", path, more, **key)
    s2("create", f"{basin}/dead")
    s2("read", uri, "--exec", "exit 1", "--exec-retries", "0", "--dead-letter", f"{basin}/dead", "-k", "-", **key)
    assert s2("read", f"{basin}/dead", "-k", "-", **key).stdout == b"one\ntwo\none\ntwo\n"
    assert s2("read", f"{basin}/*", "-k", "-", "--raw", **key).stdout.count(b"one") == 4
    s2("copy", uri, f"{basin}/copy", "--create", "--src-key-file", "-", "--dst-key-file", "-", **key)
    assert s2("tail", f"{basin}/copy", "-k", "-", "-n", "1", **key).stdout == b"two\n"
    said = s2("append", uri, "-k", "-", code=2, **key).stderr
    assert b"standard input has the key: the records must come from a file" in said
