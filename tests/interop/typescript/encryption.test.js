// Streams that are encrypted with a key of the client, through every call that appends or reads.
import assert from "node:assert/strict";
import { COMPRESSIONS, batch, bodies, collect, connect, numbers, readAll, refused, serve, test } from "./harness.js";

const lite = serve();
const KEY = Buffer.alloc(32, 7).toString("base64");
const begin = { from: { seqNum: 0 } };

for (const cipher of ["aegis-256", "aes-256-gcm"]) {
    for (const compression of COMPRESSIONS) {
        test(`${cipher}, compressed by ${compression}`, async () => {
            const s2 = connect(lite, { compression });
            const basin = `encrypted-${cipher}-${compression}`;
            await s2.basins.create({ basin, config: { streamCipher: cipher } });
            await s2.basin(basin).streams.create({ stream: "s" });
            const plain = s2.basin(basin).stream("s");
            const stream = plain.withEncryptionKey(KEY);
            await stream.append(batch(["0", "x".repeat(5000)]));
            const session = await stream.appendSession();
            for (const body of numbers(2, 10)) await (await session.submit(batch([body]))).ack();
            await session.close();
            const expected = ["0", "x".repeat(5000), ...numbers(2, 10)];
            assert.deepEqual(bodies((await stream.read({ start: begin })).records), expected);
            assert.deepEqual(bodies(await readAll(stream)), expected);
            assert.equal((await plain.checkTail()).tail.seqNum, 10);
            await refused(plain.read({ start: begin }), 400, "bad_header");
            const wrong = plain.withEncryptionKey(Buffer.alloc(32, 8).toString("base64"));
            await refused(wrong.read({ start: begin }), 400, "decryption_failed");
            await assert.rejects(async () => collect(await wrong.readSession({ start: begin }), 1));
        });
    }
}
