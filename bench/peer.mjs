// The official npm client doing the same work as bench/burst.lua.
//
//   node bench/peer.mjs BASE_URL
//
// Prints `cpu SECONDS` of the stream alone.
import { createRequire } from "node:module";
const require = createRequire(new URL("../spec/peer/", import.meta.url));
const OpenAI = require("openai");

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "test", maxRetries: 0 });
const before = process.cpuUsage();
const stream = await client.chat.completions.create({
  model: "m",
  stream: true,
  stream_options: { include_usage: true },
  messages: [{ role: "user", content: "Count." }],
});
let bytes = 0;
for await (const chunk of stream) bytes += chunk.choices[0]?.delta?.content?.length ?? 0;
const used = process.cpuUsage(before);
console.log("cpu " + ((used.user + used.system) / 1e6).toFixed(6));
console.log("bytes " + bytes);
