import base64
import http.client
import json
import struct
import threading
import time

import pytest
from support.s2s import append_input, open_append
from support.waiting import TIMEOUT_S

from s2cli.wire.s2_pb2 import AppendAck, ReadBatch

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}


def test_json_is_appended_and_read_back(post, get):
    records = [
        {"body": "hello"},
        {"timestamp": 5, "headers": [["name", "value"], ["name", ""]], "body": 'wörld\n"\\\x00'},
        {},
        {"headers": [], "body": ""},
    ]
    before_ms = time.time_ns() // 1_000_000
    answer = post({"records": records, "unknown": {"x": [1]}})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    ack = answer.json()
    assert (ack["start"]["seq_num"], ack["end"]["seq_num"], ack["tail"]["seq_num"]) == (0, 4, 4)
    assert before_ms <= ack["start"]["timestamp"] <= ack["end"]["timestamp"] == ack["tail"]["timestamp"]
    answer = get("seq_num=0")
    assert answer.status == 200
    timestamp = ack["start"]["timestamp"]
    assert answer.json() == {
        "records": [
            {"seq_num": 0, "timestamp": timestamp, "body": "hello"},
            # Not before the one before it.
            {"seq_num": 1, "timestamp": timestamp, "headers": records[1]["headers"], "body": records[1]["body"]},
            {"seq_num": 2, "timestamp": timestamp},
            {"seq_num": 3, "timestamp": timestamp},
        ]
    }


def test_base64_carries_any_bytes(post, get):
    def encode(data):
        return base64.b64encode(data).decode()

    record = {"headers": [[encode(b"\xff"), encode(b"\x00\xfe")]], "body": encode(bytes(range(256)))}
    assert post({"records": [record]}, {"s2-format": "base64"}).status == 200
    found = get("seq_num=0", {"s2-format": "json-binsafe"}).json()["records"][0]
    assert (found["headers"], found["body"]) == (record["headers"], record["body"])
    # Raw output replaces what is no UTF-8.
    assert get("seq_num=0", {"s2-format": "raw"}).json()["records"][0]["headers"] == [["\ufffd", "\x00\ufffd"]]


@pytest.mark.parametrize("media_type", ["application/protobuf", "application/x-protobuf", "Application/Protobuf; v=1"])
def test_protobuf_is_appended_and_read_back(shared_server, basin, stream, media_type):
    headers = {"content-type": media_type, "accept": f"{media_type}, application/json"}
    data = append_input(b"a", (7, [(b"n", b"v")], b"b"), match_seq_num=0, fencing_token="")
    answer = shared_server.request("POST", stream, body=data, headers=headers, basin=basin)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/protobuf")
    ack = AppendAck.FromString(answer.body)
    assert (ack.start.seq_num, ack.end.seq_num, ack.tail.seq_num) == (0, 2, 2)
    answer = shared_server.request("GET", f"{stream}?seq_num=0", headers=headers, basin=basin)
    assert answer.headers["content-type"] == "application/protobuf"
    batch = ReadBatch.FromString(answer.body)
    assert [record.body for record in batch.records] == [b"a", b"b"]
    assert not batch.HasField("tail")


def test_request_and_response_types_are_independent(shared_server, basin, stream):
    headers = {"content-type": "application/protobuf", "accept": "*/*, application/protobuf"}
    answer = shared_server.request("POST", stream, body=append_input(b"a"), headers=headers, basin=basin)
    assert answer.json()["end"]["seq_num"] == 1


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"[1", 400, "bad_json"),
        (b'"\xff"', 400, "bad_json"),
        (b"[" * 100_000, 400, "bad_json"),
        ([], 400, "bad_json"),
        ({}, 400, "bad_json"),
        ({"records": {}}, 400, "bad_json"),
        ({"records": ["a"]}, 400, "bad_json"),
        ({"records": [{"body": 1}]}, 400, "bad_json"),
        ({"records": [{"body": "\ud800"}]}, 400, "bad_json"),
        ({"records": [{"headers": [["a"]]}]}, 400, "bad_json"),
        ({"records": [{"headers": {"a": "b"}}]}, 400, "bad_json"),
        ({"records": [{"headers": 0}]}, 400, "bad_json"),
        ({"records": [{"timestamp": -1}]}, 400, "bad_json"),
        ({"records": [{"timestamp": True}]}, 400, "bad_json"),
        ({"records": [{"timestamp": 1 << 64}]}, 400, "bad_json"),
        ({"records": [{}], "match_seq_num": "0"}, 400, "bad_json"),
        ({"records": [{}], "fencing_token": "x" * 37}, 400, "bad_json"),
        ({"records": []}, 422, "invalid"),
        ({"records": [{}] * 1001}, 422, "invalid"),
        ({"records": [{"body": "x" * (1 << 20)}]}, 422, "invalid"),
        ({"records": [{"headers": [["", "jump"]]}]}, 422, "invalid"),
    ],
)
def test_bad_json_changes_nothing(post, get, value, status, code):
    answer = post(value)
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert get("seq_num=0").status == 416


