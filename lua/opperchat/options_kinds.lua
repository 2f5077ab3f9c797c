---What an option may be.
---
---A kind is called with a value and returns true, or false and, when it has
---more to say than "KIND expected, got ...", a message.
local json = require "opperchat.json"
local names = require "opperchat.names"

-- Not `next` by name in a loop: see json.lua.
local step = next

local shown = names.shown

local kinds = {
  MAX_TAGS = 8,
  -- of `opperchat.secret{...}`
  secret_mt = { __name = "opperchat.Secret", __metatable = "opperchat.Secret" },
}

-- As many milliseconds as fit into 31 bits: three weeks and a half.
local MAX_SECONDS = 2147483

local function is_finite(value)
  return type(value) == "number" and value == value and value ~= 1 / 0 and value ~= -1 / 0
end

local function is_integer(value)
  return is_finite(value) and value % 1 == 0
end

---What was given, without giving away a key or a prompt.
---@param value any
---@param kind string
---@return string
function kinds.got(value, kind)
  if type(value) == "number" and (kind:find("^number") or kind:find("^integer")) then
    return value == value and tostring(value) or "nan"
  elseif json.is_null(value) then
    return "null"
  end
  return type(value)
end

local function is_list_of(value, wanted)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for _, item in step, value do
    if type(item) ~= wanted then
      return false
    end
    count = count + 1
  end
  for i = 1, count do
    if value[i] == nil then
      return false
    end
  end
  return true
end

local function is_secret(value)
  -- __metatable hides it from everybody else
  return type(value) == "table" and getmetatable(value) == kinds.secret_mt.__metatable
end

-- Header values and URLs: a line break would start another header.
local function is_clean(value)
  local at = value:find("[%z\1-\31\127]")
  if at then
    return false, "control character at byte " .. at .. (at == #value and ", the last" or "")
  end
  return true
end

local function is_clean_string(value)
  if type(value) ~= "string" then
    return false
  end
  return is_clean(value)
end

local function is_header_value(value)
  if type(value) == "string" and value == "" then
    return false, "must not be empty"
  end
  return is_clean_string(value)
end

local function is_url(value)
  if type(value) ~= "string" then
    return false
  elseif not value:find("^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]") then
    return false, "must start with http:// or https:// and a host"
  end
  local at = value:find("[%z\1-\32\127]")
  if at then
    return false, "space or control character at byte " .. at
  elseif value:find("[?#]") then
    -- the path of the API is appended
    return false, "must end with the path, without '?' or '#'"
  end
  return true
end

-- The body is counted and framed below us; a second opinion in a header is how
-- requests are smuggled.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true }

local function is_headers(value)
  if type(value) ~= "table" then
    return false
  end
  for name, text in step, value do
    if type(name) ~= "string" or not name:find("^[!#$%%&'*+.^_`|~0-9A-Za-z-]+$") then
      return false, shown(name) .. " is not the name of a header"
    elseif type(text) ~= "string" then
      return false, shown(name) .. ": string expected, got " .. type(text)
    elseif FRAMING[name:lower()] then
      return false, shown(name) .. " cannot be set"
    end
    local clean, message = is_clean(text)
    if not clean then
      return false, shown(name) .. ": " .. message
    end
  end
  return true
end

local TIMEOUTS = { "connect", "first_token", "idle", "total" }

-- Whether all keys of a table are in a list of names.
local function has_only(value, list)
  local known = {}
  for _, name in ipairs(list) do
    known[name] = true
  end
  for key in step, value do
    if not known[key] then
      return false, "unknown key " .. shown(key) .. names.suggestion(key, list)
    end
  end
  return true
end

local function is_timeout(value)
  if type(value) ~= "table" then
    return false
  end
  local known, message = has_only(value, TIMEOUTS)
  if not known then
    return false, message
  end
  for _, name in ipairs(TIMEOUTS) do
    local seconds = value[name]
    if seconds ~= nil and seconds ~= false
        and not (is_finite(seconds) and seconds > 0 and seconds <= MAX_SECONDS) then
      return false, ("'%s': seconds > 0 (at most %d) or false for none expected, got %s")
        :format(name, MAX_SECONDS, kinds.got(seconds, "number"))
    end
  end
  return true
end

local GUARD = { "action", "input", "output" }
local GUARD_ACTIONS = { flag = true, block = true, redact = true }

local function is_guard(value)
  if type(value) ~= "table" then
    return false
  end
  local known, message = has_only(value, GUARD)
  if not known then
    return false, message
  end
  for _, name in ipairs { "input", "output" } do
    local given = value[name]
    local rules = type(given) == "string" and { given } or given
    if rules ~= nil then
      if not is_list_of(rules, "string") or #rules == 0 then
        return false, "'" .. name .. "': string or list of strings expected, got "
          .. (is_list_of(rules, "string") and "an empty list" or type(given))
      end
      for _, rule in ipairs(rules) do
        if not rule:find("^[A-Za-z0-9_.,-]+$") then
          return false, "'" .. name .. "': " .. shown(rule) .. " is not the name of a guard"
        end
      end
    end
  end
  if value.action ~= nil and not GUARD_ACTIONS[value.action] then
    return false, "'action': \"flag\", \"block\" or \"redact\" expected, got "
      .. (type(value.action) == "string" and shown(value.action) or type(value.action))
  end
  return true
