"""Writes with a request token: each is executed once, whatever happens to the server or to the answer."""

import asyncio
import hashlib
import http.client
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.waiting import TIMEOUT_S, until

from s2cli.errors import ApiError
from s2cli.server.core.idempotency import Identity, Replies
from s2cli.wire.s2_pb2 import AppendAck, AppendInput

MORTAL_SERVER = Path(__file__).parents[2] / "faults" / "mortal_server.py"
BAD_TOKENS = ("", "x" * 37)


def append(server, basin, body="once", token="token", stream="stream", **members):
    record = {"records": [{"body": body}], **members}
    headers = {} if token is None else {"s2-request-token": unique(token, basin)}
    path = f"/v1/streams/{stream}/records"
    return server.request("POST", path, basin=basin, json_body=record, headers=headers)


def unique(token, basin):
    """A token is one for the whole server; a bad one stays what it is."""
    return token if token in BAD_TOKENS else f"{token}-{basin}"[:36]


def bodies(server, basin, stream="stream"):
    answer = server.request("GET", f"/v1/streams/{stream}/records?seq_num=0&clamp=true&count=1000", basin=basin)
    return [] if answer.status == 416 else [record["body"] for record in answer.json()["records"]]


def assert_same(first, second):
    assert (first.status, first.body) == (second.status, second.body)
    assert {name: value for name, value in first.headers.items() if name != "date"} == {
        name: value for name, value in second.headers.items() if name != "date"
    }


