// The real server, in a process of its own: the `s2` that stands first in PATH.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const STOP_MS = 100_000; // A drain takes at most ten seconds, where the machine has time for it.

const running = new Set();
process.on("exit", () => running.forEach((lite) => lite.kill()));
process.on("SIGTERM", () => process.exit(143));

export class Lite {
    // `durable` keeps the data over restarts, otherwise it goes with the process. With a `rootToken` the server asks
    // for tokens.
    constructor({ durable = false, rootToken } = {}) {
        this.home = mkdtempSync(join(tmpdir(), "s2-interop-"));
        this.authentication = [];
        if (rootToken) {
            const file = join(this.home, "root.token");
            writeFileSync(file, rootToken, { mode: 0o600 });
            this.authentication = ["--root-token-file", file];
        }
        this.storage = durable ? ["--data", join(this.home, "data")] : ["--memory"];
        this.port = 0;
    }

    get url() {
        return `http://127.0.0.1:${this.port}`;
    }

    // Returns when the server has said where it listens. Started again, it takes the same port.
    async start() {
        const { PATH } = process.env;
        this.variables = {};
        this.said = "";
        this.process = spawn("s2", ["lite", ...this.storage, ...this.authentication, "--port", String(this.port)], {
            env: { PATH, HOME: this.home },
            stdio: ["ignore", "pipe", "pipe"],
        });
        await once(this.process, "spawn");
        running.add(this);
        this.process.stderr.on("data", (text) => (this.said += text));
        this.ended = once(this.process, "exit");
        for await (const line of createInterface({ input: this.process.stdout })) {
            const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? assert.fail(`the server said: ${line}`);
            this.variables[name] = value;
            if (Object.keys(this.variables).length === 3) break;
        }
        if (!this.variables.S2_ACCOUNT_ENDPOINT) assert.fail(`the server did not start: ${this.said}`);
        this.port = Number(new URL(this.variables.S2_ACCOUNT_ENDPOINT).port);
        return this;
    }

    // The orderly end: what was acknowledged is kept, what was asked is answered.
    async stop() {
        this.process.kill("SIGTERM");
        const late = setTimeout(() => this.kill(), STOP_MS);
        const [code, signal] = await this.ended;
        clearTimeout(late);
        running.delete(this);
        assert.deepEqual([code, signal], [0, null], this.said);
        assert.doesNotMatch(this.said, /Traceback/);
    }

    kill() {
        this.process.kill("SIGKILL");
        return this.ended;
    }

    async crash() {
        await this.kill();
        running.delete(this);
    }

    forget() {
        rmSync(this.home, { recursive: true, force: true });
    }
}
