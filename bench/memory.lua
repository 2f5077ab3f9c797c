-- What a conversation weighs. Linux only: it reads /proc/self/statm.
--
--   lua bench/memory.lua message COUNT SIZE   prints `bytes N`: what one message
--                                             of SIZE bytes of text takes beyond
--                                             its JSON text
--   lua bench/memory.lua fork COUNT SIZE      prints `bytes N`: what one fork of
--                                             COUNT messages takes, and
--                                             `seconds N`, what it costs

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"

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

-- A first conversation loads and allocates what is there once per process.
build(1000, 10)

local mode, count, size = arg[1], tonumber(arg[2]), tonumber(arg[3])
if mode == "message" then
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
  local forks = {}
  local before, start = resident(), os.clock()
  for i = 1, FORKS do
    forks[i] = chat:fork()
  end
  local seconds = (os.clock() - start) / FORKS
  local after = resident()
  assert(#forks[FORKS] == count)
  print(string.format("bytes %.1f", (after - before) / FORKS))
  print(string.format("seconds %.6f", seconds))
else
  error("memory.lua message|fork COUNT SIZE")
end