def test_bad_base64_is_invalid(post):
    answer = post({"records": [{"body": "a"}]}, {"s2-format": "base64"})
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["message"] == "invalid Base64 encoding"


def test_bad_headers_and_types(shared_server, basin, stream, post):
    answer = post({"records": [{}]}, {"s2-format": "hex"})
    assert (answer.status, answer.json()["code"]) == (400, "bad_header")
    for headers in ({}, {"content-type": "text/plain"}):
        answer = shared_server.request("POST", stream, body=b"{}", headers=headers, basin=basin)
        assert (answer.status, answer.json()["code"]) == (400, "bad_json")
        assert "Content-Type: application/json" in answer.json()["message"]
    for body in (b"\xff", append_input(b"a")[:-1], b"\x1a\x01\xff"):
        answer = shared_server.request("POST", stream, body=body, headers=PROTOBUF, basin=basin)
        assert (answer.status, answer.json()["code"]) == (400, "bad_proto"), body
    answer = shared_server.request(
        "POST", stream, body=append_input(b"a", fencing_token="x" * 37), headers=PROTOBUF, basin=basin
    )
    assert (answer.status, answer.json()["code"]) == (422, "invalid")


def test_a_missing_stream_and_a_missing_basin(shared_server, basin, post):
    answer = post({"records": [{}]}, path="/v1/streams/none/records")
    assert (answer.status, answer.json()["code"]) == (404, "stream_not_found")
    answer = post({"records": [{}]}, name="no-such-basin")
    assert (answer.status, answer.json()["code"]) == (404, "basin_not_found")


def test_an_invalid_append_creates_no_stream(shared_server, post):
    name = shared_server.create_basin(create_stream_on_append=True)
    path = "/v1/streams/new/records"
    assert post({"records": []}, path=path, name=name).status == 422
    assert shared_server.request("GET", "/v1/streams", basin=name).json()["streams"] == []
    answers = []

    def append():
        answers.append(post({"records": [{}]}, path=path, name=name))

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.json()["start"]["seq_num"] for answer in answers) == list(range(8))


def test_conditions(post):
    assert post({"records": [{}], "match_seq_num": 0, "fencing_token": ""}).status == 200
    answer = post({"records": [{}], "match_seq_num": 0})
    assert (answer.status, answer.json()) == (412, {"seq_num_mismatch": 1})
    assert answer.headers["content-type"] == "application/json"
    fence = {"headers": [["", "fence"]], "body": "mine"}
    assert post({"records": [fence], "match_seq_num": 1}).status == 200
    answer = post({"records": [{}], "match_seq_num": 0, "fencing_token": "other"})
    assert (answer.status, answer.json()) == (412, {"fencing_token_mismatch": "mine"})
    assert post({"records": [{}], "fencing_token": "mine"}).status == 200
    # Fencing is cooperative.
    assert post({"records": [{}]}).status == 200
    answer = post({"records": [{**fence, "body": ""}], "fencing_token": ""})
    assert answer.json() == {"fencing_token_mismatch": "mine"}
    assert post({"records": [{**fence, "body": ""}], "fencing_token": "mine"}).status == 200
    assert post({"records": [{}], "fencing_token": ""}).status == 200


