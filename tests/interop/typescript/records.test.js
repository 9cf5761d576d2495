// Unary appends and reads.
import assert from "node:assert/strict";
import {
    AppendRecord,
    FencingTokenMismatchError,
    MAX_APPEND_BYTES,
    MAX_APPEND_RECORDS,
    RangeNotSatisfiableError,
    SeqNumMismatchError,
} from "@s2-dev/streamstore";
import { BASIN, batch, bodies, connect, newStream, numbers, refused, serve, test } from "./harness.js";

const lite = serve();
const begin = { from: { seqNum: 0 } };

async function streamOf(records, options) {
    const stream = await newStream(connect(lite), options);
    await stream.append(batch(records));
    return stream;
}

test("an append is acknowledged with its positions", async () => {
    const stream = await newStream(connect(lite));
    const first = await stream.append(batch(["a", "b"]));
    assert.equal(first.start.seqNum, 0);
    assert.equal(first.end.seqNum, 2);
    assert.equal(first.tail.seqNum, 2);
    assert.ok(Math.abs(first.end.timestamp - Date.now()) < 60_000);
    const second = await stream.append(batch(["c"]));
    assert.equal(second.start.seqNum, 2);
    assert.ok(second.start.timestamp >= first.end.timestamp);
    assert.deepEqual((await stream.checkTail()).tail, second.tail);
});

test("a new stream has the tail 0", async () => {
    const stream = await newStream(connect(lite));
    assert.deepEqual((await stream.checkTail()).tail, { seqNum: 0, timestamp: new Date(0) });
});

test("strings come back as strings, bytes as bytes", async () => {
    const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const utf8 = (text) => new TextEncoder().encode(text);
    const text = "größer\0\r\n\u2028 🙂";
    const stream = await streamOf([
        AppendRecord.string({ body: text, headers: [["k", "v"], ["k", "w"], ["leer", ""]] }),
        AppendRecord.bytes({ body: every, headers: [[every, every], ["name", "value"]] }),
        AppendRecord.string({ body: "" }),
    ]);
    const { records: asBytes } = await stream.read({ start: begin }, { as: "bytes" });
    assert.deepEqual(bodies(asBytes), [utf8(text), every, new Uint8Array()]);
    assert.deepEqual(asBytes[1].headers, [[every, every], [utf8("name"), utf8("value")]]);
    const { records: asStrings } = await stream.read({ start: begin, stop: { limits: { count: 1 } } });
    assert.deepEqual(bodies(asStrings), [text]);
    assert.deepEqual(asStrings[0].headers, [["k", "v"], ["k", "w"], ["leer", ""]]);
    assert.ok(asStrings[0].timestamp instanceof Date);
});

test("a batch may be as large as a batch may be", async () => {
    const stream = await newStream(connect(lite));
    await stream.append(batch(numbers(0, MAX_APPEND_RECORDS)));
    const body = new Uint8Array(AppendRecord.maxBodyBytes()).fill(0xff);
    const input = batch([body]);
    assert.equal(input.meteredBytes, MAX_APPEND_BYTES);
    await stream.append(input);
    const { records } = await stream.read({ start: { from: { tailOffset: 1 } } }, { as: "bytes" });
    assert.deepEqual(bodies(records), [body]);
    assert.equal((await stream.read({ start: begin })).records.length, 1000);
});

test("what is no batch is refused by the server too", async () => {
    const stream = await newStream(connect(lite));
    const input = batch(["x"]);
    await refused(stream.append({ ...input, records: [] }), 422, "invalid");
    await refused(stream.append({ ...input, records: Array(1001).fill(input.records[0]) }), 422, "invalid");
    const large = AppendRecord.string({ body: "x".repeat(1 << 20) });
    await refused(stream.append({ ...input, records: [large] }), 422, "invalid");
    const nameless = AppendRecord.string({ body: "x", headers: [["", "no command"]] });
    await refused(stream.append(batch([nameless])), 422, "invalid");
    assert.equal((await stream.checkTail()).tail.seqNum, 0);
});

test("matchSeqNum lets one appender through", async () => {
    const stream = await newStream(connect(lite));
    await stream.append(batch(["a"], { matchSeqNum: 0 }));
    const late = await refused(stream.append(batch(["b"], { matchSeqNum: 0 })), 412, "APPEND_CONDITION_FAILED");
    assert.ok(late instanceof SeqNumMismatchError);
    assert.equal(late.expectedSeqNum, 1);
    await stream.append(batch(["b"], { matchSeqNum: late.expectedSeqNum }));
});

test("a fence shuts out the others", async () => {
    const stream = await newStream(connect(lite));
    await stream.append(batch(["free"], { fencingToken: "" }));
    await stream.append(batch([AppendRecord.fence("mine")]));
    await stream.append(batch(["mine"], { fencingToken: "mine" }));
    const other = await refused(stream.append(batch(["x"], { fencingToken: "other" })), 412, "APPEND_CONDITION_FAILED");
    assert.ok(other instanceof FencingTokenMismatchError);
    assert.equal(other.expectedFencingToken, "mine");
    await stream.append(batch(["without"]));
    await stream.append(batch([AppendRecord.fence("")], { fencingToken: "mine" }));
    await stream.append(batch(["free again"], { fencingToken: "" }));
    const { records } = await stream.read({ start: begin, ignoreCommandRecords: true });
    assert.deepEqual(bodies(records), ["free", "mine", "without", "free again"]);
});

