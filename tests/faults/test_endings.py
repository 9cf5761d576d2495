"""How an append ends when it cannot continue, or when somebody ends it: the exit code, and an account that is true."""

import os
import signal
import subprocess
import sys

import pytest
from support.waiting import TIMEOUT_S, until

FIRST = [b"first %d" % number for number in range(3)]
SECOND = [b"second %d" % number for number in range(4)]


def block(lines):
    return b"".join(line + b"\n" for line in lines)


class Outage:
    """An append whose first lines are acknowledged; the second ones went out and, with `arrives`, arrived, but no
    acknowledgement came back; and now nobody gets through to the server."""

    def __init__(self, server, basin, proxy, start_append, *options, arrives, says="trying again", **more):
        self.server, self.basin, self.proxy = server, basin, proxy
        self.uri = f"s2://{basin}/stream"
        server.create_stream(basin)
        self.append = start_append(self.uri, proxy.env(), *options, **more)
        self.append.feed(block(FIRST))
        until(lambda: self.tail() == len(FIRST))
        until(lambda: proxy.links)
        link = proxy.links[-1]
        until(lambda: link.acked_records() == len(FIRST))
        link.mute.set()
        if not arrives:
            link.hold()
        self.append.feed(block(SECOND))
        if arrives:
            until(lambda: self.tail() == len(FIRST) + len(SECOND))
        else:
            until(lambda: link.held_bytes)
        proxy.open = False
        link.cut(keep=False)
        self.append.wait_for(says)

    def tail(self):
        answer = self.server.request("GET", "/v1/streams/stream/records/tail", basin=self.basin)
        return answer.json()["tail"]["seq_num"]

    def end(self):
        """Lets the append through again; its exit code, account, and what it said."""
        self.proxy.open = True
        code, account, _ = self.append.finish()
        return code, account, "".join(self.append.said)


@pytest.fixture
def make_outage(shared_server, basin, make_proxy, start_append):
    def make(*options, **more):
        return Outage(shared_server, basin, make_proxy(shared_server), start_append, *options, **more)

    return make


def test_trimmed_meanwhile_is_undecided(make_outage, run_s2, shared_server):
    outage = make_outage(arrives=True)
    assert run_s2("trim", outage.uri, 7, env=shared_server.env()).returncode == 0
    code, account, said = outage.end()
    assert code == 8, said
    assert (account["durable"], account["unknown"], account["unknown_lines"]) == (3, 4, [[4, 7]])
    assert (account["outcome"], account["next_line"]) == ("undecided", 4)
    assert "lines 4 to 7" in said


def test_a_trim_before_them_is_no_obstacle(make_outage, run_s2, shared_server, read_lines_of):
    outage = make_outage(arrives=True)
    assert run_s2("trim", outage.uri, 2, env=shared_server.env()).returncode == 0
    code, account, said = outage.end()
    assert code == 0, said
    assert account["durable"] == 7
    assert read_lines_of(shared_server, outage.uri) == FIRST[2:] + SECOND


@pytest.mark.parametrize("policy", ["check", "resend"])
@pytest.mark.parametrize("arrives", [True, False])
def test_fenced_meanwhile_ends_with_a_true_account(make_outage, run_s2, shared_server, arrives, policy):
    outage = make_outage("--fencing-token", "", "--on-lost-ack", policy, arrives=arrives)
    assert run_s2("fence", outage.uri, "new", env=shared_server.env()).returncode == 0
    outage.append.feed(b"third\n")
    code, account, said = outage.end()
    assert code == 5, said
    assert "fencing_token_mismatch" in said
    # Without demands nothing says that what was not found cannot come any more.
    unknown = 4 if policy == "resend" and not arrives else 0
    assert (account["durable"], account["unknown"]) == (7 if arrives else 3, unknown)
    assert account["next_line"] == (8 if arrives else 4)


@pytest.mark.parametrize("arrives", [True, False])
def test_deleted_and_created_again_meanwhile_stops(make_outage, shared_server, arrives):
    outage = make_outage(arrives=arrives)
    assert shared_server.request("DELETE", "/v1/streams/stream", basin=outage.basin).status == 202
    until(
        lambda: (
            shared_server.request("POST", "/v1/streams", basin=outage.basin, json_body={"stream": "stream"}).status
            == 201
        )
    )
    code, account, said = outage.end()
    assert code == 5, said
    assert "deleted and created again" in said
    assert account["durable"] == 3
    assert outage.tail() == 0


def test_deleted_meanwhile_is_not_found(make_outage, shared_server):
    outage = make_outage(arrives=True)
    shared_server.request("DELETE", "/v1/streams/stream", basin=outage.basin)
    tail = "/v1/streams/stream/records/tail"
    until(lambda: shared_server.request("GET", tail, basin=outage.basin).status == 404)
    code, account, said = outage.end()
    assert code == 3, said
    assert account["unknown_lines"] == [[4, 7]]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_server_that_stays_away_ends_with_the_lines_that_are_undecided(make_outage, arrives):
    outage = make_outage("--max-outage", "5s", arrives=arrives)
    code, account, _ = outage.append.ending()
    said = "".join(outage.append.said)
    assert code == 6, said
    assert "gave up after 5 s without progress" in said
    assert (account["read"], account["durable"], account["unknown_lines"]) == (7, 3, [[4, 7]])


