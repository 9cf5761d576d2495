"""Encrypted streams (protocol section 11): round trips, every error, and nothing on the disk that could be read."""

import base64
import contextlib
import json
import sqlite3
import subprocess
import sys

import pytest
from support.exchanges import GivenExchange
from support.s2s import open_append, open_read
from support.waiting import TIMEOUT_S

from s2cli.errors import ApiError
from s2cli.server.api.request_body import identify
from s2cli.server.core.encryption import CIPHERS, Seal
from s2cli.server.store.interface import Chunk
from s2cli.server.store.sqlite.checksums import checksum
from s2cli.wire.s2_pb2 import ReadBatch

CIPHER_NAMES = ("aegis-256", "aes-256-gcm")
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
WITH_KEY = {"s2-encryption-key": KEY}
WITH_OTHER_KEY = {"s2-encryption-key": OTHER_KEY}
RECORDS = "/v1/streams/stream/records"


@pytest.fixture(params=CIPHER_NAMES)
def cipher(request):
    return request.param


@pytest.fixture
def encrypted(shared_server, cipher):
    """The basin of a new encrypted stream."""
    basin = shared_server.create_basin(stream_cipher=cipher)
    shared_server.create_stream(basin)
    return basin


def append(server, basin, *bodies, headers=WITH_KEY):
    body = {"records": [body if isinstance(body, dict) else {"body": body} for body in bodies]}
    return server.request("POST", RECORDS, basin=basin, json_body=body, headers=headers)


def read(server, basin, query="seq_num=0", headers=WITH_KEY):
    return server.request("GET", f"{RECORDS}?{query}", basin=basin, headers=headers)


def bodies(answer):
    return [record["body"] for record in answer.json()["records"]]


def test_records_come_back_with_their_key(shared_server, encrypted, cipher):
    listed = shared_server.request("GET", "/v1/streams", basin=encrypted).json()["streams"]
    assert listed[0]["cipher"] == cipher
    one = {"body": "one", "headers": [["name", "value"], ["n", ""]], "timestamp": 5}
    assert append(shared_server, encrypted, one, "two").json()["end"]["seq_num"] == 2
    first, second = read(shared_server, encrypted).json()["records"]
    assert (first["body"], first["headers"], first["timestamp"]) == ("one", [["name", "value"], ["n", ""]], 5)
    assert second["body"] == "two"
    assert bodies(read(shared_server, encrypted, "seq_num=1")) == ["two"]
    assert bodies(read(shared_server, encrypted, "timestamp=6")) == ["two"]
    assert bodies(read(shared_server, encrypted, "seq_num=0&count=1")) == ["one"]
    # Metered by what is in the clear: 8 + 3, and two headers of 2 + 9 and 2 + 1.
    assert bodies(read(shared_server, encrypted, "seq_num=0&bytes=25")) == ["one"]
    assert read(shared_server, encrypted, "seq_num=0&bytes=24").json()["records"] == []
    tail = shared_server.request("GET", f"{RECORDS}/tail", basin=encrypted)
    assert tail.json()["tail"]["seq_num"] == 2  # asks for no key


def test_sessions_are_sealed_too(shared_server, encrypted):
    with (
        open_append(shared_server, encrypted, headers=WITH_KEY) as writer,
        open_read(shared_server, encrypted, "seq_num=0", headers=WITH_KEY) as reader,
    ):
        writer.append(b"one", b"two")
        assert writer.ack() == (0, 2, 2)
        found = []
        while len(found) < 2:
            found += reader.batch()[0]
        writer.append(b"three" * 1000)
        while len(found) < 3:
            found += reader.batch()[0]
    assert found == [(0, b"one"), (1, b"two"), (2, b"three" * 1000)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "missing encryption key for stream cipher '{}'"),
        ("", "invalid encryption key: key material length 0 is out of range"),
        ("x" * 45, "invalid encryption key: key material length 45 is out of range"),
        ("not base64!", "invalid encryption key for stream cipher '{}': invalid base64"),
        (base64.b64encode(bytes(31)).decode(), "invalid encryption key length for stream cipher '{}': 31"),
    ],
)
def test_a_bad_key_is_a_bad_header(shared_server, encrypted, cipher, value, message):
    headers = {} if value is None else {"s2-encryption-key": value}
    for answer in (
        append(shared_server, encrypted, "x", headers=headers),
        read(shared_server, encrypted, headers=headers),
        shared_server.request("POST", RECORDS, basin=encrypted, headers={**headers, "content-type": "s2s/proto"}),
        shared_server.request("GET", RECORDS, basin=encrypted, headers={**headers, "content-type": "s2s/proto"}),
    ):
        assert answer.status == 400
        assert (answer.json()["code"], answer.json()["message"]) == ("bad_header", message.format(cipher))
    assert read(shared_server, encrypted, "tail_offset=0&wait=0").status == 416  # nothing was appended


