// Performs chat completions with the official openai client, as its users
// write them. Reads one JSON description from standard input:
//
//   {"base_url": "http://127.0.0.1:1234/v1",
//    "calls": [{"messages": [...], "options": {...}, "continue": false}]}
//
// The messages of a call are added to those of the one before it, and to the
// model's answer, when "continue" is true; otherwise they start a new list.
// Options are the other parameters of the request. Prints a JSON list with
// the content of each answer.
import OpenAI from "openai";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { base_url, calls } = JSON.parse(Buffer.concat(chunks).toString("utf8"));

const client = new OpenAI({ baseURL: base_url, apiKey: "test", maxRetries: 0 });
const answers = [];
let messages = [];

for (const call of calls) {
  if (!call.continue) messages = [];
  messages.push(...call.messages);
  const params = { ...call.options, messages };
  let message;
  if (params.stream) {
    const parts = [];
    for await (const chunk of await client.chat.completions.create(params)) {
      parts.push(chunk.choices[0]?.delta?.content ?? "");
    }
    message = { role: "assistant", content: parts.join("") };
  } else {
    const completion = await client.chat.completions.create(params);
    message = completion.choices[0].message;
  }
  messages.push(message);
  answers.push(message.content);
}
console.log(JSON.stringify(answers));
