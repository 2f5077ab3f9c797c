---shrink: old tool results become short, old images and files words.
local check = require "opperchat.policy.check"
local core = require "opperchat.core"

local Shrink = { name = "shrink" }
Shrink.__index = Shrink

-- An edit that saves less than this share of the list is not worth the prompt
-- cache it costs.
local MIN_SAVING = 0.1

-- Bytes that the note behind a preview has at most. A result that is not longer
-- than both together stays, so that none is shortened twice.
local NOTE = 64

local WORDS = {
  image_url = "[an image was here]", file = "[a file was here]",
  input_audio = "[audio was here]",
}

-- Words in the place of parts that are no text; nil: there are none.
local function without_media(message)
  local parts, found = {}, false
  for i, part in ipairs(type(message.content) == "table" and message.content or {}) do
    local words = WORDS[part.type]
    parts[i] = words and { type = "text", text = words } or part
    found = found or words ~= nil
  end
  if not found then
    return nil
  end
  message.content = parts
  return message
end

-- A content as one text; nil: there is more in it than that.
local function text_of(value)
  if type(value) ~= "table" then
    return value
  end
  local texts = {}
  for i, part in ipairs(value) do
    if part.type ~= "text" or type(part.text) ~= "string" then
      return nil
    end
    texts[i] = part.text
  end
  return table.concat(texts)
end

-- A tool result with its beginning alone.
local function preview(message, max, length)
  local text = text_of(message.content)
  if type(text) ~= "string" or #text <= math.max(max, length + NOTE) then
    return nil
  end
  local stop = length
  while stop > 0 and text:find("^[\128-\191]", stop + 1) do
    stop = stop - 1
  end
  message.content = ("%s\n[%d of %d bytes left out]"):format(text:sub(1, stop), #text - stop, #text)
  return message
end

-- The messages that may be made shorter: before the last `turns` turns.
local function candidates(self, draft)
  local turns = draft:turns()
  local stop = turns.count - self.turns
  local last = stop >= turns.start and draft:last_of(turns, stop) or turns.head
  local kinds, found = core.kinds(draft.list), {}
  local at = turns.head + 1
  while true do
    at = kinds:find("[tSDUATC]", at)
    if not at or at > last then
      return found
    end
    local _, bytes, flags = core.message_info(draft.list, at)
    if flags == 0 and (kinds:sub(at, at) ~= "t" or bytes > self.max) then
      found[#found + 1] = at
    end
    at = at + 1
  end
end

-- A message in fewer words; nil: it cannot be.
local function shorter(self, message)
  local changed = self.media and without_media(message)
  if message.role == "tool" then
    changed = preview(message, self.max, self.preview) or changed
  end
  return changed
end

function Shrink:apply(draft)
  local limit = draft:budget(self.tokens, 1)
  local size = draft:tokens()
  if not draft.is_forced and limit and size < limit * self.at then
    return true
  end
  local found = candidates(self, draft)
  if #found == 0 then
    return true
  end
  local before, old = core.fork(draft.list), draft:sum()
  local changes = {}
  for _, at in ipairs(found) do
    local message = shorter(self, draft:message(at))
    if message then
      changes[#changes + 1] = { at = at, message = message }
    end
  end
  draft:replace_each(changes)
  if old - draft:sum() < old * MIN_SAVING and not draft.is_forced then
    core.assign(draft.list, before)
  end
  return true
end

---Shortens old tool results and puts words in the place of old images, files and
---audio. Nothing else of the list changes, and pinned messages do not.
---
---It acts when the request has reached `at` of `tokens` and at least a tenth of
---the list can be saved; with neither `tokens` nor a known window whenever that
---much can.
---@param given? {tokens?: integer, at?: number, turns?: integer, max?: integer, preview?:
---integer, media?: boolean} `tokens`: the model's context window; `at`: 0.65; `turns` (2): the
---last ones stay as they are; `max` (500): bytes of a result that are not too many; `preview`
---(200): bytes of a longer one that stay; `media` (true): whether images and files go
---@return opperchat.Policy
local function shrink(given)
  local checked = check.options("shrink", given, {
    tokens = { "integer >= 1" },
    at = { "number above 0, at most 1", default = 0.65 },
    turns = { "integer >= 1", default = 2 },
    max = { "integer >= 1", default = 500 },
    preview = { "integer >= 0", default = 200 },
    media = { "boolean", default = true },
  })
  checked.wants_window = checked.tokens == nil
  return setmetatable(checked, Shrink)
end

return shrink
