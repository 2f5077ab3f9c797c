---What summarize and remember have in common: which turns are old enough to go,
---and how a model is told of them.
local core = require "opperchat.core"
local counter = require("opperchat.counter").public
local draft_module = require "opperchat.policy.draft"
local tokens = require "opperchat.tokens"
local window = require "opperchat.window"

local older = {}

-- An edit that saves less than this share of the budget is put off: otherwise a
-- tail that is too large by itself would have a model asked again and again.
local MIN_SAVING = 0.1

-- Bytes of one message that a model is shown.
local MAX_MESSAGE = 6000

-- Tokens that a model is shown at a time when its window is not known, and the
-- share of the window when it is.
local MAX_INPUT, INPUT_SHARE = 24000, 0.6

---The turns that go.
---@class opperchat.OlderTurns
---@field turns opperchat.DraftSplit
---@field drops table<integer, boolean>
---@field tokens integer estimate of all of them

---Chooses the oldest turns, so many that the rest is down to its target.
---@param policy table with `tokens`, `at`, `target` and `turns`
---@param draft opperchat.Draft
---@return opperchat.OlderTurns? nil: it is not time yet, or there is too little
function older.select(policy, draft)
  local limit = draft:budget(policy.tokens, 1)
  local size = draft:tokens()
  if not draft.is_forced and (not limit or size < limit * policy.at) then
    return nil
  end
  local turns, ratio = draft:turns(), draft:ratio()
  local excess = draft.is_forced and 1 / 0 or (size - limit * policy.target) / ratio
  local drops, sum = {}, 0
  for number = turns.start, turns.count - policy.turns do
    if sum >= excess then
      break
    elseif not turns.kept[number] then
      drops[number] = true
      sum = sum + turns.tokens[number]
    end
  end
  if sum == 0 or not draft.is_forced and sum * ratio < limit * MIN_SAVING then
    return nil
  end
  return { turns = turns, drops = drops, tokens = sum }
end

-- How many tokens a model may be shown at a time.
local function input_limit(policy, draft)
  local known = draft.window
  if policy.model and policy.model ~= draft.model then
    known = window.of(draft.of.client, policy.model)
  end
  return known and math.floor(known * INPUT_SHARE) or MAX_INPUT
end

---The turns that go as texts, each small enough to be sent.
---@param policy table with `model`
---@param draft opperchat.Draft
---@param selected opperchat.OlderTurns
---@return string[]
function older.render(policy, draft, selected)
  local limit, turns = input_limit(policy, draft), selected.turns
  local chunks, now, size = {}, {}, 0
  for number = turns.start, turns.count do
    if selected.drops[number] then
      for at = turns.first[number], draft:last_of(turns, number) do
        local text = draft_module.render(draft:message(at), MAX_MESSAGE)
        local cost = core.estimate(text)
        if size > 0 and size + cost > limit then
          chunks[#chunks + 1] = table.concat(now, "\n\n")
          now, size = {}, 0
        end
        now[#now + 1] = text
        size = size + cost
      end
    end
  end
  chunks[#chunks + 1] = table.concat(now, "\n\n")
  return chunks
end

---The list without those turns, and with a message that speaks for them behind
---the head, in the place of an earlier one of its kind.
---@param draft opperchat.Draft
---@param selected opperchat.OlderTurns
---@param text table the message
---@param flag "summary"|"facts"
function older.replace(draft, selected, text, flag)
  draft:drop(selected.turns, selected.drops)
  local before = core.find_flag(draft.list, flag)
  if before then
    draft:replace(before, before, { text }, flag)
  else
    local head = core.turns(draft.list)
    draft:replace(head + 1, head, { text }, flag)
  end
end

---The content of the message with a flag.
---@param draft opperchat.Draft
---@param flag "summary"|"facts"
---@return string?
function older.known(draft, flag)
  local at = core.find_flag(draft.list, flag)
  local message = at and draft:message(at)
  return message and type(message.content) == "string" and message.content or nil
end

---Whether a text in the place of the turns makes room: the request is below the
---mark again, so that nobody is asked for the next one at once, or where what
---stays is too large for that, the text is half as long as what it stands for.
---@param policy table with `tokens` and `at`
---@param draft opperchat.Draft
---@param selected opperchat.OlderTurns
---@param text string
---@param known? string the text that it takes the place of
---@return boolean
function older.makes_room(policy, draft, selected, text, known)
  local limit = draft:budget(policy.tokens, 1)
  if not limit then
    return true
  end
  local replaced = selected.tokens + (known and older.count(known) or 0)
  local gain = replaced - older.count(text)
  return draft:tokens() - gain * draft:ratio() <= limit * policy.at or gain >= replaced / 2
end

---Estimated tokens of a text that a model has written.
---@param text string
---@return integer
function older.count(text)
  return tokens.is_custom() and math.ceil(counter.count(text)) or core.estimate(text)
end

return older