@pytest.mark.parametrize("arrives", [True, False])
def test_the_account_has_the_commands_that_decide_and_resume(
    make_outage, arrives, tmp_path, shared_server, read_lines_of
):
    """Each of the two resumes as it says, and the wrong one appends nothing."""
    file = tmp_path / "FILE"
    outage = make_outage("--max-outage", "3s", arrives=arrives)
    _, account, _ = outage.append.ending()
    commands = {way["tail"]: way["command"] for way in account["resume_by_tail"]}
    assert sorted(commands) == [3, 7]
    rest = [b"third"]
    file.write_bytes(block(FIRST + SECOND + rest))
    tail = outage.tail()
    assert tail in commands
    tool = tmp_path / "s2"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m s2cli "$@"\n')
    tool.chmod(0o700)
    env = {**os.environ, **shared_server.env(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(command):
        return subprocess.run(["bash", "-c", command], env=env, cwd=tmp_path, capture_output=True, timeout=TIMEOUT_S)

    assert run(commands[10 - tail]).returncode == 5
    assert run(commands[tail]).returncode == 0
    assert read_lines_of(shared_server, outage.uri) == FIRST + SECOND + rest


@pytest.mark.parametrize("arrives", [True, False])
def test_stop_asks_nothing(make_outage, arrives):
    outage = make_outage("--on-lost-ack", "stop", arrives=arrives, says="--on-lost-ack stop")
    code, account, _ = outage.append.ending()
    assert code == 8
    assert (account["durable"], account["unknown_lines"]) == (3, [[4, 7]])


@pytest.mark.parametrize("arrives", [True, False])
def test_resend_repeats_and_names_it(make_outage, shared_server, read_lines_of, arrives):
    outage = make_outage("--on-lost-ack", "resend", arrives=arrives)
    code, account, said = outage.end()
    assert code == 0, said
    assert account["repeated_lines"] == [[4, 7]]
    assert read_lines_of(shared_server, outage.uri) == FIRST + SECOND * (2 if arrives else 1)


# Refusals that pass


def refusal(status, code, *headers):
    body = b'{"code":"%s","message":"not now"}' % code.encode()
    lines = [b"HTTP/1.1 %d X" % status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "answer",
    [
        refusal(503, "unavailable"),
        refusal(503, "server_draining"),
        refusal(429, "rate_limited", b"Retry-After-Ms: 700"),
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nnope",
    ],
    ids=["unavailable", "draining", "rate-limited", "gateway"],
)
def test_a_refusal_that_passes_is_retried_and_told(
    shared_server, basin, make_proxy, start_append, read_lines_of, answer
):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    proxy.refusals.append(answer)
    append = start_append(uri, proxy.env())
    append.feed(block(FIRST))
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert account["durable"] == 3
    assert read_lines_of(shared_server, uri) == lines
    text = "nope" if answer.endswith(b"nope") else "not now"
    assert any(f"{text}; trying again" in line for line in append.said)
    assert any("resumed after" in line for line in append.said)


# Signals


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_accounts_and_ends(shared_server, basin, start_append, read_lines_of, number, expected):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    append = start_append(uri, shared_server.env())
    append.feed(block(FIRST) + b"not yet a line")
    tail = "/v1/streams/stream/records/tail"
    until(lambda: shared_server.request("GET", tail, basin=basin).json()["tail"]["seq_num"] == 3)
    os.kill(append.pid, number)
    code, account, _ = append.ending()
    assert code == expected
    assert account["outcome"] == ("interrupted" if number == signal.SIGINT else "terminated")
    assert (account["durable"], account["unknown"], account["next_line"]) == (3, 0, 4)
    assert read_lines_of(shared_server, uri) == FIRST


def test_a_second_signal_leaves_at_once(make_outage):
    outage = make_outage(arrives=True, drain_s=36000)
    os.kill(outage.append.pid, signal.SIGINT)
    outage.append.wait_for("waiting up to 36000 s for outstanding acknowledgements; a second Ctrl-C stops at once")
    os.kill(outage.append.pid, signal.SIGINT)
    code, account, _ = outage.append.ending()
    assert code == 130
    assert account["unknown_lines"] == [[4, 7]]


def test_one_signal_waits_for_what_is_under_way(make_outage, shared_server, read_lines_of):
    outage = make_outage(arrives=False)
    os.kill(outage.append.pid, signal.SIGINT)
    outage.append.wait_for("waiting up to")
    outage.proxy.open = True
    code, account, _ = outage.append.ending()
    assert code == 130
    assert account["durable"] == 7
    assert read_lines_of(shared_server, outage.uri) == FIRST + SECOND


def test_one_signal_does_not_wait_for_ever(make_outage):
    outage = make_outage(arrives=True)
    os.kill(outage.append.pid, signal.SIGINT)
    code, account, _ = outage.append.ending()  # nobody lets it through
    assert code == 130
    assert account["unknown_lines"] == [[4, 7]]
