--- Somebody in the game who answers through a language model: the part to copy
-- into a game of your own. It draws nothing and it never waits.
--
--   local owl = Npc.new{ client = client, model = "...", system = "You are ..." }
--   owl:ask("Who goes there?")
--   owl:update(dt)                 -- once a frame, and opperchat.poll() as well
--   owl.typewriter                 -- what is to be read in the speech bubble
--
-- `mood` tells what to animate:
--   "quiet"      nothing asked yet
--   "thinking"   asked, and no word of the answer is there
--   "pondering"  the same for so long that "Hmm..." was said
--   "speaking"   the answer is coming in, or still being typed
--   "silent"     all has been said

local opperchat = require "opperchat"
local Typewriter = require "typewriter"

local Npc = {}
Npc.__index = Npc

-- A model may think for many seconds. A player who sees nothing happen for one
-- second believes that the key did not work.
local PATIENCE = 1

local PONDERINGS = { "Hmm...", "Hmm... let me think.", "Hoo... a good question." }

---@param options { client: opperchat.Client, model: string, system: string }
function Npc.new(options)
  return setmetatable({
    -- The conversation remembers all turns, so "and in 3D?" is understood.
    chat = opperchat.conversation{
      client = options.client,
      model = options.model,
      system = options.system,
      -- What was said aloud before the player interrupted is remembered too.
      keep_partial = true,
    },
    typewriter = Typewriter.new(),
    mood = "quiet",
    waited = 0,
    asked = 0,
  }, Npc)
end

local function say(self, text)
  self.typewriter = Typewriter.new()
  self.typewriter:push(text)
  self.typewriter:finish()
end

-- What a player can make of an error; the details are for whoever looks into
-- the console.
local function complain(self, err)
  print("opperchat: " .. tostring(err))
  self.mood = "speaking"
  if err.code == "missing_api_key" then
    say(self, "Nobody gave me a key to the library. (Set OPPER_API_KEY.)")
  elseif err.kind == "network" or err.kind == "tls" then
    say(self, "I cannot hear the library from here. (" .. err.kind .. ")")
  else
    say(self, "I lost my thread. Ask me again? (" .. err.kind .. ")")
  end
end

--- Asks a question; the answer comes in over the next frames. Interrupts the
--- answer to an earlier one.
---@param question string
function Npc:ask(question)
  self:stop()
  self.typewriter = Typewriter.new()
  self.mood, self.waited = "thinking", 0
  self.asked = self.asked + 1
  self.received = ""

  -- Both handlers are called by opperchat.poll(), so between two frames.
  local request, err = self.chat:start(question, {
    on_delta = function(text)
      if self.mood ~= "speaking" then
        self.mood = "speaking"
        self.typewriter = Typewriter.new() -- instead of the "Hmm..."
      end
      self.received = self.received .. text
      self.typewriter:push(text)
    end,
    on_done = function(reply, problem)
      self.request = nil
      if reply and reply.content and reply.content ~= "" then
        self.typewriter:finish()
      elseif reply then
        self.mood = "speaking"
        say(self, "...") -- a model may end without a word
      elseif self.mood == "speaking" and problem.partial then
        self.typewriter:push(problem.kind == "cancelled" and "\226\128\148" or "...")
        self.typewriter:finish()
      elseif problem.kind == "cancelled" then
        self.mood = "speaking"
        say(self, "As you wish.")
      else
        complain(self, problem)
      end
    end,
  })
  if request then
    self.request = request
  else
    complain(self, err)
  end
end

--- Ends the answer that is on its way. `cancel` calls `on_done` before it
--- returns.
function Npc:stop()
  if self.request then
    self.request:cancel()
  end
end

--- Is an answer on its way?
function Npc:is_busy()
  return self.request ~= nil
end

---@param dt number seconds
function Npc:update(dt)
  self.typewriter:update(dt)
  if self.mood == "thinking" then
    self.waited = self.waited + dt
    if self.waited >= PATIENCE then
      self.mood = "pondering"
      say(self, PONDERINGS[(self.asked - 1) % #PONDERINGS + 1])
    end
  elseif self.mood == "speaking" and self.typewriter:is_done() then
    self.mood = "silent"
  end
end

return Npc