def test_a_key_is_trimmed(shared_server, encrypted):
    assert append(shared_server, encrypted, "x", headers={"s2-encryption-key": f" {KEY} "}).status == 200


def test_a_stream_in_the_clear_takes_no_notice_of_keys(shared_server, basin):
    shared_server.create_stream(basin)
    assert append(shared_server, basin, "x").status == 200
    assert bodies(read(shared_server, basin, headers={"s2-encryption-key": "no key at all"})) == ["x"]
    assert append(shared_server, basin, "x", headers={"s2-encryption-key": ""}).status == 400


def test_the_wrong_key_reads_nothing(shared_server, encrypted):
    append(shared_server, encrypted, "mine")
    append(shared_server, encrypted, "yours", headers=WITH_OTHER_KEY)  # keys are the business of clients
    for query in ("seq_num=0", "timestamp=0"):
        answer = read(shared_server, encrypted, query, headers=WITH_OTHER_KEY)
        assert (answer.status, answer.json()["code"]) == (400, "decryption_failed")
        with open_read(shared_server, encrypted, query, headers=WITH_OTHER_KEY) as session:
            status, error = session.terminal()
            assert (status, error["code"], error["message"]) == (400, "decryption_failed", "record decryption failed")
    assert bodies(read(shared_server, encrypted, "seq_num=1", headers=WITH_OTHER_KEY)) == ["yours"]
    with open_read(shared_server, encrypted, "seq_num=0", headers=WITH_KEY) as session:
        assert session.batch()[0] == [(0, b"mine")]
        assert session.terminal()[1]["code"] == "decryption_failed"
    events = read(shared_server, encrypted, headers={**WITH_OTHER_KEY, "accept": "text/event-stream"})
    assert b"event: error" in events.body
    assert b"decryption_failed" in events.body


def test_a_follower_with_the_wrong_key_hears_of_it(shared_server, encrypted):
    with open_read(shared_server, encrypted, "tail_offset=0", headers=WITH_OTHER_KEY) as session:
        assert session.batch() == ([], 0)
        append(shared_server, encrypted, "mine")
        assert session.terminal()[1]["code"] == "decryption_failed"


def test_commands_are_for_every_key(shared_server, encrypted):
    trim = {"headers": [["", base64.b64encode(b"trim").decode()]], "body": base64.b64encode(bytes(8)).decode()}
    mixed = [{"body": "bWluZQ=="}, trim, {"body": "bWluZQ=="}]
    headers = {**WITH_KEY, "s2-format": "base64"}
    answer = shared_server.request("POST", RECORDS, basin=encrypted, json_body={"records": mixed}, headers=headers)
    assert answer.status == 200
    assert append(shared_server, encrypted, {"body": "token", "headers": [["", "fence"]]}).status == 200
    fence = read(shared_server, encrypted, "seq_num=3", headers=WITH_OTHER_KEY)
    assert fence.json()["records"][0]["body"] == "token"
    found = read(shared_server, encrypted, headers=headers).json()["records"]
    assert [record["seq_num"] for record in found] == [0, 1, 2, 3]
    assert found[1]["headers"] == trim["headers"]
    assert found[2]["body"] == "bWluZQ=="


def test_the_cipher_of_a_stream_stays(shared_server):
    basin = shared_server.create_basin(stream_cipher="aes-256-gcm")
    shared_server.create_stream(basin)
    shared_server.request("PATCH", f"/v1/basins/{basin}", json_body={"stream_cipher": None})
    shared_server.create_stream(basin, "clear")
    listed = shared_server.request("GET", "/v1/streams", basin=basin).json()["streams"]
    assert {info["name"]: info["cipher"] for info in listed} == {"stream": "aes-256-gcm", "clear": None}
    assert append(shared_server, basin, "x", headers={}).status == 400


