// Every call that the SDK declares is driven by a test here, unless the server does not answer it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "./harness.js";

const TYPES = dirname(fileURLToPath(import.meta.resolve("@s2-dev/streamstore")));
const HERE = dirname(fileURLToPath(import.meta.url));

// The file of declarations -> what stands before the dot of a call in the tests.
const CALLS = {
    "basins.d.ts": ["basins"],
    "streams.d.ts": ["streams", "nowhere"],
    "stream.d.ts": ["stream", "target", "plain"],
    "producer.d.ts": ["producer", "ack", "ticket", "acks[0]"],
    "accessTokens.d.ts": ["accessTokens"],
    "locations.d.ts": ["locations"],
    "metrics.d.ts": ["metrics"],
};

const tests = readdirSync(HERE)
    .filter((name) => name.endsWith(".test.js") && name !== "calls.test.js")
    .map((name) => readFileSync(join(HERE, name), "utf8"))
    .join("");

for (const [file, receivers] of Object.entries(CALLS)) {
    test(`the calls of ${file}`, () => {
        const declared = readFileSync(join(TYPES, file), "utf8").matchAll(/^ {4}(?!constructor)(\w+)(?:<.*>)?\(/gm);
        const names = Array.from(declared, ([, name]) => name);
        assert.ok(names.length > 0);
        const driven = names.filter((name) => receivers.some((receiver) => tests.includes(`${receiver}.${name}(`)));
        assert.deepEqual(names.filter((name) => !driven.includes(name)), []);
    });
}
