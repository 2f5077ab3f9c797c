---From a list to another one that shares its messages.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local message = require "opperchat.message"

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
local function find_sources(list, given, result)
  local index_of, untouched = {}, list:messages()
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

---Makes a list out of decoded messages of another one and new ones between them.
---Those that are what they were are shared, to the byte; one that was changed in
---place counts as a new one.
---@param from opperchat.Conversation
---@param given table[] all of its messages, decoded
---@param result table[] the messages that are wanted, some of them out of `given`
---@param place string what to call it when it raises
---@return opperchat.Conversation? list nil: nothing is to be changed
local function rebuild(from, given, result, place)
  local count = 0
  for key in pairs(result) do
    count = count + 1
    if type(key) ~= "number" then
      errors.misuse("%s: list of messages expected, got a table with the key '%s'", place,
        tostring(key))
    end
  end
  for i = 1, count do
    if result[i] == nil then
      errors.misuse("%s: a list with a hole in it, at %d (table.remove takes one out)", place, i)
    end
  end
  local sources, is_changed, index_of = find_sources(from, given, result)
  if not is_changed then
    return nil
  end
  local list = core.conversation()
  for i, entry in ipairs(result) do
    local done, code, text, detail
    if sources[i] then
      done, code, text, detail = core.take_messages(list, from, sources[i], sources[i])
    else
      local encoded, problem = message.encode_table(entry)
      if not encoded then
        errors.misuse("%s: messages[%d]: %s", place, i, problem)
      end
      done, code, text, detail = core.append_json(list, encoded)
      if done then
        message.set_flags(list, #list, entry)
        message.copy_marks(list, #list, from, index_of[entry])
      end
    end
    if not done then
      errors.misuse("%s: messages[%d]: %s", place, i, message.problem(code, text, detail))
    end
  end
  return list
end

return rebuild
