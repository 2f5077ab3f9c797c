--- The words between a test and its server process: plain Lua values as
-- length-prefixed bytes. Any string passes unchanged, and a body of ten
-- megabytes is one copy, which neither JSON nor a Lua literal would give.
--
--   s<length>:<bytes>   string        t / f   true / false
--   n<digits>;          number        z       nil
--   {<key><value>...}   table
--
-- Runs on every Lua, since the test may be 5.1 while the server is 5.4.

local wire = {}

local function put(value, out)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = "s" .. #value .. ":"
    out[#out + 1] = value
  elseif kind == "number" then
    -- A test may have switched LC_NUMERIC to a language with a comma.
    local digits = string.format("%.17g", value):gsub(",", ".")
    out[#out + 1] = "n" .. digits .. ";"
  elseif kind == "boolean" then
    out[#out + 1] = value and "t" or "f"
  elseif kind == "nil" then
    out[#out + 1] = "z"
  elseif kind == "table" then
    out[#out + 1] = "{"
    for key, item in pairs(value) do
      put(key, out)
      put(item, out)
    end
    out[#out + 1] = "}"
  else
    error("a " .. kind .. " cannot be sent to the test server", 0)
  end
end

local function get(bytes, at)
  local kind = bytes:sub(at, at)
  if kind == "s" then
    local _, colon, length = bytes:find("^(%d+):", at + 1)
    local last = colon + tonumber(length)
    return bytes:sub(colon + 1, last), last + 1
  elseif kind == "n" then
    local _, semicolon, digits = bytes:find("^([^;]*);", at + 1)
    return tonumber(digits) or tonumber((digits:gsub("%.", ","))), semicolon + 1
  elseif kind == "t" or kind == "f" then
    return kind == "t", at + 1
  elseif kind == "z" then
    return nil, at + 1
  elseif kind == "{" then
    local result = {}
    at = at + 1
    while bytes:sub(at, at) ~= "}" do
      local key, value
      key, at = get(bytes, at)
      value, at = get(bytes, at)
      result[key] = value
    end
    return result, at + 1
  end
  error("test server: damaged control message at byte " .. at, 0)
end

--- One message ready to send: a line with the length, then the bytes.
---@param value any
---@return string
function wire.encode(value)
  local out = { "" }
  put(value, out)
  local length = 0
  for i = 2, #out do
    length = length + #out[i]
  end
  out[1] = length .. "\n"
  return table.concat(out)
end

--- The value in a message, without its length line.
---@param bytes string
---@return any
function wire.decode(bytes)
  return (get(bytes, 1))
end

return wire
