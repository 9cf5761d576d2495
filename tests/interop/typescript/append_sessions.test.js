import assert from "node:assert/strict";
import {
    AppendRecord,
    BatchTransform,
    FencingTokenMismatchError,
    Producer,
    S2Error,
    SeqNumMismatchError,
} from "@s2-dev/streamstore";
import {
    APPEND_TRANSPORTS,
    BASIN,
    batch,
    bodies,
    collect,
    COMPRESSIONS,
    connect,
    newStream,
    numbers,
    readAll,
    record,
    serve,
    test,
} from "./harness.js";

const lite = serve();

async function endsWith(promise, kind) {
    const error = await promise.then(() => assert.fail("was not refused"), (reason) => reason);
    assert.ok(error instanceof kind, error);
    return error;
}

// What is in the stream now, whatever the handle's way to read.
function written({ name }, options) {
    return readAll(connect(lite).basin(BASIN).stream(name), options);
}

// Compression is about the frames of S2S alone.
const WAYS = APPEND_TRANSPORTS.flatMap((transport) =>
    (transport === "s2s" ? COMPRESSIONS : ["none"]).map((compression) => [transport, compression]),
);

for (const [forceTransport, compression] of WAYS) {
    const way = `${forceTransport}, ${compression}: `;
    const stream = (options) => newStream(connect(lite, { compression }), { forceTransport, ...options });

    test(`${way}batches are acknowledged in order`, async () => {
        const target = await stream();
        const session = await target.appendSession();
        const tickets = [];
        for (let at = 0; at < 50; at++) tickets.push(await session.submit(batch(numbers(at * 20, at * 20 + 20))));
        assert.equal(tickets[0].numRecords, 20);
        const acks = await Promise.all(tickets.map((ticket) => ticket.ack()));
        assert.deepEqual(acks.map(({ start }) => start.seqNum), numbers(0, 50).map((at) => at * 20));
        assert.deepEqual(acks.map(({ end }) => end.seqNum), numbers(1, 51).map((at) => at * 20));
        await session.close();
        assert.deepEqual(session.lastAckedPosition(), acks.at(-1));
        assert.equal(session.failureCause(), undefined);
        assert.deepEqual(bodies(await written(target)), numbers(0, 1000));
    });

    test(`${way}batches piped in give a stream of acknowledgements`, async () => {
        const target = await stream();
        const session = await target.appendSession({ maxInflightBatches: 3 });
        const acks = collect(session.acks());
        const writer = session.writable.getWriter();
        for (const body of numbers(0, 20)) await writer.write(batch([body]));
        await writer.close();
        assert.deepEqual((await acks).map(({ end }) => end.seqNum), numbers(1, 21).map(Number));
        assert.deepEqual(bodies(await written(target)), numbers(0, 20));
    });

    test(`${way}bodies of every size arrive as they are`, async () => {
        const target = await stream();
        const session = await target.appendSession();
        const sizes = [0, 1, 1000, 1023, 1024, 5000, 70_000, AppendRecord.maxBodyBytes()];
        const sent = sizes.map((size) => new Uint8Array(size).map((_, index) => (index * index) >> 3));
        for (const body of sent) await session.submit(batch([body]));
        await session.submit(batch(Array(1000).fill("all alike")));
        await session.close();
        const got = bodies(await written(target, { as: "bytes" }));
        assert.equal(got.length, sent.length + 1000);
        sent.forEach((body, index) => assert.ok(Buffer.from(body).equals(got[index]), `body ${index}`));
    });

    test(`${way}a condition that fails ends the session, what came before it stays`, async () => {
        const target = await stream();
        const session = await target.appendSession();
        const first = await session.submit(batch(["a", "b"], { matchSeqNum: 0 }));
        const wrong = await session.submit(batch(["c"], { matchSeqNum: 1 }));
        const after = await session.submit(batch(["d"]));
        assert.equal((await first.ack()).tail.seqNum, 2);
        assert.equal((await endsWith(wrong.ack(), SeqNumMismatchError)).expectedSeqNum, 2);
        await endsWith(after.ack(), S2Error);
        assert.ok(session.failureCause() instanceof SeqNumMismatchError);
        await endsWith(session.close(), SeqNumMismatchError);
        assert.deepEqual(bodies(await written(target)), ["a", "b"]);
    });

    test(`${way}a fence ends the sessions of others`, async () => {
        const target = await stream();
        const session = await target.appendSession();
        await (await session.submit(batch([AppendRecord.fence("old")]))).ack();
        await (await session.submit(batch(["mine"], { fencingToken: "old" }))).ack();
        await target.append(batch([AppendRecord.fence("new")], { fencingToken: "old" }));
        const late = await session.submit(batch(["late"], { fencingToken: "old" }));
        assert.equal((await endsWith(late.ack(), FencingTokenMismatchError)).expectedFencingToken, "new");
        await endsWith(session.close(), FencingTokenMismatchError);
        assert.deepEqual(bodies(await written(target, { ignoreCommandRecords: true })), ["mine"]);
    });

    test(`${way}a session to what is unknown fails`, async () => {
        const target = connect(lite, { compression }).basin(BASIN).stream("unknown", { forceTransport });
        const session = await target.appendSession();
        const error = await endsWith(session.submit(batch(["x"])).then((ticket) => ticket.ack()), S2Error);
        assert.deepEqual([error.status, error.code], [404, "stream_not_found"]);
    });

    test(`${way}a record that is none is refused in the session`, async () => {
        const session = await (await stream()).appendSession();
        const nameless = AppendRecord.string({ body: "x", headers: [["", "no command"]] });
        const ticket = await session.submit(batch([nameless]));
        const error = await endsWith(ticket.ack(), S2Error);
        assert.deepEqual([error.status, error.code], [422, "invalid"]);
    });

    test(`${way}a session with nothing in it ends well`, async () => {
        const target = await stream();
        await (await target.appendSession()).close();
        assert.equal((await target.checkTail()).tail.seqNum, 0);
    });

    test(`${way}a producer makes batches and tells each record its place`, async () => {
        const target = await stream();
        const transform = new BatchTransform({ lingerDurationMillis: 2, maxBatchRecords: 100, matchSeqNum: 0 });
        const producer = new Producer(transform, await target.appendSession());
        const tickets = [];
        for (const body of numbers(0, 1500)) tickets.push(await producer.submit(record(body)));
        const acks = await Promise.all(tickets.map((ticket) => ticket.ack()));
        assert.deepEqual(acks.map((ack) => ack.seqNum()), numbers(0, 1500).map(Number));
        assert.ok(acks[0].batchAppendAck().end.seqNum <= 100);
        await producer.submit(record("flushed"));
        await producer.flush();
        assert.equal((await target.checkTail()).tail.seqNum, 1501);
        await producer.close();
        assert.deepEqual(bodies(await written(target)), [...numbers(0, 1500), "flushed"]);
    });

    test(`${way}records piped into a producer come out as acknowledgements`, async () => {
        const target = await stream();
        const producer = new Producer(new BatchTransform({ maxBatchBytes: 100 }), await target.appendSession());
        const acks = collect(producer.readable, 50);
        const writer = producer.writable.getWriter();
        for (const body of numbers(0, 50)) await writer.write(record(body));
        await writer.close();
        assert.deepEqual((await acks).map((ack) => ack.seqNum()), numbers(0, 50).map(Number));
        await producer.close();
    });

    test(`${way}a producer with the wrong fencing token fails`, async () => {
        const target = await stream();
        await target.append(batch([AppendRecord.fence("mine")]));
        const producer = new Producer(new BatchTransform({ fencingToken: "other" }), await target.appendSession());
        const ticket = await producer.submit(record("x"));
        await endsWith(ticket.ack(), FencingTokenMismatchError);
        await endsWith(producer.close(), FencingTokenMismatchError);
    });
}

test("sessions beside each other do not hold each other up", async () => {
    const s2 = connect(lite);
    const target = await newStream(s2);
    const sessions = await Promise.all(numbers(0, 150).map(() => s2.basin(BASIN).stream(target.name).appendSession()));
    for (const at of numbers(0, 3)) {
        const tickets = await Promise.all(sessions.map((session, index) => session.submit(batch([`${index} ${at}`]))));
        await Promise.all(tickets.map((ticket) => ticket.ack()));
    }
    await Promise.all(sessions.map((session) => session.close()));
    const got = bodies(await written(target));
    assert.equal(new Set(got).size, 450);
    for (const index of numbers(0, 150)) {
        const own = got.filter((body) => body.startsWith(`${index} `));
        assert.deepEqual(own, numbers(0, 3).map((at) => `${index} ${at}`));
    }
});
