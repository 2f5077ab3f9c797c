---Content of a message: from what a user may give to JSON text.
---
---A prompt is a string, a part (a table with a string `type`, of any type: new
---ones come all the time and are the server's business) or a list of both.
local json = require "opperchat.json"

-- Not `next` by name in a loop: see json.lua.
local step = next

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

-- The pieces of a value's JSON text, without a raise.
local function encode(value, place)
  local written, pieces = pcall(json.encode_pieces, value, place)
  if written then
    return pieces
  end
  return nil, pieces
end

---Puts JSON text together from texts and lists of pieces.
---@param given (string|table[])[]
---@return string|table[] text or, when something stands in it that the core
---writes, pieces: texts and tables between them
function content.join(given)
  local pieces, run = {}, {}
  local function add(piece)
    if type(piece) == "string" then
      run[#run + 1] = piece
    else
      pieces[#pieces + 1] = table.concat(run)
      pieces[#pieces + 1] = piece
      run = {}
    end
  end
  for _, item in ipairs(given) do
    if type(item) == "string" then
      add(item)
    else
      for _, piece in ipairs(item) do
        add(piece)
      end
    end
  end
  local last = table.concat(run)
  if pieces[1] == nil then
    return last
  end
  pieces[#pieces + 1] = last
  return pieces
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
  for key in step, value do
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
---@return string|table[]|nil text pieces when there is media in it: see `content.join`
---@return string? message why it cannot be content: `prompt[2]: string or part
---expected, got number`
function content.encode(value, what)
  what = what or "prompt"
  if type(value) == "string" or json.is_null(value) then
    local pieces, message = encode(value, what)
    return pieces and pieces[1], message
  elseif type(value) ~= "table" then
    return nil, what .. ": " .. EXPECTED .. ", got " .. got(value)
  elseif type(value.type) == "string" then
    local pieces, message = encode_part(value, what)
    return pieces and content.join { "[", pieces, "]" }, message
  end

  local length, instead = list_length(value)
  if not length then
    return nil, what .. ": " .. EXPECTED .. ", got " .. instead
  end
  local parts = {}
  for i = 1, length do
    local pieces, message = encode_part(value[i], what .. "[" .. i .. "]")
    if not pieces then
      return nil, message
    end
    parts[#parts + 1] = i == 1 and "[" or ","
    parts[#parts + 1] = pieces
  end
  parts[#parts + 1] = "]"
  return content.join(parts)
end

-- The parts there are, by the field that holds what they are about.
local PART_FIELDS = {
  text = "text", image_url = "image_url", input_audio = "input_audio", file = "file",
}

local function is_part(value)
  local field = type(value) == "table" and type(value.type) == "string" and PART_FIELDS[value.type]
  return field ~= nil and field ~= false and value[field] ~= nil
end

---Whether a table is a part, or a list of nothing but parts, and not some other
---value of a program.
---@param value table
---@return boolean
function content.is_parts(value)
  if is_part(value) then
    return true
  elseif value[1] == nil then
    return false
  end
  for _, part in ipairs(value) do
    if not is_part(part) then
      return false
    end
  end
  return true
end

-- A list of strings and parts, with a part among them: a prompt, not data.
local function is_mixed(value)
  local has_part = false
  for _, item in ipairs(value) do
    if is_part(item) then
      has_part = true
    elseif type(item) ~= "string" then
      return false
    end
  end
  return has_part
end

---Content for a value of a program: a string as it is, parts as parts, anything
---else as JSON.
---@param value any
---@return any content nil: it cannot be written
---@return string? message
function content.of_value(value)
  if type(value) == "string" then
    return value
  elseif type(value) == "table" and (content.is_parts(value) or is_mixed(value)) then
    return value
  end
  local written, text = pcall(json.encode, value == nil and json.null or value)
  if written then
    return text
  end
  return nil, text
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
