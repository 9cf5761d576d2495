// What a client keeps, and what it notices, when the server ends and comes back.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { AppendRecord } from "@s2-dev/streamstore";
import { BASIN, batch, bodies, collect, connect, newStream, numbers, readAll, refused, test } from "./harness.js";
import { Lite } from "./lite.js";

const lite = new Lite({ durable: true });
const patient = { maxAttempts: 50, minBaseDelayMillis: 50, maxBaseDelayMillis: 200 };
const begin = { from: { seqNum: 0 } };

before(async () => {
    await lite.start();
    await connect(lite).basins.create({ basin: BASIN });
});
after(async () => {
    await lite.stop();
    lite.forget();
});

for (const end of ["stop", "crash"]) {
    test(`everything acknowledged is there after a ${end}`, async () => {
        const s2 = connect(lite);
        const config = { storageClass: "standard", retentionPolicy: { infinite: {} } };
        const stream = await newStream(s2, { config });
        await stream.append(batch(numbers(0, 10)));
        await stream.append(batch([AppendRecord.trim(3), AppendRecord.fence("mine")]));
        const { tail } = await stream.checkTail();
        const configured = await s2.basin(BASIN).streams.getConfig({ stream: stream.name });
        await lite[end]();
        await lite.start();
        assert.deepEqual((await stream.checkTail()).tail, tail);
        assert.deepEqual(await s2.basin(BASIN).streams.getConfig({ stream: stream.name }), configured);
        const { records } = await stream.read({ start: begin, ignoreCommandRecords: true });
        assert.deepEqual(bodies(records), numbers(3, 10));
        await refused(stream.append(batch(["x"], { fencingToken: "other" })), 412, "APPEND_CONDITION_FAILED");
        const { start } = await stream.append(batch(["y"], { fencingToken: "mine", matchSeqNum: 12 }));
        assert.ok(start.timestamp >= tail.timestamp);
    });

    test(`a follower resumes after a ${end}`, async () => {
        const stream = await newStream(connect(lite, { retry: patient }));
        await stream.append(batch(["before"]));
        const session = await stream.readSession({ start: begin });
        const records = collect(session, 2);
        await session.caughtUp();
        await lite[end]();
        await lite.start();
        await stream.append(batch(["after"]));
        assert.deepEqual(bodies(await records), ["before", "after"]);
    });
}

test("an append session continues over a stop, with nothing lost and nothing twice", async () => {
    const stream = await newStream(connect(lite, { retry: patient }));
    const session = await stream.appendSession();
    // Whatever was accepted is acknowledged before the end, so nothing that is sent again is out of place.
    const submit = (place) => session.submit(batch([String(place)], { matchSeqNum: place }));
    await (await submit(0)).ack();
    const stopped = lite.stop();
    const tickets = [];
    for (let place = 1; place < 100; place++) tickets.push(await submit(place));
    await stopped;
    await lite.start();
    await Promise.all(tickets.map((ticket) => ticket.ack()));
    await session.close();
    assert.deepEqual(bodies(await readAll(stream)), numbers(0, 100));
});

test("an append session that may send again loses nothing over a crash", async () => {
    const stream = await newStream(connect(lite, { retry: patient }));
    const session = await stream.appendSession();
    const tickets = [];
    for (const body of numbers(0, 100)) tickets.push(await session.submit(batch([body])));
    await tickets[0].ack();
    await lite.crash();
    await lite.start();
    await Promise.all(tickets.map((ticket) => ticket.ack()));
    await session.close();
    const got = bodies(await readAll(stream));
    assert.deepEqual([...new Set(got)], numbers(0, 100));
});