end

---The text of a tag; what cannot be one comes back as it is.
---@param value any
---@return any
function kinds.tag_text(value)
  if is_finite(value) then
    return json.encode(value)
  end
  return value
end

local function is_tags(value)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for key, tag in step, value do
    count = count + 1
    local text = kinds.tag_text(tag)
    if type(key) ~= "string" or #key > 64 or not key:find("^[A-Za-z][A-Za-z0-9_.-]*$") then
      return false, shown(key) .. " is not the name of a tag (a letter, then at most 63 "
        .. "letters, digits, '_', '.' or '-')"
    elseif type(text) ~= "string" then
      return false, shown(key) .. ": string or number expected, got " .. type(tag)
    elseif text:find(",", 1, true) then
      return false, shown(key) .. ": ',' cannot be part of a tag"
    end
    local clean, message = is_clean(text)
    if not clean then
      return false, shown(key) .. ": " .. message
    end
  end
  if count > kinds.MAX_TAGS then
    return false, ("at most %d tags can be sent, got %d"):format(kinds.MAX_TAGS, count)
  end
  return true
end

local function is_logit_bias(value)
  if type(value) ~= "table" then
    return false
  end
  for token, bias in step, value do
    if not (type(token) == "string" or is_integer(token)) or not is_finite(bias) then
      return false, "token ids with numbers expected"
    end
  end
  return true
end

local function is_named(value)
  if type(value) ~= "table" then
    return false
  end
  for key in step, value do
    if type(key) ~= "string" then
      return false, "names expected as keys, got " .. shown(key)
    end
  end
  return true
end

-- What a conversation and a request cannot do without being in charge of.
local function is_extra(value)
  local named, message = is_named(value)
  if not named then
    return false, message
  elseif value.messages ~= nil then
    return false, "'messages' cannot be set, they are the conversation's own"
  elseif value.stream ~= nil then
    return false, "'stream' cannot be set here"
  end
  return true
end

---@type table<string, fun(value: any): boolean, string?>
kinds.known = {
  ["string"] = function(value) return type(value) == "string" end,
  ["number"] = is_finite,
  ["boolean"] = function(value) return type(value) == "boolean" end,
  ["table"] = function(value) return type(value) == "table" end,
  ["function"] = function(value) return type(value) == "function" end,
  ["function or false"] = function(value)
    return type(value) == "function" or value == false
  end,
  ["client"] = function(value) return type(value) == "userdata" and not json.is_null(value) end,
  ["integer"] = is_integer,
  ["integer >= 0"] = function(value) return is_integer(value) and value >= 0 end,
  ["integer >= 1"] = function(value)
    -- beyond it numbers cannot be told apart, and C has no room for them
    return is_integer(value) and value >= 1 and value <= 2 ^ 53
  end,
  ["number above 0, at most 1"] = function(value)
    return is_finite(value) and value > 0 and value <= 1
  end,
  ["number >= 0"] = function(value) return is_finite(value) and value >= 0 end,
  ["number > 0 or \"instant\""] = function(value)
    return value == "instant" or is_finite(value) and value > 0
  end,
  ["\"exact\" or \"order\""] = function(value) return value == "exact" or value == "order" end,
  ["policy, function or list of them"] = function(value)
    return type(value) == "function" or type(value) == "table" or value == false
  end,
  ["\"assistant\", \"system\", \"developer\" or \"user\""] = function(value)
    return value == "assistant" or value == "system" or value == "developer" or value == "user"
  end,
  ["string or table"] = function(value)
    return type(value) == "string" or type(value) == "table"
  end,
  ["string or list of strings"] = function(value)
    return type(value) == "string" or is_list_of(value, "string")
  end,
  ["list of strings"] = function(value)
    return is_list_of(value, "string")
  end,
  ["list of tables"] = function(value) return is_list_of(value, "table") end,
  ["string or function"] = function(value)
    if type(value) == "function" then
      return true
    end
    return is_clean_string(value)
  end,
  ["string, function or secret"] = function(value)
    if type(value) == "function" or is_secret(value) then
      return true
    end
    return is_clean_string(value)
  end,
  ["boolean, 1, 2 or function"] = function(value)
    return type(value) == "boolean" or type(value) == "function" or value == 1 or value == 2
  end,
  ["string or list of hosts"] = function(value)
    if type(value) == "string" then
      return is_clean(value)
    end
    return is_list_of(value, "string")
  end,
  ["string without control characters"] = is_clean_string,
  ["non-empty string"] = is_header_value,
  ["URL"] = is_url,
  ["table of headers"] = is_headers,
  ["table of seconds"] = is_timeout,
  ["table of guards"] = is_guard,
  ["table of tags"] = is_tags,
  ["table of token ids"] = is_logit_bias,
  ["table with names"] = is_named,
  ["table of body fields"] = is_extra,
}

return kinds
