"""The official command-line tool, unchanged, against the embedded server.

Not part of the suite, because building that tool takes ten minutes:

    S2_PEER=/path/to/the/official/s2 pytest tests/interop/official_binary.py
"""

import base64
import os
import subprocess
import threading
import time

from support.waiting import TIMEOUT_S, until_readable

PEER = os.environ["S2_PEER"]


def start(server, *words, **options):
    env = {
        "HOME": "/nonexistent",
        "S2_ACCESS_TOKEN": "token",
        "S2_ACCOUNT_ENDPOINT": server.url,
        "S2_BASIN_ENDPOINT": server.url,
        "S2_NO_UPDATE_CHECK": "1",
    }
    return subprocess.Popen([PEER, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def official(server, *words, stdin=b"", code=0):
    with start(server, *words, stdin=subprocess.PIPE) as process:
        stdout, stderr = process.communicate(stdin, timeout=TIMEOUT_S)
    assert process.returncode == code, stderr.decode()
    return stdout


def test_the_commands_of_the_main_job(server):
    uri = "s2://official-basin/numbers"
    official(server, "create-basin", "official-basin")
    assert b"official-basin" in official(server, "list-basins")
    official(server, "create-stream", uri, "--retention-policy", "30d", "--storage-class", "standard")
    assert b"30days" in official(server, "get-stream-config", uri)
    assert b"standard" in official(server, "get-stream-config", uri)
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    official(server, "append", uri, stdin=lines)
    assert official(server, "read", uri, "--seq-num", "0", "--count", "100000") == lines
    assert official(server, "tail", uri, "-n", "3") == b"99997\n99998\n99999\n"
    assert official(server, "check-tail", uri).startswith(b"100000 @ ")
    official(server, "trim", uri, "99000")
    official(server, "fence", uri, "mine")
    official(server, "append", uri, "-f", "theirs", stdin=b"refused\n", code=1)
    official(server, "append", uri, "-f", "mine", stdin=b"accepted\n")
    read = official(server, "read", uri, "--seq-num", "0", "--count", "5000", "--format", "json")
    assert read.startswith(b'{"seq_num":99000,')
    assert len(read.splitlines()) == 1003
    assert b'"body":"accepted"' in read.splitlines()[-1]
    assert official(server, "ls", "official-basin").startswith(uri.encode())
    official(server, "delete-stream", uri)
    official(server, "delete-basin", "official-basin")


def test_a_follower_prints_what_comes(server):
    uri = "s2://official-follow/lines"
    official(server, "create-basin", "official-follow", "--create-stream-on-append")
    official(server, "append", uri, stdin=b"before\n")
    with start(server, "tail", "-f", "-n", "1", uri) as follower:
        assert follower.stdout.readline() == b"before\n"
        official(server, "append", uri, stdin=b"after\n")
        until_readable(follower.stdout)
        assert follower.stdout.readline() == b"after\n"
        follower.terminate()


def test_encrypted_streams(server, tmp_path):
    key = base64.b64encode(bytes(range(32))).decode()
    for cipher in ("aegis-256", "aes-256-gcm"):
        uri = f"s2://official-{cipher}/lines"
        official(server, "create-basin", f"official-{cipher}", "--stream-cipher", cipher, "--create-stream-on-append")
        official(server, "append", uri, "-k", key, stdin=b"one\ntwo\n")
        assert official(server, "read", uri, "--seq-num", "0", "--count", "2", "-k", key) == b"one\ntwo\n"
        official(server, "read", uri, "--seq-num", "0", "--count", "2", code=1)


def test_an_append_goes_on_over_a_rolling_restart(server):
    uri = "s2://official-rolling/lines"
    official(server, "create-basin", "official-rolling")
    official(server, "create-stream", uri)
    expected = b""
    with start(server, "append", uri, stdin=subprocess.PIPE) as process:
        said = []
        threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True).start()
        try:
            for number in range(2000):
                line = b"%d\n" % number
                expected += line
                process.stdin.write(line)
                process.stdin.flush()
                if number in (500, 1200):
                    server.stop()
                    server.start()
                time.sleep(0.0005)
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.wait(TIMEOUT_S) == 0, said
    assert official(server, "read", uri, "--seq-num", "0", "--count", "2000") == expected
