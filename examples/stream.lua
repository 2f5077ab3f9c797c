--- An answer on the terminal, as it arrives. Ctrl-C stops it.
--
--   OPPER_API_KEY=... lua5.4 examples/stream.lua "What's a coroutine?"
--
-- With OPPER_BASE_URL it talks to that server instead of Opper. With neither
-- it starts the offline server that comes with the examples.

local opperchat = require "opperchat"

local question = arg[1] or "What's a coroutine?"

local function summary(reply)
  local parts = {}
  if reply.timing.first_token then
    parts[1] = string.format("first token after %.2f s", reply.timing.first_token)
  end
  local usage = reply.usage
  if usage and usage.prompt_tokens and usage.completion_tokens then
    parts[#parts + 1] = string.format("%d + %d tokens", usage.prompt_tokens,
      usage.completion_tokens)
  end
  if usage and usage.cost then
    parts[#parts + 1] = string.format("$%.6f", usage.cost)
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local request

local function converse(client)
  local chat = opperchat.conversation{
    client = client,
    model = "openai/gpt-5-mini",
    system = "You are a concise assistant.",
  }
  request = chat:stream(question)
  for text in request do
    io.write(text)
    io.flush()
  end
  print("\n" .. summary(request:wait()))
end

local offline, client
if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
  local here = arg[0]:match("^(.*[/\\])") or "./"
  offline = dofile(here .. "support/offline.lua").start()
  client = opperchat.client{ base_url = offline.url }
  print("No OPPER_API_KEY is set: talking to the offline server at " .. offline.url)
end

local ok, err = pcall(converse, client)
-- The lua program turns Ctrl-C into this error, in the middle of whatever runs.
local is_interrupted = not ok and tostring(err):find("interrupted!", 1, true)
if is_interrupted then
  if request then
    request:cancel()
  end
  print("\n[stopped]")
end
if offline then
  offline:stop()
end
if is_interrupted then
  os.exit(130)
elseif not ok then
  io.stderr:write("stream: ", tostring(err), "\n")
  os.exit(1)
end
