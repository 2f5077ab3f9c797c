--- A conversation of two turns.
--
--   OPPER_API_KEY=... lua5.4 examples/quickstart.lua
--
-- With OPPER_BASE_URL it talks to that server instead of Opper. With neither
-- it starts the offline server that comes with the examples.

local opperchat = require "opperchat"

local function converse(client)
  local chat = opperchat.conversation{
    client = client,
    model = "openai/gpt-5-mini",
    system = "You are a concise assistant.",
  }
  for _, question in ipairs{ "What's a vector?", "Give me an example in 3D." } do
    print("> " .. question)
    -- The second question only makes sense because the first turn is sent
    -- along with it.
    local reply, err = chat:send(question)
    if not reply then
      return err
    end
    print(reply.content)
  end
  local usage = chat:usage()
  print(string.format("%d tokens, $%.6f", usage.total_tokens, usage.cost or 0))
end

local offline, client
if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
  local here = arg[0]:match("^(.*[/\\])") or "./"
  offline = dofile(here .. "support/offline.lua").start()
  client = opperchat.client{ base_url = offline.url }
  print("No OPPER_API_KEY is set: talking to the offline server at " .. offline.url)
end

-- What came goes to the screen before what is said about it.
io.stdout:setvbuf "line"

local err = converse(client)
if offline then
  offline:stop()
end
if err then
  io.stderr:write("quickstart: ", tostring(err), "\n")
  os.exit(1)
end
