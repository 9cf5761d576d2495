"""`trim` and `fence` as they are typed, against a real server."""

import json

from support.terminal import answered


def assert_said(result, s2, uri, text, *, tail):
    """The one line, which ends with the tail as the acknowledgement gave it."""
    seq_num, at, timestamp = s2("check-tail", uri).stdout.decode().split()
    assert (seq_num, at) == (str(tail), "@")
    assert result.stderr.decode() == f"{uri}: {text} // tail: {tail} @ {timestamp}\n"


def test_trim_says_what_it_did(s2, ten):
    result = s2("trim", ten, "3")
    assert_said(result, s2, ten, "trim point 3 appended at 10", tail=11)
    account = json.loads(s2("trim", ten, "4", "-o", "json").stdout)
    assert (account["trim_point"], account["seq_num"], account["tail"]["seq_num"]) == (4, 11, 12)
    s2("trim", ten, "5", "-m", "3", code=5)
    assert s2("read", ten, "-n", "1").stdout == b"4\n"


def test_fence_keeps_other_writers_out(s2, ten):
    result = s2("fence", ten, "mine")
    assert_said(result, s2, ten, 'fencing token "mine" appended at 10', tail=11)
    s2("append", ten, "--fencing-token", "other", stdin=b"x\n", code=5)
    s2("append", ten, "--fencing-token", "mine", stdin=b"x\n")
    s2("fence", ten, "next", "--fencing-token", "other", code=5)
    s2("fence", ten, "next", "--fencing-token", "mine")
    # Done already: as after a loss of its acknowledgement.
    result = s2("fence", ten, "next", "--fencing-token", "mine")
    assert b"in effect already" in result.stderr
    s2("fence", ten, "x" * 37, code=2)
    result = s2("fence", ten, "", "--fencing-token", "next", "--max-outage", "5s")
    assert_said(result, s2, ten, "the end of the fence appended at 13", tail=14)


def test_trim_of_what_is_missing_makes_nothing(s2, shared_server):
    basin = shared_server.create_basin(create_stream_on_append=True)
    s2("trim", f"s2://{basin}/missing", "0", code=3)
    assert shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"] == []


def test_a_trim_beyond_the_tail_wants_force(s2, ten):
    result = s2("trim", ten, "11", code=5)
    assert (result.returncode, result.stdout) == (5, b"")
    assert result.stderr.decode() == (
        f"error: {ten} ends at sequence number 10: a trim to 11 would delete every record of it\n"
        "hint: a trim to 10 deletes what is there now; --force does the one to 11\n"
    )
    # Also by the name that the official tool has not, with a condition, and where nobody is asked.
    s2("records", "trim", ten, "99", "-m", "10", "--yes", code=5)
    assert s2("read", ten).stdout.count(b"\n") == 10
    s2("trim", ten, "11", "--force")
    assert s2("read", ten).stdout == b""


def test_a_trim_to_the_tail_deletes_what_is_there(s2, ten):
    s2("trim", ten, "10")
    s2("append", ten, stdin=b"new\n")
    assert s2("read", ten).stdout == b"new\n"


def test_trim_asks_on_a_terminal(s2, ten, env):
    for answer in (b"n\n", b"\n"):
        code, said = answered(["trim", ten, "3"], answer, env)
        assert (code, "nothing was deleted" in said) == (1, True)
        assert f"delete the records of {ten} before sequence number 3? [y/N] " in said
    code, _ = answered(["trim", ten, "3"], b"\x03", env)
    assert code == 130
    assert s2("read", ten).stdout.startswith(b"0\n")
    code, said = answered(["trim", ten, "3"], b"y\n", env)
    assert (code, "trim point 3 appended at 10" in said) == (0, True)
    assert s2("read", ten).stdout.startswith(b"3\n")
    code, said = answered(["trim", ten, "5", "--yes"], b"", env)
    assert (code, "[y/N]" in said) == (0, False)
    assert s2("read", ten).stdout.startswith(b"5\n")


def test_a_token_that_may_trim_and_not_ask_for_the_tail_says_force(run_s2, make_server, tmp_path):
    token_file = tmp_path / "root.token"
    token_file.touch(mode=0o600)
    token_file.write_text("r" * 40 + "\n")
    server = make_server(options=("--root-token-file", str(token_file)))
    env = {**server.env(), "S2_ACCESS_TOKEN": "r" * 40}
    run_s2("create", "s2://trim-basin", env=env, check=True)
    run_s2("append", "--create", "s2://trim-basin/s", stdin=b"a\nb\n", env=env, check=True)
    issued = run_s2(
        "tokens", "issue", "t", "--basins-prefix=", "--streams-prefix=", "--ops", "append,trim", env=env, check=True
    )
    limited = {**server.env(), "S2_ACCESS_TOKEN": issued.stdout.decode().strip()}
    result = run_s2("trim", "s2://trim-basin/s", "1", env=limited)
    assert result.returncode == 4
    assert b"hint: the token needs the operation check-tail; --force trims without checking the tail" in result.stderr
    assert run_s2("trim", "s2://trim-basin/s", "1", "--force", env=limited).returncode == 0
    assert run_s2("read", "s2://trim-basin/s", env=env).stdout == b"b\n"