def test_a_stream_is_created_before_its_key_is_missed(shared_server):
    basin = shared_server.create_basin(stream_cipher="aegis-256", create_stream_on_append=True)
    answer = append(shared_server, basin, "x", headers={})
    assert "missing encryption key" in answer.json()["message"]
    assert shared_server.request("GET", f"{RECORDS}/tail", basin=basin).status == 200


def test_no_record_reaches_the_disk_in_the_clear(make_server, tmp_path, cipher):
    server = make_server()
    basin = server.create_basin(stream_cipher=cipher)
    server.create_stream(basin)
    for size in (16, 5000, 300_000):
        body = "SECRET-BODY-" * (size // 12)
        answer = append(server, basin, {"body": body, "headers": [["SECRET-NAME", "SECRET-VALUE"]]}, body)
        assert answer.status == 200
    with open_append(server, basin, headers=WITH_KEY) as session:
        session.append(*[b"SECRET-SESSION"] * 500)
        session.ack()
        session.half_close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "s2.db-wal" for path in files)
    for stopped in (False, True):
        if stopped:
            server.stop()
            files = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in files:
            data = path.read_bytes()
            assert b"SECRET" not in data, path
            assert base64.b64decode(KEY) not in data
            assert KEY.encode() not in data
    server.start()
    assert len(bodies(read(server, basin))) == 506


def seal_for(cipher, stream=("basin", "stream"), uid=b"u" * 16):
    return Seal(CIPHERS[cipher], bytes(32), stream, uid)


def changed(chunk, **members):
    values = {name: getattr(chunk, name) for name in ("first_seq_num", "count", "metered_bytes", "last_timestamp")}
    return Chunk(**{**values, "data": chunk.data, "kind": chunk.kind, **members})


def test_a_moved_or_changed_chunk_does_not_open(cipher):
    data = ReadBatch(records=[{"seq_num": 7, "body": b"x"}]).SerializeToString()
    chunk = Chunk(7, 1, 9, 5, data)
    sealed = seal_for(cipher).seal(chunk, set())
    opened = seal_for(cipher).open(sealed)
    assert (opened.data, opened.kind) == (data, 0)
    assert seal_for(cipher).seal(chunk, set()).data != sealed.data
    for wrong in (
        changed(sealed, first_seq_num=8),
        changed(sealed, count=2),
        changed(sealed, metered_bytes=8),
        changed(sealed, metered_bytes=-1),
        changed(sealed, last_timestamp=6),
        changed(sealed, data=sealed.data[:-1] + bytes((sealed.data[-1] ^ 1,))),
        changed(sealed, data=sealed.data[:5]),
        changed(sealed, kind=7 - sealed.kind),  # the other cipher
        changed(sealed, kind=sealed.kind - 2),  # as in format 1
        changed(sealed, kind=9),
    ):
        with pytest.raises(ApiError, match=r"malformed|decryption failed"):
            seal_for(cipher).open(wrong)
    for stream, uid in (("basin", "other"), b"u" * 16), (("basin", "stream"), b"v" * 16), (("basin", "stream"), None):
        with pytest.raises(ApiError, match="decryption failed"):
            seal_for(cipher, stream, uid).open(sealed)


FENCE = {"seq_num": 7, "headers": [{"value": b"fence"}], "body": b"token"}
DATA = {"seq_num": 8, "body": b"x"}


@pytest.mark.parametrize(
    "batch",
    [
        {"records": [{"seq_num": 7, "body": b"x"}]},
        {"records": [FENCE, DATA]},
        {"records": [{**FENCE, "headers": [{"value": b"fence"}, {"name": b"n"}]}]},
        {"records": [{**FENCE, "headers": [{"value": b"other"}]}]},
        {"records": [{**FENCE, "seq_num": 8}]},
        {"records": [FENCE, {**FENCE, "seq_num": 9}]},
        {"records": []},
        {"records": [FENCE], "tail": {"seq_num": 100}},
    ],
)
def test_nothing_but_commands_may_lie_in_the_clear(cipher, batch):
    chunk = Chunk(7, max(1, len(batch["records"])), 9, 5, ReadBatch(**batch).SerializeToString())
    with pytest.raises(ApiError, match="stored in the clear: they were changed on the disk") as caught:
        seal_for(cipher).open(chunk)
    assert caught.value.code == "decryption_failed"
    with pytest.raises(ApiError, match="malformed"):
        seal_for(cipher).open(changed(chunk, data=b"\xff"))
    commands = changed(chunk, count=1, data=ReadBatch(records=[FENCE]).SerializeToString())
    assert seal_for(cipher).open(commands) is commands


