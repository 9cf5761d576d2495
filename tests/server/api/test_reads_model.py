"""Reads against a model of the protocol's sections 5.1 to 5.5, a stream as a plain list: thousands of generated reads
are answered the same way in all four modes."""

import base64
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.s2s import open_append, open_read
from support.sse import open_events

from s2cli.wire.s2_pb2 import ReadBatch

MIB = 1 << 20
U64_MAX = (1 << 64) - 1
ENDS, WAITS = "ends", "waits"


def metered(headers, body):
    return 8 + len(body) + sum(2 + len(name) + len(value) for name, value in headers)


class Model:
    """A stream as a list of (timestamp, headers, body), of which those before `trim_point` are gone."""

    def __init__(self, records, trim_point):
        self.records = records
        self.trim_point = trim_point

    @property
    def tail(self):
        return len(self.records), self.records[-1][0] if self.records else 0

    def read(self, query, *, unary):
        """Status, sequence numbers, and whether the read then ends or waits; `query` has numbers and booleans."""
        count, size, until, wait = (query.get(name) for name in ("count", "bytes", "until", "wait"))
        if until is not None and query.get("timestamp", -1) >= until:
            return 422, [], ENDS
        if 0 in (count, size):
            return 200, [], ENDS
        may_follow = bool(wait) or (not unary and (count, size, until) == (None, None, None))
        start = self._start(query, may_follow)
        if start is None:
            return 416, [], ENDS
        if unary:
            count, size = min(count or 1000, 1000), min(size or MIB, MIB)
        found = []
        for at in range(max(start, self.trim_point), len(self.records)):
            timestamp, headers, body = self.records[at]
            if count == len(found) or (until is not None and timestamp >= until):
                return 200, found, ENDS
            if size is not None:
                size -= metered(headers, body)
                if size < 0:
                    return 200, found, ENDS
            found.append(at)
        # At the tail. No record has less than eight bytes.
        if count == len(found) or (size is not None and size < 8) or not may_follow or wait == 0:
            return 200, found, ENDS
        return 200, found, ENDS if unary and found else WAITS

    def _start(self, query, may_follow):
        tail_seq_num, tail_timestamp = self.tail
        if "timestamp" in query:
            wanted = query["timestamp"]
            beyond = wanted > tail_timestamp
            later = (at for at in range(self.trim_point, tail_seq_num) if self.records[at][0] >= wanted)
            start = next(later, tail_seq_num)
        else:
            start = query["seq_num"] if "seq_num" in query else max(0, tail_seq_num - query.get("tail_offset", 0))
            beyond = start > tail_seq_num
        if beyond:
            if not query.get("clamp"):
                return None
            start = tail_seq_num
        return None if start == tail_seq_num and not may_follow else start


@pytest.fixture(scope="module")
def filled(shared_server):
    """Streams of many shapes, each with its model: nothing at all, chunks of one record and of many, equal timestamps,
    large bodies, headers, trimmed within a chunk, trimmed to nothing."""
    basin = shared_server.create_basin()
    models = {"s0": Model([], 0)}
    shared_server.create_stream(basin, "s0")
    for number, trim_point in enumerate((0, 17, 61, 10_000), 1):
        generator = random.Random(number)
        name = shared_server.create_stream(basin, f"s{number}", timestamping={"uncapped": True})
        records, clock = [], 50
        with open_append(shared_server, basin, name) as session:
            for _ in range(30):
                batch = []
                for _ in range(generator.choice([1, 1, 2, 7, 40])):
                    clock += generator.choice([0, 0, 1, 5])
                    headers = [(b"name", b"value" * generator.randrange(3))] * generator.choice([0, 0, 1, 2])
                    batch.append((clock, headers, bytes(generator.choice([0, 1, 10, 10, 3000]))))
                records += batch
                session.append(*batch)
                session.ack()
            if trim_point:
                trim = (clock, [(b"", b"trim")], trim_point.to_bytes(8, "big"))
                records.append(trim)
                session.append(trim)
                session.ack()
        models[name] = Model(records, min(trim_point, len(records)))
    return basin, models


numbers = st.one_of(st.integers(0, 700), st.integers(0, 20), st.sampled_from([1 << 40, U64_MAX]))
starts = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"seq_num": numbers}),
    st.fixed_dictionaries({"tail_offset": numbers}),
    st.fixed_dictionaries({"timestamp": st.one_of(st.integers(0, 1500), numbers)}),
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "count": st.one_of(st.integers(0, 50), numbers),
        "bytes": st.one_of(st.integers(0, 10_000), numbers),
        "until": st.one_of(st.integers(0, 1500), numbers),
        "clamp": st.booleans(),
        "wait": st.sampled_from([0, 30, (1 << 32) - 1]),
    },
)


def query_string(query):
    return "&".join(f"{name}={str(value).lower()}" for name, value in query.items())


