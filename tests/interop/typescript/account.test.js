// Tokens, metrics and locations, on a server that asks for tokens.
import assert from "node:assert/strict";
import { BASIN, batch, collect, connect, readAll, refused, serve, test } from "./harness.js";

const ROOT = "the-root-token";
const HOUR_MS = 3600_000;
const lite = serve({ rootToken: ROOT });

function bearer(accessToken) {
    return connect(lite, { accessToken });
}

test("tokens are issued, listed and revoked", async () => {
    const { accessTokens } = bearer(ROOT);
    const expiresAt = new Date(Date.now() + HOUR_MS);
    const scope = {
        basins: { prefix: "" },
        streams: { exact: "only" },
        opGroups: { account: { read: true, write: false } },
        ops: ["create-stream"],
    };
    const { accessToken } = await accessTokens.issue({ id: "ts/1", scope, expiresAt });
    await accessTokens.issue({ id: "ts/2", scope: { ops: ["list-basins"] } });
    await refused(accessTokens.issue({ id: "ts/1", scope }), 409, "resource_already_exists");
    const page = await accessTokens.list({ limit: 1 });
    assert.deepEqual([page.accessTokens.length, page.hasMore], [1, true]);
    const [first, ...others] = await collect(accessTokens.listAll({ prefix: "ts/" }));
    assert.deepEqual(others.map(({ id }) => id), ["ts/2"]);
    assert.deepEqual([first.id, first.expiresAt, first.autoPrefixStreams], ["ts/1", expiresAt, false]);
    assert.deepEqual(first.scope.basins, scope.basins);
    assert.deepEqual(first.scope.streams, scope.streams);
    assert.equal(first.scope.accessTokens, null);
    assert.deepEqual(first.scope.opGroups.account, scope.opGroups.account);
    assert.deepEqual(first.scope.ops, scope.ops);

    const { basins } = bearer(accessToken);
    assert.deepEqual((await basins.list()).basins.map(({ name }) => name), [BASIN]);
    await refused(basins.create({ basin: "not-allowed" }), 403, "permission_denied");
    await accessTokens.revoke({ id: "ts/1" });
    await refused(basins.list(), 401, "authn");
    await refused(accessTokens.revoke({ id: "ts/1" }), 404, "access_token_not_found");
    await refused(bearer("nonsense").basins.list(), 401, "authn");
});

test("what makes no sense is refused in so many words", async () => {
    const { accessTokens } = bearer(ROOT);
    const nothing = { basins: { prefix: "" } };
    const empty = await refused(accessTokens.issue({ id: "empty", scope: nothing }), 422, "invalid");
    assert.match(empty.message, /Access token permissions cannot be empty/);
    const exact = { streams: { exact: "x" }, ops: ["read"] };
    const call = accessTokens.issue({ id: "auto", scope: exact, autoPrefixStreams: true });
    const { message } = await refused(call, 422, "invalid");
    assert.match(message, /Auto prefixing is only allowed for streams with prefix matching/);
});

test("a tenant sees streams of its own", async () => {
    const root = bearer(ROOT);
    const all = { read: true, write: true };
    const scope = { basins: { exact: BASIN }, streams: { prefix: "tenant/" }, opGroups: { basin: all, stream: all } };
    const { accessToken } = await root.accessTokens.issue({ id: "tenant", scope, autoPrefixStreams: true });
    const basin = bearer(accessToken).basin(BASIN);
    assert.equal((await basin.streams.create({ stream: "events" })).name, "events");
    const stream = basin.stream("events");
    await stream.append(batch(["mine"]));
    const session = await stream.appendSession();
    await (await session.submit(batch(["too"]))).ack();
    await session.close();
    assert.deepEqual((await readAll(stream)).map(({ body }) => body), ["mine", "too"]);
    assert.deepEqual((await basin.streams.list()).streams.map(({ name }) => name), ["events"]);
    const seen = await root.basin(BASIN).streams.list({ prefix: "tenant/" });
    assert.deepEqual(seen.streams.map(({ name }) => name), ["tenant/events"]);
});

test("a session ends with its token", async () => {
    const root = bearer(ROOT);
    await root.basin(BASIN).streams.create({ stream: "revoked" });
    const scope = { basins: { prefix: "" }, streams: { prefix: "" }, ops: ["read", "append", "check-tail"] };
    const { accessToken } = await root.accessTokens.issue({ id: "reader", scope });
    const stream = bearer(accessToken).basin(BASIN).stream("revoked");
    await stream.append(batch(["before"]));
    const session = await stream.readSession({ start: { from: { seqNum: 0 } } });
    const reader = session.getReader();
    await reader.read();
    await root.accessTokens.revoke({ id: "reader" });
    await refused(reader.read(), 401, "authn");
});

test("metrics", async () => {
    const root = bearer(ROOT);
    const { metrics } = root;
    await root.basins.create({ basin: "metrics-basin" });
    await root.basin("metrics-basin").streams.create({ stream: "events" });
    await root.basin("metrics-basin").stream("events").append(batch(["x".repeat(92)]));
    const window = { start: new Date(Date.now() - HOUR_MS), end: new Date() };
    const { values } = await metrics.account({ set: "active-basins", ...window });
    assert.ok(values[0].label.values.includes("metrics-basin"));
    for (const set of ["storage", "append-ops", "read-ops", "read-throughput", "append-throughput", "basin-ops"]) {
        await metrics.basin({ basin: "metrics-basin", set, ...window });
    }
    const written = await metrics.basin({
        basin: "metrics-basin",
        set: "append-throughput",
        interval: "hour",
        start: window.start,
        end: new Date(Date.now() + 1000),
    });
    const [{ accumulation }] = written.values;
    assert.deepEqual([accumulation.name, accumulation.interval, accumulation.unit], ["express", "hour", "bytes"]);
    assert.equal(accumulation.values.reduce((sum, [, value]) => sum + value, 0), 100);
    const stored = await metrics.stream({
        basin: "metrics-basin",
        stream: "events",
        set: "storage",
        start: window.start,
        end: new Date(Date.now() + 1000),
    });
    assert.equal(stored.values[0].gauge.values.at(-1)[1], 100);
    const old = { start: new Date(0), end: new Date(HOUR_MS) };
    assert.deepEqual(await metrics.account({ set: "account-ops", ...old }), { values: [] });
    const long = { start: new Date(Date.now() - 91 * 24 * HOUR_MS), end: new Date() };
    await refused(metrics.account({ set: "account-ops", ...long }), 422, "invalid");
});

test("locations", async () => {
    const { basins, locations } = bearer(ROOT);
    const classes = { storageClasses: ["standard", "express"], defaultStorageClass: "express" };
    const local = { name: "local", isPrivate: true, ...classes };
    assert.deepEqual(await locations.list(), [local]);
    assert.deepEqual(await locations.getDefault(), local);
    assert.deepEqual(await locations.setDefault({ location: "local" }), local);
    await refused(locations.setDefault({ location: "aws:us-east-1" }), 422, "invalid");
    assert.equal((await basins.create({ basin: "located-basin", location: "local" })).location, "local");
    const elsewhere = basins.create({ basin: "elsewhere-basin", location: "aws:us-east-1" });
    await refused(elsewhere, 422, "invalid");
});
