--- Somebody who talks through a language model: the part to copy into a game of
-- your own. It draws nothing and it never waits.
--
--   local npc = Npc.new(person)
--   npc:open{ base = base, client = client, path = path, tools = tools }
--   npc:hear("Traveller: Who goes there?")
--   npc:update(dt)          -- once a frame, and opperchat.poll() as well
--   npc.typewriter          -- what is to be read in the speech bubble
--
-- `mood` tells what to animate:
--   "quiet"      has nothing to say
--   "thinking"   was asked, and no word of the answer is there
--   "pondering"  the same for so long that a canned line is said
--   "speaking"   the answer is coming in, or still being typed

local opperchat = require "opperchat"
local Typewriter = require "ui.typewriter"

local policy = opperchat.policy

local Npc = {}
Npc.__index = Npc

-- A model may think for many seconds. A player who sees nothing happen for one
-- second believes that the key did not work.
local PATIENCE = 1

-- Tokens of a request: what a turn costs and how long it takes depend on it, and
-- it is the same on the first evening and on the hundredth.
local CONTEXT = 2000

-- When the context is full, a model takes out of the oldest turns what is worth
-- knowing for ever; that happens between two turns, nobody waits for it. Should
-- it fail, `fit` keeps the budget in any case.
local MEMORY = policy.pipeline{
  policy.remember{
    tokens = CONTEXT, turns = 4,
    schema = { traveller_name = "string?", facts = { "string" } },
  },
  policy.fit{ tokens = CONTEXT },
}

-- Opens the conversation where it was left, with a journal; nil and an error when
-- the file cannot be used.
local function reopen(fresh, own, options)
  local path = options.path
  -- with a journal: is it ours alone, or is the game running a second time?
  local kept, err = opperchat.load(path, { journal = path })
  if kept then
    kept:close()
    -- a second copy of the game may have it by now
    kept, err = opperchat.load(path)
  end
  if kept then
    -- The game may have a new version: its texts count, not those of the file,
    -- however many those were. `clear` leaves them and nothing else; what is
    -- remembered stands behind them and stays.
    kept:splice(1, #kept:fork():clear(), fresh:messages())
  elseif err.code ~= "no_file" then
    return nil, err
  end
  -- A journal grows with each line; saved anew it has only what is remembered.
  local saved
  saved, err = (kept or fresh):save(path)
  if not saved then
    return nil, err
  end
  own.client, own.journal = options.client, path
  return opperchat.load(path, own)
end

-- Begins as a fork of the base, with which it shares the lore, or goes on where it
-- was left. Without a usable file it is a conversation all the same, which ends
-- with the game.
local function open_chat(person, options)
  local own = {
    tools = options.tools, policy = MEMORY, trace_id = options.trace_id,
    keep_partial = true, -- what was said aloud before an interruption is remembered
  }
  local fresh = options.base:fork(own)
  fresh:append("system", person.persona)
  if not options.path then
    return fresh
  end
  local chat, err = reopen(fresh, own, options)
  if not chat then
    print("opperchat: what " .. person.name .. " hears is not kept: " .. tostring(err))
  end
  return chat or fresh
end

---@param person table of cast.lua: `name`, `persona`, `ponders`, `wares`
---@return table npc to be opened: its tools need it first
function Npc.new(person)
  return setmetatable({
    name = person.name, person = person, wares = person.wares or {},
    typewriter = Typewriter.new(), mood = "quiet", said = "", waited = 0, asked = 0, silence = 0,
  }, Npc)
end

---@param options { base: opperchat.Conversation, client: opperchat.Client, tools: table[],
---  path: string?, trace_id: string? } `path`: where it is kept; `trace_id`: one for all, so
---  that Opper asks them all of one provider, whose cache knows the lore then
function Npc:open(options)
  self.chat = open_chat(self.person, options)
  return self
end

local function begin_text(self)
  self.typewriter = Typewriter.new()
end

local function say(self, text)
  begin_text(self)
  self.typewriter:push(text)
  self.typewriter:finish()
end

-- What a player can make of an error; the details are for the console.
local function complain(self, err)
  print("opperchat: " .. self.name .. ": " .. tostring(err))
  self.mood = "speaking"
  if err.code == "missing_api_key" then
    say(self, "I have lost my voice. (Set OPPER_API_KEY.)")
  elseif err.kind == "network" or err.kind == "tls" or err.kind == "timeout" then
    say(self, "The wind carries your words away. (" .. err.kind .. ")")
  else
    say(self, "I lost my thread. Say that again? (" .. err.kind .. ")")
  end
end

local function speak(self, text)
  if self.mood ~= "speaking" then
    self.mood = "speaking"
    begin_text(self) -- in the place of the canned line
  end
  if self.is_new_step and self.said ~= "" then
    text = " " .. text:gsub("^%s+", "")
  end
  self.is_new_step = false
  self.said = self.said .. text
  self.typewriter:push(text)
end

local function finish(self, reply, err)
  self.turn = nil
  if not reply and err.kind == "cancelled" then
    self.mood = "quiet" -- the game ends: nobody is there to be told
  elseif not reply then
    complain(self, err)
  elseif self.said == "" then
    self.mood = "speaking"
    say(self, "...") -- a model may end without a word
  else
    self.typewriter:finish()
  end
end

--- Says something to this one; the answer comes in over the next frames, and tools
--- are run meanwhile. What was going on is interrupted.
---@param prompt string
---@return opperchat.Task task its `wait` returns the reply, or nothing if interrupted
function Npc:hear(prompt)
  self:hush()
  local turn, before = {}, self.task
  self.turn, self.mood, self.waited, self.said = turn, "thinking", 0, ""
  self.asked = self.asked + 1
  begin_text(self)

  -- `run` waits, but only this coroutine: opperchat.poll() moves it on.
  self.task = opperchat.go(function()
    if before and before.state == "running" then
      before:wait() -- a tool that was at work when we interrupted
    end
    if self.turn ~= turn then
      return nil
    end
    local reply, err = self.chat:run(prompt, {
      max_steps = 5,
      on_delta = function(text)
        if self.turn == turn then
          speak(self, text)
        end
      end,
      on_tool = function(event)
        self.is_new_step = true
        if event.error then
          print("opperchat: " .. self.name .. ": " .. event.call.name .. ": " .. event.error)
        end
      end,
    })
    if self.turn == turn then
      finish(self, reply, err)
    end
    return reply
  end)
  return self.task
end

--- Interrupts what this one is saying or doing.
function Npc:hush()
  if not self.turn then
    return
  end
  self.turn = nil
  if self.mood == "speaking" then
    self.typewriter:push("\226\128\148") -- a dash: cut short
    self.typewriter:finish()
  else
    begin_text(self)
    self.mood = "quiet"
  end
  self.chat:cancel()
end

--- Is an answer on its way?
function Npc:is_busy()
  return self.turn ~= nil
end

---@param dt number seconds
function Npc:update(dt)
  self.typewriter:update(dt)
  self.silence = self.mood == "quiet" and self.silence + dt or 0
  if self.mood == "thinking" then
    self.waited = self.waited + dt
    if self.waited >= PATIENCE then
      self.mood = "pondering"
      say(self, self.person.ponders[(self.asked - 1) % #self.person.ponders + 1])
    end
  elseif self.mood == "speaking" and self.turn == nil and self.typewriter:is_done() then
    self.mood = "quiet"
  end
end

return Npc
