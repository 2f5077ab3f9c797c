---summarize: one message in the place of the older turns.
local check = require "opperchat.policy.check"
local errors = require "opperchat.errors"
local older = require "opperchat.policy.older"

local Summarize = { name = "summarize", asks = true }
Summarize.__index = Summarize

local PROMPT = [[
You condense the older part of a conversation, so that it can go on without it. Keep what going on
needs: what the user wants, has said of themselves and has asked not to be done; decisions and
their reasons; facts, names, numbers, code and file names, exactly as they were written; results
of tools; what is still open. Leave out greetings, repetitions and what was taken back later.
Where a summary of still earlier parts is given, put it and the conversation together into one.
Write in the language of the conversation, about it and not to anybody, in at most %d words.
Answer with nothing but the summary.]]

-- A summary should have this share of what it stands for, between these bounds.
local SHARE, MIN_WORDS, MAX_WORDS = 0.15, 60, 600

local function refuse(reply, problem)
  local err = errors.new("protocol", "bad_summary", "the summary " .. problem)
  err.partial, err.trace_id = reply, reply and reply.trace_id
  return err
end

-- Why a reply is no summary; nil: it is one.
local function find_problem(reply, allowed)
  local text = reply.content or ""
  if reply.finish_reason == "length" then
    return "was cut off at the token limit"
  elseif reply.finish_reason == "content_filter" then
    return "was blocked or changed by a guard"
  elseif reply.refusal then
    return "was refused: " .. reply.refusal
  elseif reply.tool_calls then
    return "calls tools"
  elseif not text:find("%S") then
    return "is empty"
  elseif older.count(text) >= allowed then
    return "is longer than what it stands for"
  end
end

-- One question to the model: a part of the conversation, and what is known of
-- the parts before it.
local function question(before, part)
  local earlier = before and "Summary of the parts before:\n" .. before .. "\n\n" or ""
  return earlier .. "The conversation:\n\n" .. part
end

function Summarize:apply(draft)
  local selected = older.select(self, draft)
  if not selected then
    return true
  elseif not draft.can_ask then
    draft.would_ask = true
    return true
  end
  local known = older.known(draft, "summary")
  local before = known
  if before and before:sub(1, #self.prefix) == self.prefix then
    before = before:sub(#self.prefix + 1)
  end
  local allowed = selected.tokens + (before and older.count(before) or 0)
  local words = math.floor(math.min(math.max(allowed * SHARE, MIN_WORDS), MAX_WORDS))
  local prompt = self.prompt or PROMPT:format(words)
  for _, part in ipairs(older.render(self, draft, selected)) do
    local reply, err = draft.ask({
      { role = "system", content = prompt },
      { role = "user", content = question(before, part) },
    }, { model = self.model, options = self.options })
    if not reply then
      return nil, err
    end
    local problem = find_problem(reply, allowed)
    if problem then
      return nil, refuse(reply, problem)
    end
    before = reply.content:gsub("^%s+", ""):gsub("%s+$", "")
  end
  if not older.makes_room(self, draft, selected, before, known) then
    return nil, refuse(nil, "is too long to make room")
  end
  older.replace(draft, selected, { role = self.role, content = self.prefix .. before }, "summary")
  return true
end

---Replaces the older turns by one message that a model writes, when the request
---has reached `at` of `tokens`. An earlier summary is taken into the new one. A
---summary that fails, is empty, cut off or longer than what it stands for leaves
---the list as it was.
---@param given? {tokens?: integer, at?: number, target?: number, turns?: integer, model?:
---string, prompt?: string, prefix?: string, role?: string, options?: table} `tokens`: the
---model's context window; `at`: 0.85; `target` (0.5): share that is left; `turns` (2): the last
---ones always stay; `model`: another one that writes it; `prompt`: what it is told; `prefix`:
---"Earlier: "; `role`: "assistant"; `options`: parameters of that request
---@return opperchat.Policy
local function summarize(given)
  local checked = check.options("summarize", given, {
    tokens = { "integer >= 1" },
    at = { "number above 0, at most 1", default = 0.85 },
    target = { "number above 0, at most 1", default = 0.5 },
    turns = { "integer >= 1", default = 2 },
    model = { "string" },
    prompt = { "string" },
    prefix = { "string", default = "Earlier: " },
    role = { "\"assistant\", \"system\", \"developer\" or \"user\"", default = "assistant" },
    options = { "table with names" },
  })
  checked.wants_window = checked.tokens == nil
  return setmetatable(checked, Summarize)
end

return summarize
