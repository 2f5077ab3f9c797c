---remember: what is worth keeping of the older turns, as facts, and then those
---turns go.
local check = require "opperchat.policy.check"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local older = require "opperchat.policy.older"
local schema = require "opperchat.schema"

local Remember = { name = "remember", asks = true }
Remember.__index = Remember

local PROMPT = [[
You keep the memory of a conversation whose older part is about to be dropped. You are given what
is known already, as JSON, and that part. Answer with all that should be known from now on: what
was known and still holds, unchanged; what is new and worth knowing later; and of what was
superseded only what holds now. Be brief and exact; leave out small talk.]]

-- Facts without a shape of the program's own.
local FACTS = { facts = { "string" } }

-- New values take the place of old ones; what the model does not speak of stays.
local function merge(known, found)
  if type(known) ~= "table" or type(found) ~= "table" then
    return found
  end
  local result = {}
  for name, value in pairs(known) do
    result[name] = value
  end
  for name, value in pairs(found) do
    result[name] = value
  end
  return json.copy_mark(found, result)
end

-- What is known already, out of its message. One that was written with another
-- prefix begins where the first brace is.
local function read_known(self, draft)
  local text = older.known(draft, "facts") or ""
  if text:sub(1, #self.prefix) == self.prefix then
    return (json.decode(text:sub(#self.prefix + 1)))
  end
  local first = text:find("[{%[]")
  return first and json.decode(text:sub(first)) or nil
end

local function question(known, part)
  return "Known: " .. json.encode(known or {}) .. "\n\nThe conversation:\n\n" .. part
end

function Remember:apply(draft)
  local selected = older.select(self, draft)
  if not selected then
    return true
  elseif not draft.can_ask then
    draft.would_ask = true
    return true
  end
  local known = read_known(self, draft)
  for _, part in ipairs(older.render(self, draft, selected)) do
    local reply, err = draft.ask({
      { role = "system", content = self.prompt or PROMPT },
      { role = "user", content = question(known, part) },
    }, { model = self.model, schema = self.schema, options = self.options })
    if not reply then
      return nil, err
    elseif reply.parsed == nil then
      err = errors.new("protocol", "bad_facts", "the model did not answer with facts")
      err.partial, err.trace_id = reply, reply.trace_id
      return nil, err
    end
    known = (self.merge or merge)(known, reply.parsed)
  end
  local text = json.encode(known)
  if not older.makes_room(self, draft, selected, text, older.known(draft, "facts")) then
    return nil, errors.new("protocol", "bad_facts", "the facts are too long to make room")
  end
  older.replace(draft, selected, { role = self.role, content = self.prefix .. text }, "facts")
  return true
end

---Has a model take facts out of the older turns, keeps them in one message of the
---head, and drops those turns, when the request has reached `at` of `tokens`. What
---was known before is given to the model and merged with what it answers: its
---values take the place of the old ones.
---@param given? {schema?: table, tokens?: integer, at?: number, target?: number, turns?:
---integer, model?: string, prompt?: string, prefix?: string, role?: string, merge?:
---(fun(known: any, found: any): any), options?: table} `schema`: shape of the facts, a list of
---texts when left out; `merge`: what becomes of the old and the new; `role`: "system"; the
---others as those of `summarize`
---@return opperchat.Policy
local function remember(given)
  local checked = check.options("remember", given, {
    schema = { "table", default = FACTS },
    tokens = { "integer >= 1" },
    at = { "number above 0, at most 1", default = 0.85 },
    target = { "number above 0, at most 1", default = 0.5 },
    turns = { "integer >= 1", default = 2 },
    model = { "string" },
    prompt = { "string" },
    prefix = { "string", default = "What is known: " },
    role = { "\"assistant\", \"system\", \"developer\" or \"user\"", default = "system" },
    merge = { "function" },
    options = { "table with names" },
  })
  local valid, problem = schema.expand(checked.schema)
  if not valid then
    errors.misuse("policy.remember: option 'schema': %s", problem)
  end
  checked.wants_window = checked.tokens == nil
  return setmetatable(checked, Remember)
end

return remember
