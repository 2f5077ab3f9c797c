---Content of a message: from what a user may give to JSON text.
---
---A prompt is a string, a part (a table with a string `type`, of any type: new
---ones come all the time and are the server's business) or a list of both.
local json = require "opperchat.json"

local content = {}

local EXPECTED = "string, part or list of them expected"

local function got(value)
  if json.is_null(value) then
    return "null"
  elseif type(value) == "table" then
    return "a table without a string 'type'"
  end
  return type(value)
end

-- json.encode without the raise.
local function encode(value, place)
  local written, text = pcall(json.encode, value, nil, place)
  if written then
    return text
  end
  return nil, text
end

local function encode_part(part, place)
  if type(part) == "string" then
    return encode({ type = "text", text = part }, place)
  elseif type(part) ~= "table" or type(part.type) ~= "string" then
    return nil, place .. ": string or part expected, got " .. got(part)
  elseif part.type == "text" and type(part.text) ~= "string" then
    return nil, place .. ".text: string expected, got " .. type(part.text)
  end
  return encode(part, place)
end

-- Length of a list, or nil and what the table is instead.
local function list_length(value)
  local count, highest = 0, 0
  for key in next, value do
    if type(key) ~= "number" then
      return nil, got(value)
    end
    count = count + 1
    highest = math.max(highest, key)
  end
  if count == 0 then
    return nil, "an empty table"
  elseif count ~= highest then
    return nil, "a list with a hole in it"
  end
  return count
end

---Writes content: a string as a JSON string, a part as a list of one, a list
---as a list of parts (strings in it become text parts). `opperchat.null` is
---written as null, the content of a message that only calls tools.
---@param value any
---@param what? string what to call it in messages, "prompt" when left out
---@return string? text
---@return string? message why it cannot be content: `prompt[2]: string or part
---expected, got number`
function content.encode(value, what)
  what = what or "prompt"
  if type(value) == "string" or json.is_null(value) then
    return encode(value, what)
  elseif type(value) ~= "table" then
    return nil, what .. ": " .. EXPECTED .. ", got " .. got(value)
  elseif type(value.type) == "string" then
    local text, message = encode_part(value, what)
    return text and "[" .. text .. "]", message
  end

  local length, instead = list_length(value)
  if not length then
    return nil, what .. ": " .. EXPECTED .. ", got " .. instead
  end
  local parts = {}
  for i = 1, length do
    local text, message = encode_part(value[i], what .. "[" .. i .. "]")
    if not text then
      return nil, message
    end
    parts[i] = text
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

---The text in content, without what is not text: strings and text parts
---joined. Never fails; what has no text gives "".
---@param value any content as given by a user or read from a message
---@return string
function content.text(value)
  if type(value) == "string" then
    return value
  elseif type(value) ~= "table" then
    return ""
  elseif value.type ~= nil then
    return value.type == "text" and type(value.text) == "string" and value.text or ""
  end
  local texts = {}
  for _, part in ipairs(value) do
    if type(part) == "string" then
      texts[#texts + 1] = part
    elseif type(part) == "table" and part.type == "text" and type(part.text) == "string" then
      texts[#texts + 1] = part.text
    end
  end
  return table.concat(texts)
end

return content
