-- What the states of guest.c do: guest(task, url, ca_file).

local task, url, ca_file = ...

local opperchat = require "opperchat"

local function new_client(given)
  given = given or {}
  given.base_url, given.api_key, given.max_retries = url, "op-0123456789abcdef", 0
  return opperchat.client(given)
end

local tasks = {}

-- The peer is gone before the prompt is: an error, and the process lives.
local function large_prompt(client)
  local text = ("x"):rep(4 * 1024 * 1024)
  for _ = 1, 5 do
    local chat = opperchat.conversation { client = client, model = "m" }
    local reply, err = chat:send(text)
    assert(not reply and err and err.kind == "network", tostring(err))
    assert(#chat == 0)
  end
  client:close()
end

function tasks.hangup()
  large_prompt(new_client())
end

function tasks.tls_hangup()
  large_prompt(new_client { ca_file = ca_file })
end

local function descriptors()
  local pipe = assert(io.popen "exec ls -l /proc/self/fd")
  local seen = {}
  for line in pipe:lines() do
    local number, target = line:match " (%d+) %-> (.+)$"
    if number and tonumber(number) > 2 then
      -- each process sees its own number
      seen[#seen + 1] = number .. " " .. target:gsub("/proc/%d+/fd", "/proc/N/fd")
    end
  end
  pipe:close()
  table.sort(seen)
  return table.concat(seen, ", ")
end

-- A child process that is started in the middle of a stream inherits nothing.
function tasks.child()
  local before = descriptors()
  local client = new_client()
  local chat = opperchat.conversation { client = client, model = "m" }
  local request = chat:start "hi"
  while request:content() == "" do
    client:poll(0.01)
  end
  local path = os.tmpname()
  local kept = opperchat.conversation { client = client, model = "m", journal = path }
  local now = descriptors()
  os.remove(path)
  request:cancel()
  kept:close()
  client:close()
  assert(before == now, ("a child inherits %s; without us %s"):format(now, before))
end

-- Numbers are read and written the same with a comma as decimal point.
function tasks.locale()
  local client = new_client()
  local chat = opperchat.conversation {
    client = client, model = "m", temperature = 0.25, extra = { x = { 1.5, 1e-7 } },
  }
  local body = chat:preview "hi"
  assert(body:find('"temperature":0.25', 1, true), body)
  assert(body:find("1.5", 1, true) and not body:find("1,5", 1, true), body)
  local reply = assert(chat:send "hi")
  assert(reply.usage.cost == 0.5 and reply.usage.prompt_tokens == 7)
  local path = os.tmpname()
  assert(chat:save(path))
  local loaded = assert(opperchat.load(path, { client = client }))
  assert(#loaded == #chat)
  os.remove(path)
  client:close()
end

-- One of several states that work side by side.
function tasks.work()
  local client = new_client()
  local chat = opperchat.conversation { client = client, model = "m" }
  for _ = 1, 10 do
    assert(assert(chat:send "hi").content == "ok")
    local text = ""
    for piece in chat:stream "hi" do
      text = text .. piece
    end
    assert(text == "ok")
  end
  assert(#chat == 40)
  client:close()
end

-- Leaves a stream under way; the state is closed then.
function tasks.leave()
  local client = new_client()
  local chat = opperchat.conversation { client = client, model = "m" }
  local request = chat:start("hi", {
    on_done = function() end,
  })
  while request:content() == "" do
    client:poll(0.01)
  end
  left = { client, chat, request } -- luacheck: ignore
end

tasks[task]()