def test_trim(post, get):
    assert post({"records": [{"body": str(n)} for n in range(10)]}).status == 200

    def trim(point):
        body = base64.b64encode(struct.pack(">Q", point)).decode()
        headers = [["", base64.b64encode(b"trim").decode()]]
        return post({"records": [{"headers": headers, "body": body}]}, {"s2-format": "base64"})

    assert trim(4).status == 200
    assert [record["seq_num"] for record in get("seq_num=0").json()["records"]] == [*range(4, 11)]
    # It never moves back, and never beyond itself.
    assert trim(2).status == 200
    assert [record["seq_num"] for record in get("seq_num=0&count=1").json()["records"]] == [4]
    assert trim(1 << 60).json()["tail"]["seq_num"] == 13
    assert get("seq_num=0").json() == {"records": []}
    assert get("seq_num=13").json()["tail"]["seq_num"] == 13
    assert post({"records": [{"body": "after"}]}).json()["start"]["seq_num"] == 13
    assert [record["seq_num"] for record in get("seq_num=0").json()["records"]] == [13]


def test_timestamping_of_a_stream(shared_server, basin, post):
    require = shared_server.create_stream(basin, "require", timestamping={"mode": "client-require", "uncapped": True})
    path = f"/v1/streams/{require}/records"
    answer = post({"records": [{"timestamp": 1}, {}]}, path=path)
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["message"] == "record timestamp was required but was missing"
    largest = (1 << 64) - 1
    ack = post({"records": [{"timestamp": 1}, {"timestamp": largest}]}, path=path).json()
    assert ack["start"] == {"seq_num": 0, "timestamp": 1}
    assert ack["tail"] == {"seq_num": 2, "timestamp": largest}
    arrival = shared_server.create_stream(basin, "arrival", timestamping={"mode": "arrival"})
    ack = post({"records": [{"timestamp": 1}]}, path=f"/v1/streams/{arrival}/records").json()
    assert ack["start"]["timestamp"] > 1


def test_of_many_conditional_appends_one_wins(shared_server, basin):
    shared_server.create_stream(basin)
    rounds, writers, connections = 4, 1000, 20

    def race(place):
        """The positions that `writers` appends to one place got, or were told to be the next."""
        won, told = [], []

        def write():
            connection = http.client.HTTPConnection(shared_server.host, shared_server.port, timeout=TIMEOUT_S)
            body = json.dumps({"records": [{"body": "x"}, {"body": "y"}], "match_seq_num": place})
            for _ in range(writers // connections):
                headers = {"content-type": "application/json", "s2-basin": basin}
                connection.request("POST", "/v1/streams/stream/records", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status == 200:
                    won.append(answer["start"]["seq_num"])
                else:
                    assert response.status == 412
                    told.append(answer["seq_num_mismatch"])
            connection.close()

        threads = [threading.Thread(target=write) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return won, told

    for place in range(0, 2 * rounds, 2):
        won, told = race(place)
        assert won == [place]
        assert told == [place + 2] * (writers - 1)


def test_commands_mean_the_same_in_every_form(shared_server, basin):
    for form in ("json", "base64", "protobuf", "session"):
        shared_server.create_stream(basin, form)
        path = f"/v1/streams/{form}/records"
        fence, trim = (b"fence", b"token"), (b"trim", (1).to_bytes(8, "big"))
        for command, body in (fence, trim):
            if form == "session":
                with open_append(shared_server, basin, form) as session:
                    session.append((None, [(b"", command)], body))
                    session.ack()
                continue
            if form == "protobuf":
                sent = append_input((None, [(b"", command)], body))
                headers = {"content-type": "application/protobuf"}
            else:
                encode = bytes.decode if form == "json" else lambda data: base64.b64encode(data).decode()
                record = {"headers": [["", encode(command)]], "body": encode(body)}
                sent = json.dumps({"records": [record]}).encode()
                headers = {"content-type": "application/json", "s2-format": "raw" if form == "json" else form}
            answer = shared_server.request("POST", path, basin=basin, body=sent, headers=headers)
            assert answer.status == 200, answer
        refused = {"records": [{"body": "x"}], "fencing_token": "other"}
        answer = shared_server.request("POST", path, basin=basin, json_body=refused)
        assert (answer.status, answer.json()) == (412, {"fencing_token_mismatch": "token"})
        first = shared_server.request("GET", f"{path}?seq_num=0", basin=basin).json()["records"][0]
        assert first["seq_num"] == 1
