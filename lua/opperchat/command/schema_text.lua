---The schema of `--schema`: JSON, a file with JSON, or a short list of fields.
local core = require "opperchat.core"
local json = require "opperchat.json"
local options = require "opperchat.options"
local places = require "opperchat.command.places"
local schema = require "opperchat.schema"

local schema_text = {}

-- The words for types, those of other languages too.
local TYPES = {
  string = "string", str = "string", text = "string",
  integer = "integer", int = "integer",
  number = "number", float = "number",
  boolean = "boolean", bool = "boolean",
}

-- Commas or lines, whichever there are: a description may have commas where each
-- field has a line of its own.
local function fields_of(text)
  local fields = {}
  local separator = text:find("\n", 1, true) and "[^\n]+" or "[^,]+"
  for field in text:gmatch(separator) do
    field = field:gsub("^%s+", ""):gsub("%s+$", "")
    if field ~= "" then
      fields[#fields + 1] = field
    end
  end
  return fields
end

-- `name`, `age int`, `bio: a sentence`, `tags string[]`, `email?`.
local function read_field(field)
  local head, description = field:match("^([^:]*):%s*(.*)$")
  local name, optional, kind = (head or field):match("^([%a_][%w_-]*)(%??)%s*(.-)%s*$")
  if not name then
    return nil, nil, ("'%s' is no field (name, name type, name: description)"):format(field)
  end
  local is_list = kind:find("%[%]$") ~= nil
  kind = kind:gsub("%[%]$", "")
  local wanted = TYPES[kind == "" and "string" or kind]
  if not wanted then
    local names = {}
    for known in pairs(TYPES) do
      names[#names + 1] = known
    end
    local near = options.nearest(kind, names)
    return nil, nil, ("'%s' is no type (string, int, float, bool)%s"):format(kind,
      near and ": did you mean '" .. near .. "'?" or "")
  end
  local result = is_list and { type = "array", items = { type = wanted } } or { type = wanted }
  result.description = description ~= "" and description or nil
  result.optional = optional == "?" or nil
  return name, result
end

local function read_short(text)
  local result = {}
  local fields = fields_of(text)
  if #fields == 0 then
    return nil, "it is empty"
  end
  for _, field in ipairs(fields) do
    local name, kind, problem = read_field(field)
    if not name then
      return nil, problem
    end
    result[name] = kind
  end
  return result
end

local function read_json(text)
  local value, problem = json.decode(text)
  if problem then
    return nil, "no JSON: " .. problem
  elseif type(value) ~= "table" then
    return nil, "it is no JSON object"
  end
  return value
end

local function read_any(text)
  if text:find("^%s*[{%[]") then
    return read_json(text)
  end
  local path = places.expand(text)
  if core.file_kind(path) == "file" then
    local file, problem = io.open(path, "rb")
    if not file then
      return nil, problem
    end
    local content = file:read("*a")
    file:close()
    return read_json(content)
  elseif text:find("/", 1, true) or text:find("%.json$") then
    return nil, "there is no file " .. text
  end
  return read_short(text)
end

---@param text string
---@return table? schema for the option `schema`
---@return string? problem
function schema_text.read(text)
  local given, problem = read_any(text)
  if not given then
    return nil, problem
  end
  local expanded
  expanded, problem = schema.expand(given)
  return expanded and given, problem
end

---The JSON of an answer that fits, without what a model puts around it.
---@param reply opperchat.Reply
---@return string
function schema_text.json_of(reply)
  local text = (reply.content or ""):gsub("^%s*```%a*%s*\n", ""):gsub("\n%s*```%s*$", "")
  local _, problem = json.decode(text)
  return problem and json.encode(reply.parsed) or (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

return schema_text
