-- Random work on a conversation whose policy is at work in the background: no
-- message gets lost unless the program is told, none is told twice, and nothing
-- is left hanging.

local chats = require "spec.support.chats"
local Dice = require "spec.support.dice"
local completion = require "spec.support.completion"
local core = require "opperchat.core"
local opperchat = require "opperchat"

local policy = opperchat.policy

local ROUNDS = (os.getenv("OPPERCHAT_GC") or os.getenv("OPPERCHAT_SLOW")) and 8 or 60
local STEPS = 150

chats.for_tests()

local dice

local function roll(sides)
  return dice:roll(sides)
end

local function chance(percent)
  return dice:chance(percent)
end

local function random_policy()
  local list = {
    function()
      return policy.summarize { tokens = 300, at = 0.5, target = 0.3, turns = roll(3) }
    end,
    function()
      return policy.remember { tokens = 300, at = 0.7, target = 0.4, turns = roll(3) }
    end,
    function() return policy.keep { turns = 3 + roll(8), slack = roll(4) } end,
    function() return policy.fit { tokens = 900, target = 0.6 } end,
  }
  local steps = { list[roll(2)]() }
  for _ = 1, roll(3) - 1 do
    table.insert(steps, roll(#steps + 1), list[roll(4)]())
  end
  return steps
end

-- What the conversation has to hold: prompts by their number.
local World = {}
World.__index = World

local function new_world()
  local self = setmetatable({ next = 0, present = {}, told = {}, flying = 0, log = {} }, World)
  self.chat = chats.new { system = "s", policy = random_policy(),
    on_drop = function(messages, report)
      assert(report.dropped == #messages)
      for _, message in ipairs(messages) do
        local number = message.role == "user" and message.content:match("^p(%d+)")
        if number then
          assert(self.present[number], "told of p" .. number .. ", which is not there")
          assert(not self.told[number], "told twice of p" .. number)
          self.told[number], self.present[number] = true, nil
        end
      end
    end,
    on_compact = function()
      self.compacted = (self.compacted or 0) + 1
    end,
  }
  return self
end

function World:prompts()
  local set = {}
  for _, message in ipairs(self.chat:messages()) do
    local number = message.role == "user" and message.content:match("^p(%d+)")
    if number then
      set[number] = true
    end
  end
  return set
end

-- A list of its own that is told to be empty of what it has lost by an edit.
function World:edit(name, fn)
  self.log[#self.log + 1] = name
  local before = self:prompts()
  local ok, err = pcall(fn)
  if not ok then
    assert(tostring(err):find("busy") or tostring(err):find("no result"), tostring(err))
  end
  local after = self:prompts()
  for number in pairs(before) do
    if not after[number] then
      self.present[number] = nil
    end
  end
end

function World:prompt()
  self.next = self.next + 1
  local number = tostring(self.next)
  return "p" .. number .. (" word"):rep(roll(40)), number
end

function World:is_over(number, reply)
  self.flying = self.flying - 1
  if reply then
    -- unless a policy had dropped it with this very turn
    self.present[number] = not self.told[number] or nil
  end
end

-- Sends in one way or another. The prompt is present from the commit on, which is
-- before anybody is told of anything.
function World:send(way)
  self.log[#self.log + 1] = way
  local chat = self.chat
  if core.is_busy(chat) then
    return
  end
  local prompt, number = self:prompt()
  self.flying = self.flying + 1
  if way == "start" then
    local request, err = chat:start(prompt, { stream = false, on_done = function(reply)
      self:is_over(number, reply)
    end })
    if not request then
      assert(err.code == "over_budget", tostring(err))
      self.flying = self.flying - 1
    end
  elseif way == "send" or way == "run" then
    self:is_over(number, (chat[way](chat, prompt)))
  else
    opperchat.go(function()
      self:is_over(number, (chat[way:match("%w+$")](chat, prompt)))
    end)
  end
end

local actions = {
  function(self) self:send("start") end,
  function(self) self:send("go send") end,
  function(self) self:send("go run") end,
  function(self) self:send("send") end,
  function(self) self:send("run") end,
  function(self) self:send("go send") end,
  function() opperchat.poll(0.001) end,
  function() for _ = 1, 10 do opperchat.poll(0.001) end end,
  function() chats.settle() end,
  function(self) self:edit("undo", function()
      -- now and then into what the background is at work on
      self.chat:undo(core.state(self.chat).background and 8 or roll(2))
    end) end,
  function(self)
    self:edit("pin", function()
      local at = roll(#self.chat)
      -- a pinned summary stays beside the next one
      if select(3, core.message_info(self.chat, at)) < 2 then
        self.chat:pin(at, chance(30))
      end
    end)
  end,
  function(self)
    self:edit("splice", function()
      local first = roll(#self.chat)
      local message = self.chat:messages(first, first)[1]
      if message.role == "assistant" then
        self.chat:splice(first, first, { { role = "assistant", content = "other" } })
      end
    end)
  end,
  function(self)
    if chance(core.state(self.chat).background and 60 or 15) then
      self:edit("clear", function() self.chat:clear() end)
    end
  end,
  function(self)
    if chance(30) then
      self.log[#self.log + 1] = "cancel"
      self.chat:cancel()
    end
  end,
  function()
    if chance(50) then
      chats.fail(400, "no")
    else
      chats.answer(roll(2) == 1 and "" or "x", { finish_reason = "length" })
    end
  end,
  function(self)
    if not core.is_busy(self.chat) and chance(30) then
      self.log[#self.log + 1] = "compact"
      if chance(50) then
        self.chat:compact()
      else
        opperchat.go(function() self.chat:compact() end)
      end
    end
  end,
}

function World:check()
  if self.flying > 0 then
    return
  end
  local there = self:prompts()
  for number in pairs(self.present) do
    assert(there[number], "p" .. number .. " is lost")
  end
  for number in pairs(there) do
    assert(self.present[number], "p" .. number .. " should not be there")
  end
  local summaries, facts = 0, 0
  for i = 1, #self.chat do
    local flags = select(3, core.message_info(self.chat, i))
    summaries, facts = summaries + (flags == 2 and 1 or 0), facts + (flags == 4 and 1 or 0)
  end
  assert(summaries <= 1 and facts <= 1)
end

describe("random work with policies in the background", function()
  it("loses nothing and tells nothing twice", function()
    local compacted = 0
    -- a summary, an answer and facts in one
    chats.server:default { delay = 0.002, body = completion.body('{"facts":["x"]}') }
    for round = 1, ROUNDS do
      dice = Dice.new(round * 7919)
      local world = new_world()
      local ok, err = pcall(function()
        for _ = 1, STEPS do
          actions[roll(#actions)](world)
          world:check()
        end
        chats.settle()
        world:check()
        assert.are.equal(0, world.flying)
        assert.is_nil(core.state(world.chat).background)
        assert.is_nil(core.state(world.chat).foreground)
        assert.is_false(core.is_busy(world.chat))
        opperchat.conversation { messages = world.chat:messages() }
      end)
      if not ok then
        error(("round %d: %s\nafter %s"):format(round, tostring(err),
          table.concat(world.log, " ")), 0)
      end
      compacted = compacted + (world.compacted or 0)
      world.chat:close()
    end
    chats.settle()
    assert.is_true(compacted > ROUNDS, "compacted: " .. compacted)
  end)
end)
