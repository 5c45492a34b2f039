// The functions of all scenarios, for the official TypeScript SDK, versions 3 and 4.
//
//   node app.mjs serve 127.0.0.1:4321    or    node app.mjs connect <instance id>
//
// It prints one line of JSON when it is ready. The functions have the same ids, events and results
// in every language.

import { appendFileSync, existsSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

import { Inngest, NonRetriableError, RetryAfterError, openai, referenceFunction } from "inngest";
import { connect } from "inngest/connect";
import { serve } from "inngest/node";

const [transport, place] = process.argv.slice(2);
const V4 = process.env.SDK_MAJOR === "4";
const APP = "scenarios";
const LEFT_OUT = (process.env.LEAVE_OUT ?? "").split(",");
const client = new Inngest({ id: APP });
const functions = [];

function define(id, { trigger = { event: id }, ...options }, handler) {
  if (LEFT_OUT.includes(id)) return;
  const triggers = [trigger].flat();
  functions.push(
    V4
      ? client.createFunction({ id, triggers, ...options }, handler)
      : client.createFunction({ id, ...options }, triggers, handler),
  );
}

const apart = V4 ? { checkpointing: false } : {}; // each step in a call of its own

// --- steps ---

define("echo", {}, ({ event, step }) => step.run("echo", () => event.data.value));

define("one-step", { ...apart }, async ({ step, attempt }) => {
  const a = await step.run("a", () => 7);
  return { a, attempt };
});

define("large", { ...apart }, async ({ step }) => {
  let total = 0;
  for (const id of ["s0", "s1", "s2"]) {
    total += (await step.run(id, () => "x".repeat(1_600_000))).length;
  }
  return total;
});

define("same-id", { ...apart }, async ({ step }) => {
  const values = [];
  for (let number = 0; number < 3; number++) values.push(await step.run("a", () => number));
  return values;
});

define("parallel", {}, ({ step }) =>
  Promise.all([step.run("left", () => "l"), step.run("right", () => "r")]),
);

define("race", {}, async ({ step, group }) => {
  const branches = () =>
    Promise.all([
      step.run("a1", () => 1).then(() => step.run("a2", () => 2)),
      step.sleep("b", "2s"),
    ]);
  await (group ? group.parallel(branches) : branches());
  return "done";
});

define("too-many", { retries: 0 }, async ({ event, step }) => {
  const numbers = Array.from({ length: event.data.count }, (_, number) => number);
  const values = await Promise.all(numbers.map((number) => step.run(`s${number}`, () => number)));
  return values.length;
});

define("many", { retries: 0 }, async ({ event, step }) => {
  for (let number = 0; number < event.data.count; number++) {
    await step.run(`s${number}`, () => number);
  }
  return event.data.count;
});

define("checkpointed", { ...(V4 ? { checkpointing: { bufferedSteps: 10 } } : {}) }, async ({ step }) => {
  const a = await step.run("a", () => 1);
  const b = await step.run("b", () => 2);
  return a + b;
});

define("hold", {}, async ({ event, step }) => {
  const before = await step.run("before", () => 1);
  const held = await step.run("hold", async () => {
    while (!existsSync(event.data.path)) await delay(20);
    return 2;
  });
  return before + held + (await step.run("after", () => 3));
});

// --- checkpoints ---

const eager = (config = true) => ({ checkpointing: config });
const note = (event, name) => appendFileSync(event.data.ledger, `${name}\n`);

define("eager", { ...eager() }, async ({ step }) => {
  const begun = [];
  for (const id of ["a", "b", "c"]) begun.push(await step.run(id, () => Date.now()));
  return begun;
});

define("buffered", { ...eager({ bufferedSteps: 5 }) }, async ({ step }) => {
  let sum = 0;
  for (const id of ["a", "b", "c"]) sum += await step.run(id, () => 1);
  return sum;
});

define("buffered-fails", { ...eager({ bufferedSteps: 5 }) }, async ({ step, attempt }) => {
  const a = await step.run("a", () => 1);
  const b = await step.run("b", () => {
    if (attempt === 0) throw new Error("busy");
    return 2;
  });
  return a + b;
});

define("buffered-sleeps", { ...eager({ bufferedSteps: 5 }) }, async ({ event, step }) => {
  const a = await step.run(event.data.first ?? "a", () => 1);
  const b = await step.run("b", () => 2);
  await step.sleep("nap", 100);
  return a + b + (await step.run("c", () => 3));
});

define("eager-parallel", { ...eager() }, async ({ event, step }) => {
  const run = (id) => step.run(id, () => note(event, id));
  await run("before");
  await Promise.all([run("left"), run("right")]);
  await run("after");
  return "done";
});

define("eager-attempts", { ...eager() }, async ({ event, step }) => {
  if (!existsSync(event.data.ledger)) {
    note(event, "failed");
    throw new Error("busy");
  }
  const a = await step.run("a", () => 1);
  return a + (await step.run("b", () => 2));
});

define("short", { ...eager({ maxRuntime: 200 }) }, async ({ event, step }) => {
  if (event.data.steps) await step.run("a", () => note(event, "a"));
  note(event, "between");
  await delay(400);
  if (event.data.steps) await step.run("b", () => note(event, "b"));
  return "done";
});

define("eager-date", { ...eager() }, async ({ step }) => {
  const found = await step.run("a", () => new Date(0));
  const live = await step.run("live", () => String(found));
  await step.sleep("nap", 100);
  return [live, String(found)];
});

define("eager-ledger", { ...eager(), retries: 20 }, async ({ event, step }) => {
  for (const id of ["s0", "s1", "s2", "s3", "s4"]) {
    await step.run(id, async () => {
      note(event, id);
      while (id === "s2" && !existsSync(event.data.gate)) await delay(20);
    });
  }
  return "done";
});

// --- errors ---

const noStock = () => {
  throw new Error("no stock");
};
define("fails", {}, noStock);
define("fails-0", { retries: 0 }, noStock);
define("fails-50", { retries: 50 }, noStock);

define("never", {}, () => {
  throw new NonRetriableError("never");
});

define("retry-after", {}, ({ attempt }) => {
  if (attempt === 0) throw new RetryAfterError("busy", 2_000);
  return attempt;
});

define("step-retry-after", {}, ({ step, attempt }) =>
  step.run("s", () => {
    if (attempt === 0) throw new RetryAfterError("busy", 2_000);
    return attempt;
  }),
);

const survive = async (step, raise) => {
  let caught = null;
  try {
    await step.run("bad", raise);
  } catch (error) {
    caught = error.message;
  }
  return { caught, after: await step.run("after", () => "went on") };
};
define("step-fails", { retries: 1 }, ({ step }) =>
  survive(step, () => {
    throw new Error("bad step");
  }),
);
define("step-never", {}, ({ step }) =>
  survive(step, () => {
    throw new NonRetriableError("bad step");
  }),
);

define("failing", { retries: 0, onFailure: ({ error }) => error.message }, noStock);
define(
  "failing-twice",
  {
    retries: 0,
    onFailure: () => {
      throw new NonRetriableError("the handler too");
    },
  },
  noStock,
);

// --- steps that the server resolves ---

define("sleep", {}, async ({ event, step }) => {
  const { ms, until } = event.data;
  if (until) await step.sleepUntil("s", new Date(until));
  else await step.sleep("s", ms);
  return "woke";
});

const received = (event) => (event ? { name: event.name, data: event.data } : null);

define("wait", {}, async ({ event, step }) => {
  const { event: name, if: expression, ms } = event.data;
  const options = { event: name, timeout: ms, ...(expression ? { if: expression } : {}) };
  return { event: received(await step.waitForEvent("w", options)) };
});

define("send-and-wait", {}, async ({ step }) => {
  const [, event] = await Promise.all([
    step.sendEvent("send", { name: "send-and-wait/e", data: { n: 1 } }),
    step.waitForEvent("w", { event: "send-and-wait/e", timeout: "20s" }),
  ]);
  return { event: received(event) };
});

define("send", { retries: 0 }, async ({ event, step }) => {
  const { ids } = await step.sendEvent("send", event.data.events);
  return ids;
});

define("invoke", {}, async ({ event, step }) => {
  const { function: functionId, data, ms } = event.data;
  try {
    const result = await step.invoke("i", {
      function: referenceFunction({ appId: APP, functionId }),
      data,
      ...(ms ? { timeout: ms } : {}),
    });
    return { result };
  } catch (error) {
    return { error: error.message, name: error.name };
  }
});

define("invoke-finish", { timeouts: { finish: "1s" } }, ({ step }) =>
  step.invoke("i", { function: referenceFunction({ appId: APP, functionId: "child-slow" }), data: {} }),
);

define("child-ok", {}, ({ event }) => ({ got: event.data.n }));
define("child-null", {}, () => null);
define("child-fails", {}, () => {
  throw new NonRetriableError("child broke");
});
define("child-slow", {}, async ({ step }) => {
  await step.sleep("s", "3s");
  return "slow";
});
define("child-stops", { cancelOn: [{ event: "child-stops/stop" }] }, async ({ step }) => {
  await step.sleep("s", "30s");
  return "not stopped";
});

define("signal", {}, async ({ event, step }) => {
  const { signal, conflict = "fail", ms } = event.data;
  return step.waitForSignal("s", { signal, onConflict: conflict, timeout: ms });
});

define("fetch", {}, async ({ event, step }) => {
  const response = await step.fetch(event.data.url);
  return { status: response.status, body: await response.text() };
});

define("infer", { retries: 1 }, async ({ event, step }) => {
  const model = openai({ model: "test", apiKey: "test", baseUrl: `${event.data.url}/v1` });
  try {
    const answer = await step.ai.infer("i", {
      model,
      body: { messages: [{ role: "user", content: "hello" }] },
    });
    return { said: answer.choices[0].message.content };
  } catch (error) {
    return { error: error.name };
  }
});

// --- cancellation and timeouts ---

define(
  "cancellable",
  { cancelOn: [{ event: "cancellable/stop", if: "event.data.id == async.data.id" }] },
  async ({ event, step }) => {
    await step.sleep("s", event.data.ms);
    return "finished";
  },
);

define(
  "cancel-window",
  { cancelOn: [{ event: "cancel-window/stop", timeout: "1s" }] },
  async ({ step }) => {
    await step.waitForEvent("go", { event: "cancel-window/go", timeout: "30s" });
    return "finished";
  },
);

define("finish-timeout", { timeouts: { finish: "1s" } }, async ({ step }) => {
  await step.sleep("s", "30s");
  return "finished";
});

// --- triggers ---

const name = ({ event }) => event.name;
define("wild-slash", { trigger: { event: "wild/*" } }, name);
define("wild-dot", { trigger: { event: "wilddot/b.*" } }, name);
define("two-triggers", { trigger: [{ event: "two/*" }, { event: "two/a" }] }, name);
define("expr-gt", { trigger: { event: "expr", if: "event.data.n > 5" } }, name);
define("expr-lt", { trigger: { event: "expr", if: "event.data.n < 5" } }, name);
define("expr-null", { trigger: { event: "expr-null", if: "event.data.x == null" } }, name);
define("expr-not-null", { trigger: { event: "expr-null", if: "event.data.x != null" } }, name);
define("expr-text", { trigger: { event: "expr-text", if: "event.data.word" } }, name);
define("cron", { trigger: { cron: "* * * * *" } }, name);
define("on-timer", { trigger: { event: "inngest/scheduled.timer" } }, name);
define("watch-failed", { trigger: { event: "inngest/function.failed" } }, name);
define("watch-cancelled", { trigger: { event: "inngest/function.cancelled" } }, name);
define(
  "watch-echo",
  {
    trigger: {
      event: "inngest/function.finished",
      if: "event.data.function_id == 'scenarios-echo' || event.data.function_id == 'scenarios-never'",
    },
  },
  name,
);

const bad = {
  expression: { event: "bad", if: "event.data.(" },
  zone: { cron: "TZ=Mars/Olympus 0 0 * * *" },
  daily: { cron: "@daily" },
};
if (process.env.BAD) define("bad", { trigger: bad[process.env.BAD] }, name);

if (V4 && !LEFT_OUT.includes("deferred")) {
  const { createDefer } = await import("inngest/experimental");
  const deferred = createDefer(client, { id: "deferred" }, ({ event }) => event.data.n);
  functions.push(deferred);
  define("deferring", {}, async ({ step, defer }) => {
    defer("later", { function: deferred, data: { n: 5 } });
    const a = await step.run("a", () => 1);
    await step.sleep("s", "1s");
    return a;
  });
}

// --- the two transports ---

const ready = (facts) => console.log(JSON.stringify({ ready: true, ...facts }));

if (transport === "serve") {
  const [host, port] = place.split(":");
  const handler = serve({ client, functions });
  const streaming = serve({ client, functions, streaming: V4 ? true : "force" });
  const server = createServer((request, response) =>
    (request.url.startsWith("/api/streamed") ? streaming : handler)(request, response),
  );
  server.listen(Number(port), host, () =>
    ready({ url: `http://${host}:${server.address().port}/api/inngest` }),
  );
} else {
  const connection = await connect({ apps: [{ client, functions }], instanceId: place });
  ready({ state: connection.state });
  await connection.closed;
}
