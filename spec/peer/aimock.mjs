// Runs aimock, a chat-completions server written by others, on a free loopback
// port, which it prints. Answers come from the fixtures file named by the first
// argument. Ends when its standard input does, so that it never outlives a test.
import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({
  port: 0, host: "127.0.0.1", chunkSize: 5, strict: true, logLevel: "silent",
});
mock.loadFixtureFile(process.argv[2]);
console.log(await mock.start());
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
