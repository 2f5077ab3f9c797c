// The official npm client doing the same work as the other scripts.
//
//   node bench/peer.mjs posts BASE_URL REQUESTS MESSAGES SIZE
//   node bench/peer.mjs stream BASE_URL CHUNKS SIZE
//   node bench/peer.mjs paced BASE_URL STREAMS
//   node bench/peer.mjs first BASE_URL TIMES
//   node --expose-gc bench/peer.mjs memory BASE_URL STREAMS
//   node --expose-gc bench/peer.mjs message COUNT SIZE
//
// Prints what posts.lua, burst.lua, paced.lua, first.lua and memory.lua print.
import { createRequire } from "node:module";
const require = createRequire(new URL("../spec/peer/", import.meta.url));
const OpenAI = require("openai");

const [mode, ...given] = process.argv.slice(2);
const baseURL = mode === "message" ? "" : given.shift();
const numbers = given.map(Number);
const client = new OpenAI({ baseURL: baseURL || undefined, apiKey: "test", maxRetries: 0 });

function check(isTrue, what) {
  if (!isTrue) throw new Error(what);
}

function cpuMicroseconds() {
  const used = process.cpuUsage();
  return used.user + used.system;
}

async function measure(work) {
  const wall = performance.now();
  const cpu = cpuMicroseconds();
  await work();
  console.log("cpu " + ((cpuMicroseconds() - cpu) / 1e6).toFixed(6));
  console.log("wall " + ((performance.now() - wall) / 1e3).toFixed(6));
}

function atShare(values, share) {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * share))];
}

function stream() {
  return client.chat.completions.create({
    model: "m",
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: "user", content: "Count." }],
  });
}

function textOf(chunk) {
  const delta = chunk.choices[0]?.delta;
  return delta?.content ?? delta?.tool_calls?.[0]?.function.arguments ?? "";
}

async function readAll() {
  const pieces = [];
  for await (const chunk of await stream()) pieces.push(textOf(chunk));
  return pieces.join("");
}

const modes = {
  async posts(requests, count, size) {
    const messages = [];
    for (let i = 1; i <= count; i++) {
      messages.push({ role: i % 2 === 1 ? "user" : "assistant", content: "x".repeat(size) });
    }
    await measure(async () => {
      for (let i = 0; i < requests; i++) {
        messages.push({ role: "user", content: "And in 3D?" });
        const answer = await client.chat.completions.create({ model: "m", messages });
        check(answer.choices[0].message.content.length > 100, "too little text");
        messages.pop();
      }
    });
  },

  async stream(chunks, size) {
    let text;
    await measure(async () => { text = await readAll(); });
    check(text.length >= chunks * size, "too little text");
  },

  async paced(streams) {
    let texts;
    await measure(async () => {
      texts = await Promise.all(Array.from({ length: streams }, readAll));
    });
    check(texts.every((text) => text && text === texts[0]), "some streams did not end");
  },

  async first(times) {
    const values = [];
    for (let i = 0; i < times; i++) {
      let before, at;
      for await (const chunk of await stream()) {
        if (textOf(chunk)) at ??= cpuMicroseconds();
        else before ??= cpuMicroseconds();
      }
      values.push(at - before);
    }
    console.log("first " + atShare(values, 0.5).toFixed(2));
    console.log("first_p95 " + atShare(values, 0.95).toFixed(2));
  },

  async memory(streams) {
    await readAll(); // what is loaded once per process
    globalThis.gc();
    const before = process.memoryUsage().rss;
    let begun = 0;
    for (let i = 0; i < streams; i++) {
      (async () => {
        let isNew = true;
        for await (const chunk of await stream()) {
          if (isNew && textOf(chunk)) {
            isNew = false;
            begun++;
          }
        }
      })();
    }
    while (begun < streams) await new Promise((resolve) => setTimeout(resolve, 20));
    globalThis.gc();
    console.log("bytes " + ((process.memoryUsage().rss - before) / streams).toFixed(0));
    process.exit(0);
  },

  async message(count, size) {
    const messages = [];
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 1; i <= count; i++) {
      // a text of its own for each, as they come; Buffer makes it a flat string
      const content = Buffer.from(String(i).padEnd(size, "x")).toString("latin1");
      messages.push({ role: i % 2 === 1 ? "user" : "assistant", content });
    }
    globalThis.gc();
    const used = process.memoryUsage().heapUsed - before;
    check(messages.length === count, "too few messages");
    console.log("bytes " + (used / count - size).toFixed(1));
  },
};

await modes[mode](...numbers);
