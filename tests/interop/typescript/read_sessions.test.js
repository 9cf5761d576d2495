import assert from "node:assert/strict";
import { AppendRecord, RangeNotSatisfiableError, S2Error } from "@s2-dev/streamstore";
import {
    BASIN,
    batch,
    bodies,
    collect,
    COMPRESSIONS,
    connect,
    newStream,
    numbers,
    READ_TRANSPORTS,
    serve,
    test,
} from "./harness.js";

const lite = serve();
const begin = { from: { seqNum: 0 } };
const WAYS = READ_TRANSPORTS.flatMap((transport) =>
    (transport === "s2s" ? COMPRESSIONS : ["none"]).map((compression) => [transport, compression]),
);

// The error that a session ends with; over fetch it cannot even be opened.
async function failure(opened) {
    const error = await opened.then(collect).then(() => assert.fail("the session did not fail"), (reason) => reason);
    assert.ok(error instanceof S2Error, error);
    return error;
}

for (const [forceTransport, compression] of WAYS) {
    const way = `${forceTransport}, ${compression}: `;

    // A handle of a new stream with these records.
    const streamOf = async (records) => {
        const stream = await newStream(connect(lite, { compression }), { forceTransport });
        if (records.length) await stream.append(batch(records));
        return stream;
    };
    const got = async (stream, input) => bodies(await collect(await stream.readSession(input)));

    test(`${way}a session starts and stops where it is told`, async () => {
        const stream = await streamOf(
            numbers(0, 10).map((body) => AppendRecord.string({ body, timestamp: 1000 + 10 * Number(body) })),
        );
        const now = { limits: { count: 10 } };
        assert.deepEqual(await got(stream, { start: begin, stop: now }), numbers(0, 10));
        assert.deepEqual(await got(stream, { start: { from: { seqNum: 7 } }, stop: now }), numbers(7, 10));
        assert.deepEqual(await got(stream, { start: { from: { tailOffset: 2 } }, stop: now }), numbers(8, 10));
        assert.deepEqual(await got(stream, { start: { from: { timestamp: 1065 } }, stop: now }), numbers(7, 10));
        const date = new Date(1060);
        assert.deepEqual(await got(stream, { start: { from: { timestamp: date } }, stop: now }), numbers(6, 10));
        assert.deepEqual(await got(stream, { start: begin, stop: { limits: { count: 3 } } }), numbers(0, 3));
        assert.deepEqual(await got(stream, { start: begin, stop: { limits: { count: 0 } } }), []);
        assert.deepEqual(await got(stream, { start: begin, stop: { limits: { bytes: 27 } } }), numbers(0, 3));
        assert.deepEqual(await got(stream, { start: begin, stop: { limits: { bytes: 26, count: 9 } } }), numbers(0, 2));
        assert.deepEqual(await got(stream, { start: begin, stop: { untilTimestamp: 1040 } }), numbers(0, 4));
        assert.deepEqual(await got(stream, { start: begin, stop: { untilTimestamp: new Date(1041) } }), numbers(0, 5));
        assert.deepEqual(await got(stream, { start: begin, stop: { waitSecs: 0 } }), numbers(0, 10));
    });

    test(`${way}names, values and bodies of any bytes come as they are`, async () => {
        const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
        const stream = await streamOf([
            AppendRecord.bytes({ body: every, headers: [[every, every], [Uint8Array.of(1), new Uint8Array()]] }),
            AppendRecord.string({ body: "größer 🙂", headers: [["k", "v"], ["k", "w"]] }),
        ]);
        const stop = { limits: { count: 2 } };
        const [first] = await collect(await stream.readSession({ start: begin, stop }, { as: "bytes" }));
        assert.deepEqual(first.body, every);
        assert.deepEqual(first.headers, [[every, every], [Uint8Array.of(1), new Uint8Array()]]);
        const [, second] = await collect(await stream.readSession({ start: begin, stop }));
        assert.equal(second.body, "größer 🙂");
        assert.deepEqual(second.headers, [["k", "v"], ["k", "w"]]);
        assert.equal(second.seqNum, 1);
        assert.ok(second.timestamp instanceof Date);
    });

    test(`${way}a follower gets what comes, and knows when it has all`, async () => {
        const stream = await streamOf(["a", "b"]);
        const session = await stream.readSession({ start: begin });
        const reader = session[Symbol.asyncIterator]();
        const next = async () => (await reader.next()).value.body;
        assert.deepEqual([await next(), await next()], ["a", "b"]);
        const following = next();
        assert.equal((await session.caughtUp()).seqNum, 2);
        assert.ok(session.isCaughtUp());
        assert.equal(session.lastObservedTail().seqNum, 2);
        assert.equal(session.nextReadPosition().seqNum, 2);
        await stream.append(batch(["c", "d"]));
        assert.deepEqual([await following, await next()], ["c", "d"]);
        assert.equal(session.nextReadPosition().seqNum, 4);
        await reader.return();
    });

    test(`${way}a follower from the tail of a stream that is empty`, async () => {
        const stream = await streamOf([]);
        const session = await stream.readSession();
        const first = collect(session, 1);
        assert.equal((await session.caughtUp()).seqNum, 0);
        await stream.append(batch(["first"]));
        assert.deepEqual(bodies(await first), ["first"]);
    });

    test(`${way}a session may wait for more, for a while`, async () => {
        const stream = await streamOf(["a"]);
        const session = await stream.readSession({ start: begin, stop: { waitSecs: 1 } });
        const reader = session[Symbol.asyncIterator]();
        assert.equal((await reader.next()).value.body, "a");
        await stream.append(batch(["b"]));
        assert.equal((await reader.next()).value.body, "b");
        assert.deepEqual(await reader.next(), { done: true, value: undefined });
    });

    test(`${way}what is not written yet is refused, or followed where the start is clamped`, async () => {
        const stream = await streamOf(["x"]);
        const stop = { limits: { count: 1 } };
        for (const start of [undefined, { from: { seqNum: 9 } }, { from: { seqNum: 9 }, clamp: true }]) {
            const error = await failure(stream.readSession({ start, stop }));
            assert.ok(error instanceof RangeNotSatisfiableError);
            assert.equal(error.tail.seqNum, 1);
        }
        assert.equal((await failure(stream.readSession({ start: { from: { seqNum: 2 } } }))).status, 416);
        const session = await stream.readSession({ start: { from: { seqNum: 9 }, clamp: true } });
        const first = collect(session, 1);
        assert.equal((await session.caughtUp()).seqNum, 1);
        await stream.append(batch(["y"]));
        assert.deepEqual((await first).map(({ seqNum, body }) => [seqNum, body]), [[1, "y"]]);
    });

    test(`${way}command records may be left out`, async () => {
        const stream = await streamOf(["a"]);
        await stream.append(batch([AppendRecord.fence("mine"), AppendRecord.string({ body: "b" })]));
        await stream.append(batch([AppendRecord.trim(0)]));
        const stop = { limits: { count: 4 } };
        const all = await collect(await stream.readSession({ start: begin, stop }));
        assert.deepEqual(all.map(({ headers }) => headers), [[], [["", "fence"]], [], [["", "trim"]]]);
        assert.deepEqual(await got(stream, { start: begin, stop, ignoreCommandRecords: true }), ["a", "b"]);
    });

    test(`${way}a session into what is trimmed begins with what is left`, async () => {
        const stream = await streamOf(numbers(0, 10));
        await stream.append(batch([AppendRecord.trim(8)]));
        const input = { start: begin, stop: { limits: { count: 3 } }, ignoreCommandRecords: true };
        assert.deepEqual(await got(stream, input), ["8", "9"]);
    });

    test(`${way}a session of what is unknown fails`, async () => {
        const s2 = connect(lite, { compression });
        const unknown = { [BASIN]: "stream_not_found", "unknown-basin": "basin_not_found" };
        for (const [basin, code] of Object.entries(unknown)) {
            const stream = s2.basin(basin).stream("unknown", { forceTransport });
            const error = await failure(stream.readSession({ start: begin }));
            assert.deepEqual([error.status, error.code], [404, code]);
        }
    });

    test(`${way}a session that is aborted ends`, async () => {
        const stream = await streamOf(["a"]);
        const aborter = new AbortController();
        const session = await stream.readSession({ start: begin }, { signal: aborter.signal });
        const reader = session[Symbol.asyncIterator]();
        await reader.next();
        const next = reader.next();
        aborter.abort();
        await next.then(({ done }) => assert.ok(done), (error) => assert.ok(error instanceof Error));
    });

    test(`${way}10 MiB come whole through a window of 64 KiB`, async () => {
        const http2 = { initialStreamWindowSize: 65_535, connectionWindowSize: 65_535 };
        const stream = await newStream(connect(lite, { compression, http2 }), { forceTransport });
        const session = await stream.appendSession();
        const sent = numbers(0, 160).map((body) => Buffer.alloc(65_536, `${body} `));
        for (let at = 0; at < 160; at += 10) await session.submit(batch(sent.slice(at, at + 10)));
        await session.close();
        const read = await stream.readSession({ start: begin, stop: { limits: { count: 160 } } }, { as: "bytes" });
        let at = 0;
        for await (const { body } of read) assert.ok(sent[at++].equals(body), `record ${at}`);
        assert.equal(at, 160);
    });
}

test("150 followers of one client all get every record", async () => {
    const s2 = connect(lite);
    const { name } = await newStream(s2);
    const follow = async () => {
        const session = await s2.basin(BASIN).stream(name).readSession({ start: begin });
        const records = collect(session, 100);
        await session.caughtUp();
        return records;
    };
    const followers = numbers(0, 150).map(follow);
    const stream = s2.basin(BASIN).stream(name);
    for (let at = 0; at < 100; at += 10) await stream.append(batch(numbers(at, at + 10)));
    for (const records of await Promise.all(followers)) assert.deepEqual(bodies(records), numbers(0, 100));
});
