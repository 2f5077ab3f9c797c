-- What a journal costs.
--
--   lua bench/journal.lua turns LENGTH PATH   prints `bytes N` and `microseconds N` of
--                                             CPU: writing down one turn behind
--                                             LENGTH messages
--   lua bench/journal.lua files COUNT PATH    prints `save_seconds N`, `load_seconds N`
--                                             of CPU and `file_megabytes N` of COUNT
--                                             messages
--
-- Each turn is a prompt of 200 bytes and an answer of 800.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local core = require "opperchat.core"
local journal = require "opperchat.journal"
local material = require "material"
local opperchat = require "opperchat"

local TURNS, ROUNDS = 200, 15
local PROMPT, ANSWER = 200, 800

local mode, count, path = arg[1], tonumber(arg[2]), arg[3]
os.remove(path)

local function append_turn(chat, number)
  core.append_text(chat, "user", material.text(number, PROMPT))
  core.append_text(chat, "assistant", material.text(number + 1, ANSWER))
end

local function median(values)
  table.sort(values)
  return values[math.floor(#values / 2) + 1]
end

if mode == "turns" then
  local chat = assert(opperchat.conversation { model = "m", journal = path })
  local before = journal.before(chat)
  for i = 1, count / 2 do
    append_turn(chat, i)
  end
  assert(journal.after(chat, before))
  local function size()
    local file = assert(io.open(path, "rb"))
    local bytes = file:seek("end")
    file:close()
    return bytes
  end
  local seconds, start = {}, size()
  for round = 1, ROUNDS do
    collectgarbage()
    collectgarbage("stop")
    local spent = 0
    for i = 1, TURNS do
      -- what the turn itself is made of has its price without a journal too
      local began = os.clock()
      before = journal.before(chat)
      spent = spent + os.clock() - began
      append_turn(chat, i)
      began = os.clock()
      assert(journal.after(chat, before))
      spent = spent + os.clock() - began
    end
    seconds[round] = spent / TURNS
    collectgarbage("restart")
    -- so that it is as long in each round
    local own = core.state(chat).journal
    core.state(chat).journal = nil
    chat:undo(TURNS)
    core.state(chat).journal = own
  end
  print(("bytes %.1f"):format((size() - start) / (ROUNDS * TURNS)))
  print(("microseconds %.3f"):format(median(seconds) * 1e6))
  chat:close()
elseif mode == "files" then
  local chat = opperchat.conversation { model = "m" }
  for i = 1, count / 2 do
    append_turn(chat, i)
  end
  local saving, loading = {}, {}
  for round = 1, ROUNDS do
    collectgarbage()
    local began = os.clock()
    assert(chat:save(path))
    saving[round] = os.clock() - began
    began = os.clock()
    local loaded = assert(opperchat.load(path))
    loading[round] = os.clock() - began
    assert(#loaded == count)
    loaded:close()
  end
  local file = assert(io.open(path, "rb"))
  print(("file_megabytes %.2f"):format(file:seek("end") / 1e6))
  file:close()
  print(("save_seconds %.4f"):format(median(saving)))
  print(("load_seconds %.4f"):format(median(loading)))
else
  error("journal.lua turns|files COUNT PATH")
end
os.remove(path)
