--- Reveals a text letter by letter while it is still arriving.
--
--   local typewriter = Typewriter.new()
--   typewriter:push(piece)      whenever some text arrives, in pieces of any size
--   typewriter:finish()         when no more will come
--   typewriter:update(dt)       once a frame
--
-- The model does not speak at an even pace: nothing for a while, then a burst.
-- The letters come out evenly all the same.

local utf8 = require "utf8"

local Typewriter = {}
Typewriter.__index = Typewriter

local LETTERS_PER_SECOND = 36

-- With more than this still to show, the letters come faster.
local LONGEST_LAG = 3 -- seconds

-- A breath after these, counted in letters.
local BREATHS = { [","] = 3, [";"] = 4, [":"] = 4, ["."] = 8, ["!"] = 8, ["?"] = 8, ["\n"] = 6 }

-- A word is held back until it is whole, so that it never begins on one line
-- and jumps to the next; but no longer than this, for languages that write
-- without spaces.
local LONGEST_HELD = 24 -- bytes

local REPLACEMENT = "\239\191\189" -- U+FFFD

function Typewriter.new()
  return setmetatable({
    text = "",      -- all that has arrived, in whole characters
    cut = "",       -- the beginning of a character whose end is still to come
    ready = "",     -- what may be laid out: the text up to the last whole word
    ends = {},      -- for each letter shown, its last byte in the text
    born = {},      -- and the time at which it appeared
    time = 0,
    credit = 0,     -- letters that are due, with a fraction
    is_complete = false,
  }, Typewriter)
end

-- LÖVE raises an error for text that is not UTF-8, and what comes from a
-- network may be anything. Returns the good text, and a character cut in two.
local function whole_characters(text)
  local length, bad = utf8.len(text)
  while not length do
    if #text - bad < 3 and text:find("^[\194-\244][\128-\191]*$", bad) then
      return text:sub(1, bad - 1), text:sub(bad)
    end
    text = text:sub(1, bad - 1) .. REPLACEMENT .. text:sub(bad + 1)
    length, bad = utf8.len(text)
  end
  return text, ""
end

local function ready_part(text)
  local space = text:find("%s%S*$") or 0
  if #text - space <= LONGEST_HELD then
    return text:sub(1, space)
  end
  return text:sub(1, utf8.offset(text, 0, #text - LONGEST_HELD) - 1)
end

---@param piece string
function Typewriter:push(piece)
  local good
  good, self.cut = whole_characters(self.cut .. piece)
  self.text = self.text .. good
  self.ready = ready_part(self.text)
end

function Typewriter:finish()
  self.is_complete = true
  self.ready = self.text
end

--- How many bytes of the text are to be seen.
function Typewriter:shown()
  return self.ends[#self.ends] or 0
end

--- Is there something to type at this moment?
function Typewriter:is_typing()
  return self:shown() < #self.ready
end

--- Has everything been shown that will ever come?
function Typewriter:is_done()
  return self.is_complete and not self:is_typing()
end

local function reveal(self)
  local first = self:shown() + 1
  local last = utf8.offset(self.text, 2, first) - 1
  table.insert(self.ends, last)
  table.insert(self.born, self.time)
  return self.text:sub(first, last)
end

---@param dt number seconds
function Typewriter:update(dt)
  self.time = self.time + dt
  local waiting = #self.ready - self:shown()
  self.credit = self.credit + dt * math.max(LETTERS_PER_SECOND, waiting / LONGEST_LAG)
  while self.credit >= 1 and self:is_typing() do
    self.credit = self.credit - 1 - (BREATHS[reveal(self)] or 0)
  end
  -- what could not be spent while nothing was there is lost
  self.credit = math.min(self.credit, 1)
end

--- Shows at once what has arrived.
function Typewriter:skip()
  while self:is_typing() do
    reveal(self)
  end
end

return Typewriter
