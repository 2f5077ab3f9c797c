--- Writes a journal until it is killed or told to stop, for spec/store_spec.lua.
--
--   lua journal_writer.lua write PATH    a turn after the other; prints how many there are
--   lua journal_writer.lua hold PATH     keeps it open until its input ends
--
-- After an error it prints its code and ends.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local store = require "opperchat.store"

local mode, path = arg[1], arg[2]

local function say(word)
  io.write(word, "\n")
  io.flush()
end

local journal, list, stored = store.open(path, function()
  return { trace_id = "t", options = { model = "m" } }
end)
if not journal then
  say(list.code)
  os.exit(0)
end

if mode == "hold" then
  say("ready")
  io.read("*a")
  os.exit(0)
end

local chat = opperchat.conversation()
if list then
  core.adopt(chat, list)
end
local turns = #chat / 2
say(("%d %d"):format(turns, stored.torn and 1 or 0))
while true do
  local before = core.fork(chat)
  turns = turns + 1
  -- some are so long that writing them takes time
  local length = turns % 13 == 0 and 100000 or turns * 31 % 2000
  chat:append("user", ("%d "):format(turns) .. ("x"):rep(length))
  chat:append("assistant", "ok")
  local written, err = store.write(journal, before, nil, chat, { usage = { requests = turns } })
  if not written then
    say(err.code)
    os.exit(0)
  end
  say(("%d"):format(turns))
end