test("a trim takes the records before it", async () => {
    const stream = await streamOf(numbers(0, 10));
    await stream.append(batch([AppendRecord.trim(7)]));
    const { records } = await stream.read({ start: begin }, { as: "bytes" });
    assert.deepEqual(records.map(({ seqNum }) => seqNum), [7, 8, 9, 10]);
    const { headers, body } = records[3];
    assert.deepEqual(headers, [[new Uint8Array(), new TextEncoder().encode("trim")]]);
    assert.deepEqual(body, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 7));
    assert.equal((await stream.checkTail()).tail.seqNum, 11);
});

test("timestamps are the client's, until they lie in the future or go back", async () => {
    const at = (timestamp) => AppendRecord.string({ body: "x", timestamp });
    const before = Date.now();
    const stream = await streamOf([at(1000), at(new Date(2000)), at(1500), at(before + 3_600_000)]);
    const { records } = await stream.read({ start: begin });
    const [a, b, c, d] = records.map(({ timestamp }) => timestamp.getTime());
    assert.deepEqual([a, b, c], [1000, 2000, 2000]);
    assert.ok(d >= before && d <= Date.now() + 1000);
    const uncapped = await streamOf([at(before + 3_600_000)], { config: { timestamping: { uncapped: true } } });
    assert.deepEqual((await uncapped.checkTail()).tail.timestamp, new Date(before + 3_600_000));
});

test("a read starts where it is told", async () => {
    const records = numbers(0, 10).map((body) => AppendRecord.string({ body, timestamp: 1000 + 10 * Number(body) }));
    const stream = await streamOf(records);
    const read = async (from, stop) => bodies((await stream.read({ start: { from }, stop })).records);
    assert.deepEqual(await read({ seqNum: 7 }), numbers(7, 10));
    assert.deepEqual(await read({ tailOffset: 2 }), numbers(8, 10));
    assert.deepEqual(await read({ tailOffset: 100 }), numbers(0, 10));
    assert.deepEqual(await read({ timestamp: 1065 }), numbers(7, 10));
    assert.deepEqual(await read({ timestamp: new Date(1060) }), numbers(6, 10));
    assert.deepEqual(await read({ seqNum: 2 }, { limits: { count: 3 } }), numbers(2, 5));
    assert.deepEqual(await read({ seqNum: 2 }, { limits: { bytes: 27 } }), numbers(2, 5));
    assert.deepEqual(await read({ seqNum: 2 }, { limits: { bytes: 26 } }), numbers(2, 4));
    assert.deepEqual(await read({ seqNum: 2 }, { untilTimestamp: 1040 }), numbers(2, 4));
    assert.deepEqual(await read({ seqNum: 2 }, { untilTimestamp: new Date(1041) }), numbers(2, 5));
    assert.deepEqual(await read({ seqNum: 2 }, { limits: { count: 0 } }), []);
});

test("a read of what is not written yet says where the tail is", async () => {
    const stream = await streamOf(["x"]);
    const { tail } = await stream.checkTail();
    const beyond = { from: { seqNum: 5 } };
    for (const start of [undefined, { from: { seqNum: 1 } }, beyond, { ...beyond, clamp: true }]) {
        const error = await refused(stream.read({ start }), 416, undefined);
        assert.ok(error instanceof RangeNotSatisfiableError);
        assert.deepEqual(error.tail, tail);
    }
});

test("a read may wait for what is not written yet", async () => {
    const stream = await streamOf(["x"]);
    const stop = { waitSecs: 5 };
    const waiting = stream.read({ start: { from: { seqNum: 9 }, clamp: true }, stop });
    await stream.append(batch(["y", "z"]));
    assert.deepEqual(bodies((await waiting).records), ["y", "z"]);
    const nothing = await stream.read({ start: { from: { seqNum: 3 } }, stop: { waitSecs: 1 } });
    assert.deepEqual(nothing.records, []);
});

test("what is unknown is not found", async () => {
    const s2 = connect(lite);
    for (const [stream, code] of [
        [s2.basin(BASIN).stream("unknown"), "stream_not_found"],
        [s2.basin("unknown-basin").stream("s"), "basin_not_found"],
    ]) {
        await refused(stream.append(batch(["x"])), 404, code);
        await refused(stream.read({ start: begin }), 404, code);
        await refused(stream.checkTail(), 404, code);
    }
});

test("appends at the same moment all get a place of their own", async () => {
    const stream = await newStream(connect(lite));
    const acks = await Promise.all(numbers(0, 200).map((body) => stream.append(batch([body]))));
    assert.equal(new Set(acks.map(({ start }) => start.seqNum)).size, 200);
    assert.equal((await stream.checkTail()).tail.seqNum, 200);
});
