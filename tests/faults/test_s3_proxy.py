"""The proxy in front of the S3 server does what its rules say, seen with a client that knows nothing of it."""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from support import s3_proxy
from support.s3_faults import (
    CONFLICT_AFTER,
    ERROR_AFTER,
    EXPIRED,
    FAILED_AFTER,
    LIE,
    LOST_REPLY,
    NO_BUCKET,
    SILENT,
    SLOW_DOWN,
    UNREACHABLE,
    Faults,
    Request,
    Rule,
)
from support.s3_proxy import S3Proxy
from support.s3_server import connect
from support.waiting import until


@pytest.fixture
def proxy(s3_server):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        yield proxy


@pytest.fixture
def direct(s3_server):
    return connect(s3_server.url)


@pytest.fixture
def prefix(tmp_path):
    """Keys of this test's own."""
    return f"{tmp_path.name}/"


def read(store, key) -> bytes:
    return obstore.get(store, key).bytes().to_bytes()


def exists(store, key) -> bool:
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def test_requests_and_bytes_are_counted_by_kind(proxy, prefix):
    store = connect(proxy.url)
    for number in range(3):
        obstore.put(store, f"{prefix}{number}", bytes(100), use_multipart=False)
    assert read(store, f"{prefix}0") == bytes(100)
    obstore.get_range(store, f"{prefix}1", start=0, length=10)
    obstore.head(store, f"{prefix}2")
    assert len(obstore.list(store, prefix=prefix).collect()) == 3
    obstore.delete(store, [f"{prefix}{number}" for number in range(3)])
    counts = proxy.take_counts()
    assert counts.requests == {"PUT": 3, "GET": 2, "HEAD": 1, "LIST": 1, "DELETE": 1}
    assert counts.sent_bytes["PUT"] == 300
    assert counts.received_bytes["GET"] == 110
    assert not proxy.take_counts().requests


def test_an_upload_in_parts_counts_as_what_a_bill_has(proxy, prefix):
    store = connect(proxy.url)
    obstore.put(store, f"{prefix}large", bytes(11_000_000), use_multipart=True, chunk_size=5 * 1024 * 1024)
    counts = proxy.take_counts()
    assert counts.requests == {"POST": 2, "PUT": 3}
    assert counts.sent_bytes["PUT"] == 11_000_000


