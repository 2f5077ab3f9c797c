---A draft: the list as a policy finds it and as it leaves it.
---
---It is a fork of the conversation's list, so editing it changes nothing yet: the
---edit is made on the conversation when the turn is committed, or when it has been
---worked out in the background and the messages it is about are still there.
local content = require "opperchat.content"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local message = require "opperchat.message"
local tokens = require "opperchat.tokens"

local draft = {}

---@class opperchat.Draft
---@field list opperchat.Conversation the messages; read with `messages(i, j)` and `#`
---@field window? integer the model's context window, where it is known
---@field is_guess? boolean the window is what a refusal without a number makes likely
---@field reserve integer tokens that the answer needs of it
---@field model? string
---@field is_forced boolean somebody wants the policy to act now, whatever the size
---@field can_ask boolean whether the model may be asked
---@field ask fun(messages: table[], options?: table): opperchat.Reply?, opperchat.Error? asks it
---@field private of table what its size is known from
local Draft = {}
Draft.__index = Draft

---@param list opperchat.Conversation a fork that nobody else has
---@param fields table
---@return opperchat.Draft
function draft.new(list, fields)
  fields.list = list
  return setmetatable(fields, Draft)
end

---Tokens of the next request with what is in the list now.
---@return integer tokens
---@return string how see `chat:tokens`
function Draft:tokens()
  return tokens.of_request(self.list, self.of)
end

---By how much the sums in `turns` have to be multiplied.
---@return number
function Draft:ratio()
  return tokens.ratio(self.of.client, self.of.model) or 1
end

---The turns of the list, counted from 1; 0 is what stands between the head and
---the first user message, if anything does.
---@class opperchat.DraftSplit
---@field head integer messages of the head
---@field head_tokens integer
---@field count integer how many turns
---@field start integer 0 or 1: the first of them
---@field first integer[] index of the first message of each
---@field tokens integer[] estimates
---@field kept boolean[] whether it has a message that is pinned or speaks of earlier ones

---@return opperchat.DraftSplit
function Draft:turns()
  tokens.settle(self.list, self.model)
  local head, head_tokens, first, sums, kept = core.turns(self.list)
  return {
    head = head, head_tokens = head_tokens, first = first, tokens = sums, kept = kept,
    count = #first, start = first[0] and 0 or 1,
  }
end

---Index of the last message of a turn.
---@param turns opperchat.DraftSplit
---@param number integer
---@return integer
function Draft:last_of(turns, number)
  return (turns.first[number + 1] or #self.list + 1) - 1
end

-- Puts messages of one list behind those of another. What does not go must not
-- be lost: raises.
local function take(list, from, first, last)
  local done, code, text, detail = core.take_messages(list, from, first, last)
  if not done then
    errors.misuse("policy: " .. message.problem(code, text, detail))
  end
end

---Drops turns.
---@param turns opperchat.DraftSplit
---@param drops table<integer, boolean> which
---@return integer dropped how many messages
function Draft:drop(turns, drops)
  local before, kept = #self.list, core.conversation()
  take(kept, self.list, 1, turns.head)
  for number = turns.start, turns.count do
    if not drops[number] then
      take(kept, self.list, turns.first[number], self:last_of(turns, number))
    end
  end
  core.assign(self.list, kept)
  return before - #kept
end

---Replaces the messages `first` to `last` by others.
---@param first integer
---@param last integer
---@param messages (table|string)[] messages, or their JSON text
---@param flag? "pinned"|"summary"|"facts" of all of them
function Draft:replace(first, last, messages, flag)
  local encoded = {}
  for i, given in ipairs(messages) do
    local text, problem = given, nil
    if type(given) ~= "string" then
      text, problem = message.encode_table(given)
    end
    if not text then
      errors.misuse("policy: messages[%d]: %s", i, problem)
    end
    encoded[i] = text
  end
  local done, code, text, detail = core.splice(self.list, first, last - first + 1, encoded)
  if not done then
    errors.misuse("policy: " .. message.problem(code, text, detail))
  end
  for i = 1, flag and #encoded or 0 do
    core.set_flag(self.list, first + i - 1, flag, true)
  end
end

---Replaces single messages. Their places are looked for once, so many cost
---little more than one.
---@param changes {at: integer, message: table}[] in order
function Draft:replace_each(changes)
  if #changes == 0 then
    return
  end
  local result, next_one = core.conversation(), 1
  for _, change in ipairs(changes) do
    take(result, self.list, next_one, change.at - 1)
    local text, problem = message.encode_table(change.message)
    local done, code, words, detail
    if text then
      done, code, words, detail = core.append_json(result, text)
    end
    if not done then
      errors.misuse("policy: " .. (problem or message.problem(code, words, detail)))
    end
    next_one = change.at + 1
  end
  take(result, self.list, next_one, #self.list)
  core.assign(self.list, result)
end

---Estimated tokens of the messages alone, as `turns` gives them.
---@return integer
function Draft:sum()
  tokens.settle(self.list, self.model)
  return core.tokens(self.list)
end

---One message, decoded.
---@param index integer
---@return table
function Draft:message(index)
  return json.decode((core.message_json(self.list, index)))
end

---How many tokens a policy may let the request have: never more than fit into the
---model's window.
---@param given? integer its own option
---@param share? number share of the window when it has none (0.85)
---@return integer? limit nil: neither is known
function Draft:budget(given, share)
  local room = self.window and math.max(1, self.window - self.reserve)
  if given then
    return room and math.min(given, room) or given
  elseif room then
    return math.max(1, math.floor(math.min(self.window * (share or 0.85), room)))
  end
end

-- ---------------------------------------------------------------------------
-- Rendering, for models that are asked about a part of the list
-- ---------------------------------------------------------------------------

local NAMES = {
  system = "System", developer = "System", user = "User", assistant = "Assistant", tool = "Tool",
}

local MEDIA = { image_url = "[image]", file = "[file]", input_audio = "[audio]" }

-- Content as text, with words in the place of what is none.
local function text_of(value)
  if type(value) ~= "table" then
    return content.text(value)
  end
  local texts = {}
  for i, part in ipairs(value) do
    texts[i] = MEDIA[part.type] or content.text(part)
  end
  return table.concat(texts, "\n")
end

-- Cuts bytes out of the middle, at whole characters.
local function shorten(text, max)
  if #text <= max then
    return text
  end
  local half = math.floor(max / 2)
  local first, last = half, #text - half + 1
  while first > 0 and text:find("^[\128-\191]", first + 1) do
    first = first - 1
  end
  while text:find("^[\128-\191]", last) do
    last = last + 1
  end
  return text:sub(1, first) .. ("\n[... %d bytes left out ...]\n"):format(last - first - 1)
    .. text:sub(last)
end

draft.shorten = shorten

---A message as a paragraph: `User: ...`.
---@param given table
---@param max integer bytes it may have
---@return string
function draft.render(given, max)
  local parts = { (NAMES[given.role] or given.role) .. ": " .. text_of(given.content) }
  for _, call in ipairs(given.tool_calls or {}) do
    local fn = call["function"] or call.custom or {}
    parts[#parts + 1] = ("Tool call: %s(%s)"):format(tostring(fn.name),
      tostring(fn.arguments or fn.input or ""))
  end
  return shorten(table.concat(parts, "\n"), max)
end

return draft