class Mode:
    """Asks one server for one read, and tells what came: status, error body or [(seq_num, timestamp, headers, body)],
    and whether it ended or waits."""

    def __init__(self, server, basin, stream):
        self.server, self.basin, self.stream = server, basin, stream

    def json(self, query):
        return self._unary(query, {"s2-format": "base64"}, lambda body: json_records(json.loads(body)))

    def protobuf(self, query):
        accept = {"accept": "application/protobuf"}
        return self._unary(query, accept, lambda body: proto_records(ReadBatch.FromString(body)))

    def _unary(self, query, headers, decode):
        path = f"/v1/streams/{self.stream}/records?{query_string(query)}"
        answer = self.server.request("GET", path, headers=headers, basin=self.basin)
        return answer.status, decode(answer.body) if answer.status == 200 else answer.json(), ENDS

    def s2s(self, query):
        with open_read(self.server, self.basin, query_string(query), self.stream) as session:
            if session.status != 200:
                return session.status, session.body, ENDS
            records = []
            while (frame := session.frame()) is not None:
                assert frame.status is None, frame.message
                batch = ReadBatch.FromString(frame.message)
                if not batch.records:
                    assert (batch.tail.seq_num, batch.tail.timestamp) == self.tail
                    return 200, records, WAITS
                tail = (batch.tail.seq_num, batch.tail.timestamp) if batch.HasField("tail") else None
                assert tail == self._tail_behind(batch.records[-1].seq_num)
                assert len(batch.records) <= 1000
                records += proto_records(batch)
            return 200, records, ENDS

    def _tail_behind(self, seq_num):
        """The tail, which a batch that ends with that record carries; None where it ends before the tail."""
        return self.tail if seq_num + 1 == self.tail[0] else None

    def events(self, query, headers=None):
        headers = {"s2-format": "base64", **(headers or {})}
        with open_events(self.server, self.basin, query_string(query), self.stream, headers) as events:
            if events.status != 200:
                return events.status, events.body, ENDS
            records = []
            while (event := events.event()) != (None, None, "[DONE]"):
                name, self.position, data = event
                value = json.loads(data)
                if name == "ping":
                    assert (value["tail"]["seq_num"], value["tail"]["timestamp"]) == self.tail
                    return 200, records, WAITS
                assert name == "batch"
                tail = self._tail_behind(value["records"][-1]["seq_num"])
                shown = None if tail is None else {"seq_num": tail[0], "timestamp": tail[1]}
                assert value == {"records": value["records"], **({} if shown is None else {"tail": shown})}
                assert len(value["records"]) <= 1000
                records += json_records(value)
                size = sum(metered(headers, body) for _, _, headers, body in records)
                assert self.position == f"{records[-1][0]},{len(records)},{size}" or "last-event-id" in headers
            assert events.event() is None
            return 200, records, ENDS


def proto_records(batch):
    return [
        (record.seq_num, record.timestamp, [(header.name, header.value) for header in record.headers], record.body)
        for record in batch.records
    ]


def json_records(batch):
    decode = base64.b64decode
    return [
        (
            record["seq_num"],
            record["timestamp"],
            [(decode(name), decode(value)) for name, value in record.get("headers", [])],
            decode(record.get("body", "")),
        )
        for record in batch["records"]
    ]


@settings(max_examples=1000)
@given(st.integers(0, 4), starts, queries)
@example(1, {}, {})
@example(1, {"seq_num": U64_MAX}, {"count": 0})
@example(1, {"tail_offset": 0}, {"clamp": True, "count": 1})
@example(2, {"seq_num": 0}, {"count": 1})
@example(4, {"seq_num": 0}, {"count": 1})
@example(4, {"seq_num": 0}, {"wait": 30})
@example(0, {"timestamp": 0}, {"until": 1})
@example(0, {"timestamp": 0}, {"until": 1, "wait": 30})
@example(1, {"timestamp": U64_MAX}, {"clamp": True, "wait": 30, "until": U64_MAX})
def test_reads_are_what_the_protocol_says_in_every_mode(shared_server, filled, number, start, query):
    basin, models = filled
    model = models[f"s{number}"]
    query = {**start, **query}
    mode = Mode(shared_server, basin, f"s{number}")
    mode.tail = model.tail
    for ask, unary in ((mode.json, True), (mode.protobuf, True), (mode.s2s, False), (mode.events, False)):
        status, expected, ending = model.read(query, unary=unary)
        if unary and ending == WAITS:
            continue  # there is nothing to see before the wait is over
        got_status, got, got_ending = ask(query)
        assert got_status == status, (ask, got)
        assert got_ending == ending, ask
        if status == 200:
            assert got == [(at, *model.records[at]) for at in expected], ask
        elif status == 416:
            assert got == {"tail": {"seq_num": model.tail[0], "timestamp": model.tail[1]}}


@settings(max_examples=300)
@given(st.integers(1, 3), starts, queries, st.integers(0, 400), st.integers(0, 400), st.data())
def test_events_go_on_from_an_id_as_if_nothing_had_happened(
    shared_server, filled, number, start, query, seq_num, count, data
):
    """The records after the one in the id; limits less what the id counts; ids that count on."""
    basin, models = filled
    model = models[f"s{number}"]
    size = data.draw(st.integers(count * 8, count * 8 + 5000))
    query = {**start, **query}
    mode = Mode(shared_server, basin, f"s{number}")
    mode.tail = model.tail
    rest = {name: value for name, value in query.items() if name not in start} | {"seq_num": seq_num + 1}
    if "timestamp" in start and "until" in query and query["until"] <= start["timestamp"]:
        assert mode.events(query, {"last-event-id": f"{seq_num},{count},{size}"})[0] == 422
        return
    if "count" in rest:
        rest["count"] = max(0, rest["count"] - count)
    if "bytes" in rest:
        rest["bytes"] = max(0, rest["bytes"] - size)
    status, expected, ending = model.read(rest, unary=False)
    got_status, got, got_ending = mode.events(query, {"last-event-id": f"{seq_num},{count},{size}"})
    assert (got_status, got_ending) == (status, ending), got
    if status == 200:
        assert got == [(at, *model.records[at]) for at in expected]
        if got:
            size += sum(metered(*model.records[at][1:]) for at in expected)
            assert mode.position in (f"{expected[-1]},{count + len(got)},{size}", None)