def test_every_request_waits_and_they_wait_at_once(proxy, prefix):
    store = connect(proxy.url)
    proxy.latency_ms = 300
    began_s = time.monotonic()
    threads = [threading.Thread(target=obstore.put, args=(store, f"{prefix}{number}", b"")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began_s >= 0.3
    assert proxy.take_counts().most_under_way > 1


@pytest.mark.parametrize("fault", [SLOW_DOWN, UNREACHABLE])
def test_what_fails_before_it_is_done_is_not_done_and_a_retry_does_it(proxy, direct, prefix, fault):
    proxy.fail(Rule(fault, times=1))
    with pytest.raises(BaseError):
        obstore.put(connect(proxy.url), f"{prefix}a", b"a")
    assert not exists(direct, f"{prefix}a")
    proxy.fail(Rule(fault, times=2))
    obstore.put(connect(proxy.url, retries=5), f"{prefix}a", b"a")
    assert read(direct, f"{prefix}a") == b"a"
    assert proxy.take_counts().faults == {fault: 3}


def test_credentials_that_have_expired(proxy, direct, prefix):
    proxy.fail(Rule(EXPIRED))
    store = connect(proxy.url, retries=5)
    with pytest.raises(PermissionDeniedError, match="ExpiredToken"):
        obstore.put(store, f"{prefix}a", b"a")
    assert not exists(direct, f"{prefix}a")
    proxy.fail()
    obstore.put(store, f"{prefix}a", b"a")


def test_a_bucket_that_vanishes_and_comes_back(proxy, direct, prefix):
    store = connect(proxy.url)
    obstore.put(store, f"{prefix}a", b"a")
    proxy.fail(Rule(NO_BUCKET))
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.get(store, f"{prefix}a")
    proxy.fail()
    assert read(store, f"{prefix}a") == b"a"


def test_who_waits_when_all_becomes_unreachable_is_told(proxy, prefix):
    store = connect(proxy.url)
    proxy.fail(Rule(SILENT))
    failures = []

    def ask():
        try:
            obstore.put(store, f"{prefix}a", b"a")
        except BaseError as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: proxy.counts.faults[SILENT])
    assert thread.is_alive()
    proxy.fail(Rule(UNREACHABLE))
    thread.join()
    assert len(failures) == 1


def test_a_request_without_an_answer_ends_when_the_client_gives_up(proxy, direct, prefix):
    proxy.fail(Rule(SILENT))
    with pytest.raises(BaseError):
        obstore.put(connect(proxy.url, timeout_s=1), f"{prefix}a", b"a")
    assert not exists(direct, f"{prefix}a")
    until(lambda: proxy.counts.under_way == 0)


@pytest.mark.parametrize("fault", [LOST_REPLY, ERROR_AFTER])
def test_a_reply_that_is_lost_after_the_write(proxy, direct, prefix, fault):
    proxy.fail(Rule(fault, times=1, kinds=("PUT",)))
    with pytest.raises(BaseError):
        obstore.put(connect(proxy.url), f"{prefix}a", b"a")
    assert read(direct, f"{prefix}a") == b"a"


def test_whoever_repeats_a_conditional_put_whose_reply_was_lost_meets_its_own_write(proxy, direct, prefix):
    proxy.fail(Rule(LOST_REPLY, times=1, kinds=("PUT",)))
    store = connect(proxy.url)
    with pytest.raises(BaseError):
        obstore.put(store, f"{prefix}a", b"mine", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, f"{prefix}a", b"mine", mode="create")
    assert read(direct, f"{prefix}a") == b"mine"


@pytest.mark.parametrize("fault", [CONFLICT_AFTER, FAILED_AFTER])
def test_a_conflict_with_ones_own_write(proxy, direct, prefix, fault):
    proxy.fail(Rule(fault))
    store = connect(proxy.url)
    version = obstore.put(store, f"{prefix}a", b"1")["e_tag"]  # no condition: it covers only those that have one
    with pytest.raises((PreconditionError, AlreadyExistsError)):
        obstore.put(store, f"{prefix}a", b"2", mode={"e_tag": version})
    assert read(direct, f"{prefix}a") == b"2"
    with pytest.raises((PreconditionError, AlreadyExistsError)):
        obstore.put(store, f"{prefix}b", b"new", mode="create")
    assert read(direct, f"{prefix}b") == b"new"


def test_a_bucket_that_lies(proxy, direct, prefix):
    proxy.fail(Rule(LIE))
    store = connect(proxy.url)
    obstore.put(store, f"{prefix}a", b"a")
    assert not exists(store, f"{prefix}a")
    assert not exists(direct, f"{prefix}a")


def test_a_rule_is_for_some_kinds_and_some_paths(proxy, prefix):
    store = connect(proxy.url)
    proxy.fail(Rule(SLOW_DOWN, kinds=("GET",)), Rule(SLOW_DOWN, part="/manifest/"))
    obstore.put(store, f"{prefix}wal/1", b"1")
    with pytest.raises(BaseError):
        obstore.get(store, f"{prefix}wal/1")
    with pytest.raises(BaseError):
        obstore.put(store, f"{prefix}manifest/1", b"1")


def test_the_seed_decides_who_suffers():
    request = Request("PUT", "/bucket/key", "", {})

    def chosen(seed):
        faults = Faults(seed)
        faults.set(Rule(SLOW_DOWN, share=0.5))
        return [faults.choose(request) for _ in range(100)]

    assert chosen(1) == chosen(1) != chosen(2)
    assert 20 < chosen(1).count(SLOW_DOWN) < 80


def test_as_a_program_it_is_told_its_rules_over_http(s3_server, prefix):
    words = [sys.executable, str(Path(s3_proxy.__file__)), s3_server.url, "--latency-ms", "1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()

        def ask(method, path, body=None):
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            with contextlib.closing(connection):
                connection.request(method, path, body=json.dumps(body).encode())
                return json.loads(connection.getresponse().read())

        store = connect(url)
        obstore.put(store, f"{prefix}a", b"a")
        ask("PUT", "/-/rules", {"latency_ms": 2, "rules": [{"fault": SLOW_DOWN, "times": 1}]})
        with pytest.raises(BaseError):
            obstore.get(store, f"{prefix}a")
        assert read(store, f"{prefix}a") == b"a"
        counts = ask("GET", "/-/counts")
        assert counts["requests"] == {"PUT": 1, "GET": 2}
        assert counts["faults"] == {SLOW_DOWN: 1}
        assert ask("GET", "/-/counts")["requests"] == {}
        process.stdin.close()
        assert process.wait() == 0