def rewrite(server, statement, *values):
    """Somebody who can write to the disk changes the database while the server is away."""
    assert server.stop() == 0
    with contextlib.closing(sqlite3.connect(server.data / "s2.db", isolation_level=None)) as connection:
        connection.create_function("checksum", 7, checksum)
        rows = connection.execute(statement, values).fetchall()
    server.start()
    return rows


def test_a_chunk_that_was_put_there_without_the_key_is_refused(server, cipher):
    basin = server.create_basin(stream_cipher=cipher)
    server.create_stream(basin)
    append(server, basin, "mine")
    data = ReadBatch(records=[{"seq_num": 1, "timestamp": 2**62, "body": b"forged"}]).SerializeToString()
    put = (
        "INSERT INTO chunk SELECT id, 1, 14, ts, exp, checksum(id, 1, 14, ts, exp, 0, data), 0, data FROM"
        " (SELECT id + 1 AS id, ts, exp, ? AS data FROM chunk)"
    )
    rewrite(server, put, data)
    assert bodies(read(server, basin, "seq_num=0&count=1")) == ["mine"]
    answers = [read(server, basin, query) for query in ("seq_num=1", "tail_offset=1")]
    # With a count: what is not refused would be followed for ever.
    answers += [read(server, basin, "seq_num=1&count=1", {**WITH_KEY, "accept": "text/event-stream"})]
    for answer in answers:
        assert b"forged" not in answer.body
        assert base64.b64encode(b"forged") not in answer.body
    assert (answers[0].status, answers[0].json()["code"]) == (400, "decryption_failed")
    assert "changed on the disk" in answers[0].json()["message"]
    with open_read(server, basin, "seq_num=1", headers=WITH_KEY) as session:
        assert session.terminal()[1]["code"] == "decryption_failed"


def test_an_old_chunk_does_not_open_in_a_stream_created_again(server, cipher):
    basin = server.create_basin(stream_cipher=cipher)
    server.create_stream(basin)
    append(server, basin, "of the stream before")
    (old,) = rewrite(server, "SELECT data FROM chunk")
    assert server.request("DELETE", "/v1/streams/stream", basin=basin).status == 202
    while server.request("POST", "/v1/streams", basin=basin, json_body={"stream": "stream"}).status != 201:
        pass  # until the old one is gone
    append(server, basin, "of the stream after it")
    put = "UPDATE chunk SET data=?1, n=1, size=28, crc=checksum(id, 1, 28, ts, exp, kind, ?1)"
    rewrite(server, put, *old)
    answer = read(server, basin)
    assert (answer.status, answer.json()["code"]) == (400, "decryption_failed")


def identity(headers, basin, body):
    """What the server would keep of such an append."""
    return identify(GivenExchange("POST", RECORDS, headers=headers), basin, body)


def test_a_guess_at_a_body_cannot_be_checked_on_the_disk(server, cipher):
    """The digest of a request whose body is secret is keyed."""
    basin = server.create_basin(stream_cipher=cipher)
    server.create_stream(basin)
    body = json.dumps({"records": [{"body": "yes"}]}).encode()

    def send(key):
        headers = {"s2-encryption-key": key, "content-type": "application/json", "s2-request-token": "token"}
        return server.request("POST", RECORDS, basin=basin, body=body, headers=headers)

    first = send(KEY)
    assert (first.status, send(KEY).body) == (200, first.body)
    assert send(OTHER_KEY).json()["code"] == "request_token_reused"
    given = [(b"content-type", b"application/json")]
    ((stored,),) = rewrite(server, "SELECT request FROM reply")
    assert stored != identity(given, basin, body).digest
    given.append((b"s2-encryption-key", KEY.encode()))
    assert stored == identity(given, basin, body).digest
    assert send(KEY).body == first.body


def test_a_cipher_that_is_not_installed_is_refused(make_thread_server, monkeypatch):
    server = make_thread_server()
    monkeypatch.setattr("s2cli.server.core.encryption.importlib.util.find_spec", lambda name: None)
    body = {"basin": "some-basin", "config": {"stream_cipher": "aegis-256"}}
    answer = server.request("POST", "/v1/basins", json_body=body)
    assert answer.status == 422
    assert "aegis-256" in answer.json()["message"]


def test_the_libraries_wait_for_the_first_key():
    code = "import sys, s2cli.server.process; print([n for n in ('aeg', 'cryptography') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout == b"[]\n"
