import assert from "node:assert/strict";
import { BASIN, batch, bodies, collect, connect, newStream, readAll, refused, serve, test } from "./harness.js";

const lite = serve();
const resolved = {
    storageClass: "express",
    retentionPolicy: { ageSecs: 604_800 },
    timestamping: { mode: "client-prefer", uncapped: false },
    deleteOnEmpty: { minAgeSecs: 0 },
};
const everything = {
    storageClass: "standard",
    retentionPolicy: { infinite: {} },
    timestamping: { mode: "arrival", uncapped: true },
    deleteOnEmpty: { minAgeSecs: 3600 },
};

test("create gives the stream, getConfig the whole configuration", async () => {
    const { streams } = connect(lite).basin(BASIN);
    const created = await streams.create({ stream: "created" });
    assert.equal(created.name, "created");
    assert.equal(created.deletedAt, null);
    assert.equal(created.cipher, null);
    assert.ok(Math.abs(created.createdAt - Date.now()) < 60_000);
    assert.deepEqual(await streams.getConfig({ stream: "created" }), resolved);
    await streams.create({ stream: "created-full", config: everything });
    assert.deepEqual(await streams.getConfig({ stream: "created-full" }), everything);
});

test("reconfigure changes what is named, and gives back to the basin what is null", async () => {
    const { streams } = connect(lite).basin(BASIN);
    const stream = "changed";
    await streams.create({ stream, config: everything });
    assert.deepEqual(await streams.reconfigure({ stream }), everything);
    const changed = { ...everything, timestamping: { mode: "arrival", uncapped: false }, storageClass: "glacial" };
    assert.deepEqual(
        await streams.reconfigure({ stream, storageClass: "glacial", timestamping: { uncapped: false } }),
        changed,
    );
    assert.deepEqual(await streams.getConfig({ stream }), changed);
    const unset = { storageClass: null, retentionPolicy: null, timestamping: null, deleteOnEmpty: null };
    assert.deepEqual(await streams.reconfigure({ stream, ...unset }), resolved);
    await refused(streams.reconfigure({ stream: "unknown" }), 404, "stream_not_found");
});

test("a stream takes what it does not say from its basin, and then from the defaults", async () => {
    const s2 = connect(lite);
    const defaultStreamConfig = { storageClass: "standard", timestamping: { mode: "arrival" } };
    await s2.basins.create({ basin: "layers-basin", config: { defaultStreamConfig } });
    const { streams } = s2.basin("layers-basin");
    await streams.create({ stream: "s", config: { storageClass: "express", timestamping: { uncapped: true } } });
    assert.deepEqual(await streams.getConfig({ stream: "s" }), {
        ...resolved,
        timestamping: { mode: "arrival", uncapped: true },
    });
});

test("create of what exists is a conflict", async () => {
    const { streams } = connect(lite).basin(BASIN);
    await streams.create({ stream: "twice" });
    const error = await refused(streams.create({ stream: "twice" }), 409, "resource_already_exists");
    assert.match(error.message, /twice/);
});

test("what is unknown is not found", async () => {
    const s2 = connect(lite);
    const { streams } = s2.basin(BASIN);
    await refused(streams.getConfig({ stream: "unknown" }), 404, "stream_not_found");
    await refused(streams.delete({ stream: "unknown" }), 404, "stream_not_found");
    const nowhere = s2.basin("unknown-basin").streams;
    await refused(nowhere.list(), 404, "basin_not_found");
    await refused(nowhere.create({ stream: "s" }), 404, "basin_not_found");
    await refused(nowhere.ensure({ stream: "s" }), 404, "basin_not_found");
});

test("create refuses a configuration that makes no sense", async () => {
    const { streams } = connect(lite).basin(BASIN);
    await refused(streams.create({ stream: "wrong", config: { retentionPolicy: { ageSecs: 0 } } }), 422, "invalid");
});

test("ensure creates, leaves alone, updates, and resets without a configuration", async () => {
    const { streams } = connect(lite).basin(BASIN);
    const stream = "ensured";
    const created = await streams.ensure({ stream, config: everything });
    assert.equal(created.result, "created");
    assert.equal(created.stream.name, stream);
    assert.equal((await streams.ensure({ stream, config: everything })).result, "noop");
    const updated = await streams.ensure({ stream, config: { storageClass: "standard" } });
    assert.equal(updated.result, "updated");
    assert.deepEqual(updated.stream.createdAt, created.stream.createdAt);
    assert.deepEqual(await streams.getConfig({ stream }), { ...resolved, storageClass: "standard" });
    assert.equal((await streams.ensure({ stream })).result, "updated");
    assert.deepEqual(await streams.getConfig({ stream }), resolved);
    assert.equal((await streams.ensure({ stream })).result, "noop");
});

