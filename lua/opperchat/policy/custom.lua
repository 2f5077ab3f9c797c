---A policy that a program writes as a function of the messages.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local message = require "opperchat.message"

local Custom = { name = "function" }
Custom.__index = Custom

local function is_same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for name, value in pairs(a) do
    if not is_same(value, b[name]) then
      return false
    end
  end
  for name in pairs(b) do
    if a[name] == nil then
      return false
    end
  end
  return true
end

-- Where each message of the result comes from: the index of one that is what it
-- was, or nil.
local function find_sources(draft, given, result)
  local index_of, untouched = {}, draft.list:messages()
  for i, entry in ipairs(given) do
    index_of[entry] = i
  end
  local sources, is_changed = {}, #result ~= #untouched
  for i, entry in ipairs(result) do
    local from = index_of[entry]
    sources[i] = from and is_same(entry, untouched[from]) and from or nil
    is_changed = is_changed or sources[i] ~= i
  end
  return sources, is_changed, index_of
end

-- The list that the function wants.
local function rebuild(draft, result, sources, index_of)
  local list = core.conversation()
  for i, entry in ipairs(result) do
    local done, code, text, detail
    if sources[i] then
      done, code, text, detail = core.take_messages(list, draft.list, sources[i], sources[i])
    else
      local encoded, problem = message.encode_table(entry)
      if not encoded then
        errors.misuse("policy: messages[%d]: %s", i, problem)
      end
      done, code, text, detail = core.append_json(list, encoded)
      if done then
        message.set_flags(list, #list, entry)
        message.copy_marks(list, #list, draft.list, index_of[entry])
      end
    end
    if not done then
      errors.misuse("policy: messages[%d]: %s", i, message.problem(code, text, detail))
    end
  end
  return list
end

function Custom:apply(draft)
  local size, how = draft:tokens()
  local given = draft.list:messages()
  local held = {}
  for i, entry in ipairs(given) do
    held[i] = entry
  end
  local result, err = self.fn(given, {
    tokens = size, how = how, window = draft.window, model = draft.model,
    is_forced = draft.is_forced,
  })
  if result == nil then
    if err ~= nil and not errors.is(err) then
      err = errors.new("tool", "policy_failed", tostring(err))
    end
    return err == nil or nil, err
  elseif type(result) ~= "table" then
    errors.misuse("policy: list of messages expected, got " .. type(result))
  end
  local sources, is_changed, index_of = find_sources(draft, held, result)
  if is_changed then
    core.assign(draft.list, rebuild(draft, result, sources, index_of))
  end
  return true
end

---@param fn fun(messages: table[], info: table): table[]?, any
---@return opperchat.Policy
local function custom(fn)
  return setmetatable({ fn = fn }, Custom)
end

return custom
