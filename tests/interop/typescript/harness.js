// What every file of tests begins with: a server, clients of it, and streams that nobody else uses.
import assert from "node:assert/strict";
import { after, before, test as plainTest } from "node:test";
import zlib from "node:zlib";
import { AppendInput, AppendRecord, S2, S2Error } from "@s2-dev/streamstore";
import { Lite } from "./lite.js";

// Only what hangs takes so long, however busy the machine is.
const LIMIT = { timeout: 300_000 };

export const BASIN = "typescript-basin";

// How the SDK can carry a session, and what it compresses there. Its zstd needs Node 22.15, of which the package
// brings a copy.
export const APPEND_TRANSPORTS = ["s2s", "fetch"];
export const READ_TRANSPORTS = ["s2s", "fetch"];
export const COMPRESSIONS = ["none", "gzip", ...("zstdCompressSync" in zlib ? ["zstd"] : [])];

export function test(name, job) {
    plainTest(name, LIMIT, job);
}

// One server in memory for the tests of a file; it has the basin BASIN. With a `rootToken` it asks for tokens.
export function serve({ rootToken } = {}) {
    const lite = new Lite({ rootToken });
    before(async () => {
        await lite.start();
        await connect(lite, rootToken && { accessToken: rootToken }).basins.create({ basin: BASIN });
    }, LIMIT);
    after(async () => {
        await lite.stop();
        lite.forget();
    }, LIMIT);
    return lite;
}

// A client of that server. It does not retry, so that an answer that asks for it is seen.
export function connect(lite, options = {}) {
    return new S2({
        accessToken: "token",
        endpoints: { account: lite.url, basin: lite.url },
        retry: { maxAttempts: 1 },
        ...options,
    });
}

let made = 0;

// A handle of a new stream of BASIN.
export async function newStream(s2, { config, ...options } = {}) {
    const stream = `stream-${++made}`;
    await s2.basin(BASIN).streams.create({ stream, config });
    return s2.basin(BASIN).stream(stream, options);
}

// An append of records; strings and bytes stand for records with these bodies.
export function batch(items, options) {
    return AppendInput.create(items.map(record), options);
}

export function record(item) {
    if (typeof item === "string") return AppendRecord.string({ body: item });
    return item instanceof Uint8Array ? AppendRecord.bytes({ body: item }) : item;
}

export function numbers(from, to) {
    return Array.from({ length: to - from }, (_, index) => String(from + index));
}

// Everything in a stream from `start` to its present end, through a session.
export async function readAll(stream, { from = { seqNum: 0 }, as = "string", ...input } = {}) {
    const { tail } = await stream.checkTail();
    const stop = { limits: { count: tail.seqNum } };
    return collect(await stream.readSession({ start: { from }, stop, ...input }, { as }));
}

// The records of a session (or of anything else) until it ends, or the first `count` of them.
export async function collect(source, count = Infinity) {
    const items = [];
    for await (const item of source) {
        items.push(item);
        if (items.length === count) break;
    }
    return items;
}

export function bodies(records) {
    return records.map(({ body }) => body);
}

// The error that the call must end with: of the server's, with this status and code.
export async function refused(call, status, code) {
    const error = await call.then(
        (value) => assert.fail(`was not refused: ${JSON.stringify(value)}`),
        (reason) => reason,
    );
    assert.ok(error instanceof S2Error, error);
    assert.deepEqual([error.status, error.code, error.origin], [status, code, "server"], error);
    return error;
}
