---`-o key=value`: parameters of the model.
local json = require "opperchat.json"
local options = require "opperchat.options"
local store = require "opperchat.store"

local parameters = {}

-- What has an option of its own.
local OWN = { model = "-m", schema = "--schema", tools = false, tool_choice = false,
  response_format = "--schema" }

local function value_of(text)
  if text:find("^[%[{\"]") or text:find("^-?%d") or text == "true" or text == "false" then
    local value, problem = json.decode(text)
    if not problem then
      return value
    end
  end
  return text
end

local function refuse(name)
  local names = {}
  for known in pairs(store.SAVED) do
    if OWN[known] == nil then
      names[#names + 1] = known
    end
  end
  local near = options.nearest(name, names)
  return ("no such parameter '%s'%s; what has no name here is extra.%s"):format(name,
    near and " (did you mean '" .. near .. "'?)" or "", name)
end

---@param given string[] `key=value`
---@return table? options of a conversation
---@return string? problem
function parameters.read(given)
  local result = {}
  for _, text in ipairs(given) do
    local name, value = text:match("^([%w_.-]+)=(.*)$")
    local extra = name and name:match("^extra%.(.+)$")
    if not name then
      return nil, ("KEY=VALUE expected, got '%s'"):format(text)
    elseif extra then
      result.extra = result.extra or {}
      result.extra[extra] = value_of(value)
    elseif OWN[name] then
      return nil, ("%s is what %s is for"):format(name, OWN[name])
    elseif not store.SAVED[name] or OWN[name] == false then
      return nil, refuse(name)
    else
      result[name] = value_of(value)
      if options.conversation.known[name]:find("^string") and type(result[name]) ~= "table" then
        -- user=42
        result[name] = value
      end
    end
  end
  local valid, problem = options.check(options.conversation, result)
  if not valid then
    return nil, problem
  end
  return result
end

return parameters
