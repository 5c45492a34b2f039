// The same as noted.py, for the official TypeScript SDK, versions 3 and 4.

import { randomUUID } from "node:crypto";
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import { Inngest } from "inngest";
import { connect } from "inngest/connect";

const { STAGE_APP, STAGE_DIRECTORY, STAGE_INSTANCE, STAGE_VERSION, SDK_MAJOR } = process.env;
const V4 = SDK_MAJOR === "4";
const POLL_MS = 10;
const client = new Inngest({ id: STAGE_APP, appVersion: STAGE_VERSION });

const ran = (name, facts) => {
  const note = { name, pid: process.pid, at: Date.now() / 1000, ...facts };
  appendFileSync(`${STAGE_DIRECTORY}/ran`, `${JSON.stringify(note)}\n`);
};

const pass = async (gate, blocks) => {
  const opened = `${STAGE_DIRECTORY}/${gate}.open`;
  const clock = new Int32Array(new SharedArrayBuffer(4));
  ran(`gate ${gate}`, {});
  while (!existsSync(opened)) {
    if (blocks) Atomics.wait(clock, 0, 0, POLL_MS);
    else await delay(POLL_MS);
  }
};

const noted = async ({ event, step, runId, attempt }) => {
  const results = [];
  for (const name of ["first", "held", "last"]) {
    const body = async () => {
      const result = randomUUID().replaceAll("-", "");
      ran("begin", { run: runId, step: name, attempt, result });
      if (name === "held" && event.data.gate) await pass(event.data.gate, event.data.blocks);
      ran("end", { result });
      return result;
    };
    results.push(await step.run(name, body));
  }
  return results;
};

const trigger = { event: `${STAGE_APP}/noted` };
const options = { id: "noted", retries: 20 };
const made = V4
  ? client.createFunction({ ...options, triggers: [trigger], checkpointing: false }, noted)
  : client.createFunction(options, [trigger], noted);
const connection = await connect({
  apps: [{ client, functions: [made] }],
  instanceId: STAGE_INSTANCE,
});
await connection.closed;
