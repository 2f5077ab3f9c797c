--- A program with a journal that is killed, or runs out of space: see
-- spec/keeping_failure_spec.lua.
--
--   lua keeping_child.lua turns URL PATH POLICY   sends "1", "2", ... until it is killed, each
--                                                 number goes out when `send` has returned;
--                                                 POLICY: keep, edits or none
--   lua keeping_child.lua full URL PATH           sends until the file may not grow any more

local opperchat = require "opperchat"

local mode, url, path, kind = arg[1], arg[2], arg[3], arg[4]

local function say(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.flush()
end

local chat, err = opperchat.conversation {
  client = opperchat.client { base_url = url, api_key = "op-secret-key" }, model = "m",
  journal = path, system = "Count.",
  policy = kind == "keep" and opperchat.policy.keep { turns = 3 } or nil,
}
if not chat then
  say("failed", err.code)
  os.exit(0)
end

-- The number of the last turn. The one before may have been killed between two
-- edits that belong together.
local function count()
  local newest = chat:last()
  if newest and newest.content == "dropped" then
    assert(chat:undo())
  end
  local last = chat:messages(-2, -2)[1]
  return last and tonumber(last.content:match("^%d+")) or 0
end

if mode == "turns" then
  local number = count()
  say(number)
  while true do
    number = number + 1
    -- some are so long that writing them takes time
    local text = ("%d "):format(number) .. ("x"):rep(number % 5 == 0 and 60000 or 10)
    assert(chat:send(text))
    if kind == "edits" then
      assert(chat:append("user", "dropped"):append("assistant", "dropped"))
      assert(chat:pin(2))
      assert(chat:undo())
    end
    say(number)
  end
end

local before, reply
repeat
  before = chat:export()
  reply, err = chat:send(("x"):rep(5000), { on_done = function(_, told) err = told end })
until not reply
say(err.kind, err.code, err.partial.content, tostring(chat:export() == before))
-- one that is too long still, an edit, and one that has room
local told
reply, told = chat:send(("x"):rep(5000))
say(tostring(reply), told.code, tostring(chat:export() == before))
reply, told = chat:append("user", ("x"):rep(5000))
say(tostring(reply), told.code, tostring(chat:export() == before))
reply, told = chat:send("x")
say(reply and reply.content or told.code)
say(chat:export())
