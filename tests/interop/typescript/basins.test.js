import assert from "node:assert/strict";
import { connect, collect, refused, serve, test } from "./harness.js";

const lite = serve();
const everything = {
    createStreamOnAppend: true,
    createStreamOnRead: false,
    defaultStreamConfig: {
        storageClass: "standard",
        retentionPolicy: { ageSecs: 3600 },
        timestamping: { mode: "client-require", uncapped: true },
        deleteOnEmpty: { minAgeSecs: 60 },
    },
    streamCipher: null,
};
const nothing = {
    createStreamOnAppend: false,
    createStreamOnRead: false,
    defaultStreamConfig: null,
    streamCipher: null,
};

test("create gives the basin, getConfig what was asked for", async () => {
    const { basins } = connect(lite);
    const created = await basins.create({ basin: "create-basin", config: everything });
    assert.equal(created.name, "create-basin");
    assert.equal(created.deletedAt, null);
    assert.ok(Math.abs(created.createdAt - Date.now()) < 60_000);
    assert.deepEqual(await basins.getConfig({ basin: "create-basin" }), everything);
    await basins.create({ basin: "create-plain" });
    assert.deepEqual(await basins.getConfig({ basin: "create-plain" }), nothing);
});

test("create of what exists is a conflict", async () => {
    const { basins } = connect(lite);
    await basins.create({ basin: "create-twice" });
    const error = await refused(basins.create({ basin: "create-twice" }), 409, "resource_already_exists");
    assert.match(error.message, /create-twice/);
});

test("create refuses a configuration that makes no sense", async () => {
    const config = { defaultStreamConfig: { retentionPolicy: { ageSecs: 0 } } };
    await refused(connect(lite).basins.create({ basin: "create-wrong", config }), 422, "invalid");
});

test("create refuses names that are none", async () => {
    const { basins } = connect(lite);
    for (const basin of ["short", "Upper-case", "-hyphen-first", "x".repeat(49)]) {
        await refused(basins.create({ basin }), 400, "bad_json");
    }
});

test("getConfig and delete of an unknown basin are not found", async () => {
    const { basins } = connect(lite);
    await refused(basins.getConfig({ basin: "unknown-basin" }), 404, "basin_not_found");
    await refused(basins.delete({ basin: "unknown-basin" }), 404, "basin_not_found");
});

test("ensure creates, leaves alone, updates, and resets without a configuration", async () => {
    const { basins } = connect(lite);
    const basin = "ensure-basin";
    const created = await basins.ensure({ basin, config: everything });
    assert.equal(created.result, "created");
    assert.equal(created.basin.name, basin);
    assert.equal((await basins.ensure({ basin, config: everything })).result, "noop");
    const updated = await basins.ensure({ basin, config: { ...everything, createStreamOnRead: true } });
    assert.equal(updated.result, "updated");
    assert.deepEqual(updated.basin.createdAt, created.basin.createdAt);
    assert.equal((await basins.getConfig({ basin })).createStreamOnRead, true);
    assert.equal((await basins.ensure({ basin })).result, "updated");
    assert.deepEqual(await basins.getConfig({ basin }), nothing);
    assert.equal((await basins.ensure({ basin })).result, "noop");
});

test("reconfigure changes what is named, and unsets what is null", async () => {
    const { basins } = connect(lite);
    const basin = "changed-basin";
    await basins.create({ basin, config: everything });
    assert.deepEqual(await basins.reconfigure({ basin }), everything);
    const timestamping = { mode: "arrival" };
    assert.deepEqual(
        await basins.reconfigure({ basin, createStreamOnRead: true, defaultStreamConfig: { timestamping } }),
        {
            ...everything,
            createStreamOnRead: true,
            defaultStreamConfig: { ...everything.defaultStreamConfig, timestamping: { mode: "arrival", uncapped: true } },
        },
    );
    const changed = await basins.reconfigure({ basin, createStreamOnAppend: null, defaultStreamConfig: null });
    assert.deepEqual(changed, { ...nothing, createStreamOnAppend: true, createStreamOnRead: true });
    assert.deepEqual(await basins.getConfig({ basin }), changed);
    await refused(basins.reconfigure({ basin: "unknown-basin" }), 404, "basin_not_found");
    const defaultStreamConfig = { retentionPolicy: { ageSecs: 0 } };
    await refused(basins.reconfigure({ basin, defaultStreamConfig }), 422, "invalid");
});

test("list gives pages in order, listAll all of them", async () => {
    const { basins } = connect(lite);
    const names = ["listed-a", "listed-b", "listed-c", "listed-d", "listed-e"];
    for (const basin of [...names].reverse()) await basins.create({ basin });
    const page = async (input) => {
        const { basins: found, hasMore } = await basins.list({ prefix: "listed-", ...input });
        return [found.map(({ name }) => name), hasMore];
    };
    assert.deepEqual(await page({}), [names, false]);
    assert.deepEqual(await page({ limit: 2 }), [names.slice(0, 2), true]);
    assert.deepEqual(await page({ limit: 5 }), [names, false]);
    assert.deepEqual(await page({ limit: 0 }), [names, false]);
    assert.deepEqual(await page({ limit: 2, startAfter: "listed-b" }), [names.slice(2, 4), true]);
    assert.deepEqual(await page({ startAfter: "listed-e" }), [[], false]);
    assert.deepEqual(await page({ startAfter: "aaaaaaaa" }), [names, false]);
    const all = await collect(basins.listAll({ prefix: "listed-", limit: 2 }));
    assert.deepEqual(all.map(({ name }) => name), names);
    assert.ok((await basins.list()).basins.length > names.length);
});

test("delete takes the basin with its streams", async () => {
    const s2 = connect(lite);
    const basin = "delete-basin";
    await s2.basins.create({ basin });
    await s2.basin(basin).streams.create({ stream: "in-it" });
    assert.equal(await s2.basins.delete({ basin }), undefined);
    assert.deepEqual(await collect(s2.basins.listAll({ prefix: basin })), []);
    const left = await collect(s2.basins.listAll({ prefix: basin, includeDeleted: true }));
    for (const { deletedAt } of left) assert.ok(deletedAt instanceof Date); // or gone already
});

test("a call that is aborted ends", async () => {
    const signal = AbortSignal.abort();
    await assert.rejects(connect(lite).basins.list({}, { signal }));
});
