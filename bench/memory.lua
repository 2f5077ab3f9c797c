-- What a conversation weighs. Linux only: it reads /proc/self/statm.
--
--   lua bench/memory.lua message COUNT SIZE   prints `bytes N`: what one message
--                                             of SIZE bytes of text takes beyond
--                                             its JSON text
--   lua bench/memory.lua fork COUNT SIZE      prints `bytes N`: what one fork of
--                                             COUNT messages takes, and
--                                             `seconds N`, what it costs
--   lua bench/memory.lua idle COUNT           prints `bytes N`: what an empty
--                                             conversation takes
--   lua bench/memory.lua streams BASE_URL COUNT   prints `bytes N`: what each of
--                                             COUNT streams at once takes beyond
--                                             its conversation

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"
local ours = require "ours"

local PAGE = 4096
local FORKS = 100

-- Bytes of this process in memory, once all garbage is gone.
local function resident()
  collectgarbage()
  collectgarbage()
  local file = assert(io.open("/proc/self/statm"))
  local _, pages = file:read("*n", "*n")
  file:close()
  return pages * PAGE
end

local function build(count, size)
  local chat = opperchat.conversation{ model = "m" }
  -- One string for all: Lua's own memory must not drown what is measured.
  local text = material.text(1, size)
  for i = 1, count do
    chat:append(i % 2 == 1 and "user" or "assistant", text)
  end
  return chat
end

-- Copies of one conversation, in a list that has room for them already.
local function fork(chat, times)
  local forks = {}
  for i = 1, times do
    forks[i] = false
  end
  local before, start = resident(), os.clock()
  for i = 1, times do
    forks[i] = chat:fork()
  end
  return forks, (os.clock() - start) / times, (resident() - before) / times
end

-- Starts a stream in each and returns when all have begun.
local function begin(client, chats)
  local begun = 0
  for _, chat in ipairs(chats) do
    local is_new = true
    assert(chat:start("Count.", { on_delta = function()
      if is_new then
        is_new, begun = false, begun + 1
      end
    end }))
  end
  while begun < #chats do
    assert(client:poll(1) > 0, "the streams have ended")
  end
end

-- A first conversation loads and allocates what is there once per process.
build(1000, 10)

local mode, count, size = arg[1], tonumber(arg[2]), tonumber(arg[3])
if mode == "streams" then
  local base_url
  base_url, count = arg[2], size
  local client = ours.client(base_url)
  local chat = opperchat.conversation{ client = client, model = "m" }
  begin(client, { chat:fork() })
  local chats = fork(chat, count)
  local before = resident()
  begin(client, chats)
  print(("bytes %.0f"):format((resident() - before) / count))
  client:close()
elseif mode == "idle" then
  local _, _, bytes = fork(build(0, 0), count)
  print(("bytes %.0f"):format(bytes))
elseif mode == "message" then
  local json = #'{"role":"user","content":}' + #material.quote(material.text(1, size))
  -- Every other one is by the assistant, a word five bytes longer.
  json = json + (#"assistant" - #"user") / 2
  local before = resident()
  local chat = build(count, size)
  local after = resident()
  assert(#chat == count)
  print(string.format("bytes %.1f", (after - before) / count - json))
elseif mode == "fork" then
  local chat = build(count, size)
  local forks, seconds, bytes = fork(chat, FORKS)
  assert(#forks[FORKS] == count)
  print(string.format("bytes %.1f", bytes))
  print(string.format("seconds %.6f", seconds))
else
  error("memory.lua message|fork|idle|streams ...")
end