test("ensure changes how the next record is appended", async () => {
    const stream = await newStream(connect(lite), { config: { timestamping: { mode: "client-require" } } });
    await refused(stream.append(batch(["no timestamp"])), 422, "invalid");
    await connect(lite).basin(BASIN).streams.ensure({ stream: stream.name });
    await stream.append(batch(["no timestamp"]));
});

test("list gives pages in order of the names' bytes, listAll all of them", async () => {
    const { streams } = connect(lite).basin(BASIN);
    const names = ["listed/A", "listed/B", "listed/a", "listed/b", "listed/é"];
    for (const stream of [...names].reverse()) await streams.create({ stream });
    const page = async (input) => {
        const { streams: found, hasMore } = await streams.list({ prefix: "listed/", ...input });
        return [found.map(({ name }) => name), hasMore];
    };
    assert.deepEqual(await page({}), [names, false]);
    assert.deepEqual(await page({ limit: 2 }), [names.slice(0, 2), true]);
    assert.deepEqual(await page({ limit: 2, startAfter: "listed/B" }), [names.slice(2, 4), true]);
    assert.deepEqual(await page({ startAfter: "listed/é" }), [[], false]);
    assert.deepEqual(await page({ startAfter: "a" }), [names, false]);
    const all = await collect(streams.listAll({ prefix: "listed/", limit: 2 }));
    assert.deepEqual(all.map(({ name }) => name), names);
});

const NAMES = ["a/b//c", "100%25 %2F?x=1&y#z", "tab\tand space ", "größe/日本/🙂", "...", "+", "x".repeat(512)];
for (const name of NAMES) {
    test(`a stream may be named ${JSON.stringify(name.slice(0, 40))}`, async () => {
        const basin = connect(lite).basin(BASIN);
        await basin.streams.create({ stream: name });
        assert.deepEqual(await basin.streams.getConfig({ stream: name }), resolved);
        const [{ name: listed }] = (await basin.streams.list({ prefix: name })).streams;
        assert.equal(listed, name);
        const stream = basin.stream(name);
        await stream.append(batch(["one"]));
        assert.deepEqual(bodies((await stream.read({ start: { from: { seqNum: 0 } } })).records), ["one"]);
        const session = await stream.appendSession();
        await (await session.submit(batch(["two"]))).ack();
        await session.close();
        assert.deepEqual(bodies(await readAll(stream)), ["one", "two"]);
        await basin.streams.delete({ stream: name });
    });
}

test("delete takes the stream with its records, then the name is free", async () => {
    const basin = connect(lite, { retry: { maxAttempts: 10 } }).basin(BASIN);
    const stream = await newStream(connect(lite));
    await stream.append(batch(["gone"]));
    assert.equal(await basin.streams.delete({ stream: stream.name }), undefined);
    assert.deepEqual(await collect(basin.streams.listAll({ prefix: stream.name })), []);
    await assert.rejects(stream.append(batch(["refused"])), ({ code }) =>
        ["stream_deletion_pending", "stream_not_found"].includes(code),
    );
    const deadline = Date.now() + 100_000;
    for (;;) {
        const { streams } = await basin.streams.list({ prefix: stream.name });
        if (streams.length === 0) break;
        assert.ok(streams[0].deletedAt instanceof Date);
        assert.ok(Date.now() < deadline, "the stream is still being deleted");
    }
    await basin.streams.create({ stream: stream.name });
    assert.equal((await stream.checkTail()).tail.seqNum, 0);
});

test("appends and reads make streams where the basin says so", async () => {
    const s2 = connect(lite);
    const config = {
        createStreamOnAppend: true,
        createStreamOnRead: true,
        defaultStreamConfig: { storageClass: "standard" },
    };
    await s2.basins.create({ basin: "auto-basin", config });
    const basin = s2.basin("auto-basin");
    assert.equal((await basin.stream("by-append").append(batch(["x"]))).tail.seqNum, 1);
    const session = await basin.stream("by-append-session").appendSession();
    await (await session.submit(batch(["x"]))).ack();
    await session.close();
    assert.equal((await basin.stream("by-check-tail").checkTail()).tail.seqNum, 0);
    await refused(basin.stream("by-read").read({ start: { from: { seqNum: 0 } } }), 416, undefined);
    await collect(await basin.stream("by-read-session").readSession({ stop: { waitSecs: 0, limits: { count: 0 } } }));
    const names = (await collect(basin.streams.listAll())).map(({ name }) => name);
    assert.deepEqual(names, ["by-append", "by-append-session", "by-check-tail", "by-read", "by-read-session"]);
    for (const stream of names) {
        assert.deepEqual(await basin.streams.getConfig({ stream }), { ...resolved, storageClass: "standard" });
    }
});