def assert_error(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return answer.json()["message"]


@pytest.fixture
def stream(shared_server, basin):
    shared_server.create_stream(basin)
    return basin


def test_an_append_is_executed_once(shared_server, stream):
    first = append(shared_server, stream)
    assert first.json()["end"]["seq_num"] == 1
    append(shared_server, stream, "between", token=None)
    assert_same(first, append(shared_server, stream))
    assert bodies(shared_server, stream) == ["once", "between"]
    assert append(shared_server, stream, token="other").json()["start"]["seq_num"] == 2


def test_an_append_as_protobuf_is_executed_once(shared_server, stream):
    message = AppendInput(match_seq_num=0)
    message.records.add(body=b"once")
    kind = "application/protobuf"
    headers = {"content-type": kind, "accept": kind, "s2-request-token": "protobuf"}

    def send():
        path = "/v1/streams/stream/records"
        return shared_server.request("POST", path, basin=stream, body=message.SerializeToString(), headers=headers)

    first = send()
    assert (first.status, AppendAck.FromString(first.body).end.seq_num) == (200, 1)
    # Not a failed condition, although it would be one now.
    assert_same(first, send())
    assert bodies(shared_server, stream) == ["once"]


def test_a_token_that_comes_with_another_request_is_refused(shared_server, stream):
    shared_server.create_stream(stream, "second")
    assert append(shared_server, stream).status == 200
    for answer in (
        append(shared_server, stream, "changed"),
        append(shared_server, stream, stream="second"),
        append(shared_server, stream, match_seq_num=1),
        shared_server.request(
            "DELETE", "/v1/streams/stream", basin=stream, headers={"s2-request-token": unique("token", stream)}
        ),
    ):
        assert_error(answer, 409, "request_token_reused")
        assert answer.json()["error"] == "request_token_reused"
    assert bodies(shared_server, stream) == ["once"]
    assert bodies(shared_server, stream, "second") == []


def test_identical_requests_at_the_same_moment_are_executed_once(shared_server, stream):
    answers = []
    barrier = threading.Barrier(12, timeout=TIMEOUT_S)

    def send():
        barrier.wait()
        answers.append(append(shared_server, stream, "at once", token="at-once"))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert len(answers) == 12
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert bodies(shared_server, stream) == ["at once"]


def test_what_failed_may_succeed_later_with_the_same_token(shared_server, stream):
    assert append(shared_server, stream, match_seq_num=1).status == 412
    append(shared_server, stream, "first", token=None)
    assert append(shared_server, stream, match_seq_num=1).status == 200
    assert append(shared_server, stream, match_seq_num=1).status == 200
    assert bodies(shared_server, stream) == ["first", "once"]


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_a_bad_token(shared_server, stream, token):
    for answer in (
        append(shared_server, stream, token=token),
        shared_server.request("PATCH", f"/v1/basins/{stream}", json_body={}, headers={"s2-request-token": token}),
    ):
        message = assert_error(answer, 400, "bad_header")
        assert message.startswith("Invalid header `s2-request-token`: ")


def test_the_answers_of_the_control_plane(server, unique_basin):
    basin = unique_basin()

    def send(method, path, token, body=None):
        headers = {"s2-request-token": token}
        return server.request(method, path, basin=basin, json_body=body, headers=headers)

    requests = [
        ("PUT", f"/v1/basins/{basin}", "1", {"config": {"create_stream_on_read": True}}),
        ("PUT", f"/v1/basins/{basin}", "2", {"config": {"create_stream_on_append": True}}),
        ("PATCH", f"/v1/basins/{basin}", "3", {"create_stream_on_read": True}),
        ("PUT", "/v1/streams/one", "4", {"retention_policy": {"age": 60}}),
        ("PUT", "/v1/streams/one", "5", {"retention_policy": {"age": 61}}),
        ("PUT", "/v1/streams/one", "6", {"retention_policy": {"age": 61}}),
        ("PATCH", "/v1/streams/one", "7", {"retention_policy": {"age": 62}}),
        ("DELETE", "/v1/streams/one", "8", None),
        ("DELETE", f"/v1/basins/{basin}", "9", None),
    ]
    first = []
    for request in requests:
        first.append(send(request[0], request[1], request[2], request[3]))
    assert [answer.status for answer in first] == [201, 200, 200, 201, 200, 200, 200, 202, 202]
    results = [answer.headers.get("s2-provision-result") for answer in first]
    assert results == ["created", "updated", None, "created", "updated", "noop", None, None, None]
    for _ in range(2):
        for request, answer in zip(requests, first, strict=True):
            assert_same(answer, send(*request))
        server.kill()
        server.start()
    # The names are free again, and what is made under them is nobody's business.
    until(lambda: server.request("GET", f"/v1/basins/{basin}").status == 404)
    server.create_basin(basin)
    server.create_stream(basin, "one")
    for request, answer in zip(requests, first, strict=True):
        assert_same(answer, send(*request))
    assert server.request("GET", "/v1/streams/one", basin=basin).json()["retention_policy"] == {"age": 604800}


def test_replies_outlive_a_kill(server):
    basin = server.create_basin()
    server.create_stream(basin)
    first = append(server, basin)
    server.kill()
    server.start()
    assert_same(first, append(server, basin))
    assert bodies(server, basin) == ["once"]


def mortal_server(data, moment):
    """A server that dies at the first such moment, as a process and its port."""
    command = [sys.executable, str(MORTAL_SERVER), str(data), moment, "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(("moment", "found"), [("admitted", 0), ("committed", 1)])
def test_a_kill_between_the_effect_and_the_answer_of_an_append(make_server, endpoint_at, tmp_path, moment, found):
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin)
    server.stop()
    process, port = mortal_server(tmp_path / "data", moment)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        append(endpoint_at(port), basin)
    assert process.wait(TIMEOUT_S) == -9
    process.stdout.close()
    server.start()
    assert bodies(server, basin) == ["once"] * found
    first = append(server, basin)
    assert (first.status, first.json()["start"]["seq_num"], first.json()["tail"]["seq_num"]) == (200, 0, 1)
    assert_same(first, append(server, basin))
    assert bodies(server, basin) == ["once"]


def test_a_kill_between_the_effect_and_the_answer_of_a_change(make_server, endpoint_at, tmp_path):
    server = make_server()
    basin = server.create_basin()
    server.create_stream(basin)
    server.stop()
    config = {"retention_policy": {"age": 77}}

    def change(endpoint, method="PUT", body=config):
        headers = {"s2-request-token": f"change-{method}"}
        return endpoint.request(method, "/v1/streams/stream", basin=basin, json_body=body, headers=headers)

    for method in "PUT", "PATCH", "DELETE":
        process, port = mortal_server(tmp_path / "data", "changed")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            change(endpoint_at(port), method)
        assert process.wait(TIMEOUT_S) == -9
        process.stdout.close()
        server.start()
        if method == "PUT":
            # What others did meanwhile stays.
            other = server.request("PATCH", "/v1/streams/stream", basin=basin, json_body={"storage_class": "standard"})
            assert other.status == 200
            again = change(server, method)
            assert (again.status, again.headers["s2-provision-result"]) == (200, "updated")
            kept = server.request("GET", "/v1/streams/stream", basin=basin).json()
            assert (kept["storage_class"], kept["retention_policy"]) == ("standard", {"age": 77})
        elif method == "PATCH":
            again = change(server, method)
            assert (again.status, again.json()["retention_policy"]) == (200, {"age": 77})
        else:
            assert change(server, method).status == 202
        server.stop()


# Where an engine keeps replies.
REPLIES = {"sqlite": "sqlite.reply_rows", "bucket": "bucket.reply_table"}


def test_replies_are_bounded_in_time_and_number(make_thread_server, monkeypatch):
    server = make_thread_server()
    basin = server.create_basin()
    server.create_stream(basin)
    replies = f"s2cli.server.store.{REPLIES[os.environ.get('ENGINE_OF_TESTS', 'sqlite')]}"
    monkeypatch.setattr(f"{replies}.MAX_REPLIES", 3)
    for number in range(4):
        append(server, basin, token=f"token-{number}")
    assert len(bodies(server, basin)) == 4
    append(server, basin, token="token-1")
    assert len(bodies(server, basin)) == 4
    append(server, basin, token="token-0")
    assert len(bodies(server, basin)) == 5
    monkeypatch.setattr(f"{replies}.MAX_REPLY_AGE_MS", 0)
    append(server, basin, token="token-0")
    assert len(bodies(server, basin)) == 6


def test_a_compressed_repetition_is_the_same_request(shared_server, stream):
    import gzip

    first = append(shared_server, stream)
    body = gzip.compress(json.dumps({"records": [{"body": "once"}]}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    headers["s2-request-token"] = unique("token", stream)
    again = shared_server.request("POST", "/v1/streams/stream/records", basin=stream, body=body, headers=headers)
    assert_same(first, again)
    assert bodies(shared_server, stream) == ["once"]


# Whose request token it is.

ALICE, BOB = SimpleNamespace(id="alice"), SimpleNamespace(id="bob")


class Stored:
    """A store of replies, and the writes that were executed."""

    def __init__(self):
        self.replies = {}
        self.executed = []

    async def get_reply(self, basin, key, now_ms):
        return self.replies.get(key)

    async def save_reply(self, basin, reply):
        self.replies[reply.key] = reply
        reply.saved = True

    def once(self, grant, token, request):
        async def execute(draft):
            self.executed.append(request)
            return draft.reply(200, b"reply %d" % len(self.executed), [], None)

        return Replies(self, lambda: 1).once(grant, "basin", token, Identity([request], None), execute)


def test_each_bearer_has_request_tokens_of_his_own():
    async def run():
        store = Stored()
        replies = [await store.once(grant, b"token", b"write") for grant in (ALICE, BOB, None) * 2]
        assert [reply.body for reply in replies] == [b"reply 1", b"reply 2", b"reply 3"] * 2
        for grant in ALICE, BOB, None:
            with pytest.raises(ApiError) as refused:
                await store.once(grant, b"token", b"another write")
            assert refused.value.code == "request_token_reused"
        # Data directories have these keys in them.
        keys = b"\0alice\0token", b"\0bob\0token", b"token"
        assert [*store.replies] == [hashlib.sha256(key).digest() for key in keys]

    asyncio.run(run())


def test_what_was_stored_when_bearers_shared_their_tokens_is_found_by_whoever_repeats_it():
    async def run():
        for number in range(8):
            store, token = Stored(), b"token-%d" % number
            await store.once(None, token, b"write")
            assert (await store.once(ALICE, token, b"write")).body == b"reply 1"
            assert store.executed == [b"write"]
            # That of another is no reason to refuse one's own.
            assert (await store.once(BOB, token, b"another write")).body == b"reply 2"
            assert (await store.once(BOB, token, b"another write")).body == b"reply 2"
            assert store.executed == [b"write", b"another write"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "told"),
    [(ApiError("storage", "the disk is full"), "the disk is full"), (ZeroDivisionError("a bug"), "internal error")],
)
def test_whoever_repeats_a_write_that_is_just_being_executed_is_told_of_its_failure(error, told):
    async def run():
        replies, begun, failing = Replies(Stored(), lambda: 1), asyncio.Event(), asyncio.Event()

        async def execute(_):
            begun.set()
            await failing.wait()
            raise error

        def once():
            return asyncio.ensure_future(replies.once(None, "basin", b"token", Identity([b"write"], None), execute))

        first = once()
        await begun.wait()
        second = once()
        await asyncio.sleep(0)
        failing.set()
        with pytest.raises(type(error)) as caught:
            await first
        assert caught.value is error
        with pytest.raises(ApiError, match=told):
            await second

    asyncio.run(run())
