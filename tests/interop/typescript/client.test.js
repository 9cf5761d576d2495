// How a client finds the server, and how it bears what it meets there.
import assert from "node:assert/strict";
import { after } from "node:test";
import { S2, S2Endpoints, S2Environment } from "@s2-dev/streamstore";
import { BASIN, batch, bodies, connect, newStream, readAll, serve, test } from "./harness.js";

const lite = serve();
const before = { ...process.env };
after(() => Object.assign(process.env, before));

test("the variables that the server prints lead to it", async () => {
    Object.assign(process.env, lite.variables);
    const parsed = S2Environment.parse();
    assert.ok(parsed.accessToken);
    const { basins } = await new S2(parsed).basins.list({ prefix: BASIN });
    assert.deepEqual(basins.map(({ name }) => name), [BASIN]);
});

test("endpoints may be made beforehand, with or without a path", async () => {
    for (const endpoint of [lite.url, `${lite.url}/v1`]) {
        const endpoints = new S2Endpoints({ account: endpoint, basin: endpoint });
        assert.ok(endpoints.includeBasinHeader);
        const s2 = connect(lite, { endpoints });
        const stream = await newStream(s2);
        await stream.append(batch(["x"]));
        assert.deepEqual(bodies(await readAll(stream)), ["x"]);
    }
});

test("a handle that is closed ends its sessions, another continues", async () => {
    const s2 = connect(lite);
    const stream = await newStream(s2);
    const session = await stream.appendSession();
    await (await session.submit(batch(["x"]))).ack();
    await session.close();
    await stream.close();
    await assert.rejects(stream.appendSession());
    assert.deepEqual(bodies(await readAll(s2.basin(BASIN).stream(stream.name))), ["x"]);
});

test("calls at the same moment share what they need", async () => {
    const s2 = connect(lite);
    const names = Array.from({ length: 100 }, (_, index) => `at-once-${index}`);
    const { streams } = s2.basin(BASIN);
    await Promise.all(names.map((stream) => streams.create({ stream })));
    const ensured = await Promise.all(names.map(() => streams.ensure({ stream: "ensured-at-once" })));
    assert.equal(ensured.filter(({ result }) => result === "created").length, 1);
    assert.equal((await streams.list({ prefix: "at-once-" })).streams.length, 100);
});
