---Images, files and audio as parts of a message.
---
---A part holds where the bytes are. They are read when the part goes into a
---message, by the core, which writes their base64 text into the message's own:
---it is never a Lua string.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local options = require "opperchat.options"

local misuse = errors.misuse

-- Not `next` by name in a loop: see json.lua.
local step = next

local media = {}

---Bytes that a part may have when `max_bytes` does not say otherwise.
media.MAX_BYTES = 32 * 1024 * 1024

-- ---------------------------------------------------------------------------
-- What is put into a part
-- ---------------------------------------------------------------------------

local piece_mt = json.piece_mt

function piece_mt:__tostring()
  return ("opperchat.%s (%s)"):format(self.kind, self.path or #self.data .. " bytes")
end

local DETAILS = { auto = true, low = true, high = true }

local checks = {}

function checks.detail(value)
  return DETAILS[value], "\"auto\", \"low\" or \"high\" expected, got "
    .. (type(value) == "string" and "'" .. value:sub(1, 40) .. "'" or type(value))
end

function checks.max_bytes(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0 and value < 2 ^ 53,
    "integer >= 1 expected, got " .. (type(value) == "number" and tostring(value) or type(value))
end

function checks.name(value)
  if type(value) ~= "string" or value == "" then
    return false, "non-empty string expected, got " .. (value == "" and "''" or type(value))
  end
  local _, bad = core.quote(value)
  return not bad, ("not valid UTF-8 at byte %s"):format(tostring(bad))
end

-- The type becomes part of a URL; other characters would end it.
function checks.type(value)
  return type(value) == "string"
      and value:find("^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+$") ~= nil,
    "media type such as \"image/png\" expected, got "
      .. (type(value) == "string" and "'" .. value:sub(1, 40):gsub("%c", "?") .. "'" or type(value))
end

local function refuse_name(what, known, name)
  if type(name) ~= "string" then
    misuse("%s: options have names, got [%s]", what, tostring(name))
  end
  local names = {}
  for other in step, known do
    names[#names + 1] = other
  end
  table.sort(names)
  local near = options.nearest(name, names)
  misuse("%s: unknown option '%s'%s", what, name:sub(1, 64):gsub("%c", "?"),
    near and " (did you mean '" .. near .. "'?)" or "")
end

-- Puts what `given` has into `fields`, checked.
local function take_fields(what, known, fields, given)
  for name, value in step, given do
    if not known[name] then
      refuse_name(what, known, name)
    end
    local valid, problem = checks[name](value)
    if not valid then
      misuse("%s: option '%s': %s", what, name, problem)
    end
    fields[name] = value
  end
end

-- Where the bytes are, `path`, `data` or `url`, and the options.
local function read_source(what, known, source, given)
  local from, fields = {}, {}
  if type(source) == "table" and not json.is_null(source) then
    if type(source.data) ~= "string" then
      misuse("%s: {data = string} expected, got %s", what,
        source.data == nil and "a table without 'data'" or "data = " .. type(source.data))
    end
    local rest = {}
    for name, value in step, source do
      rest[name] = value
    end
    from.data, rest.data = rest.data, nil
    take_fields(what, known, fields, rest)
  elseif type(source) ~= "string" then
    misuse("%s: path, URL or {data = string} expected, got %s", what,
      json.is_null(source) and "null" or type(source))
  elseif source:find("^[Hh][Tt][Tt][Pp][Ss]?://") or source:find("^[Dd][Aa][Tt][Aa]:") then
    local _, bad = core.quote(source)
    if bad then
      misuse("%s: the URL is not valid UTF-8 at byte %d", what, bad)
    end
    from.url = source
  elseif source == "" then
    misuse("%s: the path is empty", what)
  elseif source:find("%z") then
    misuse("%s: a path cannot have a zero byte", what)
  else
    from.path = source
  end
  if given ~= nil and type(given) ~= "table" then
    misuse("%s: table of options expected, got %s", what, type(given))
  end
  take_fields(what, known, fields, given or {})
  return from, fields
end

-- What the core replaces by the base64 text.
local function new_piece(kind, source, fields)
  return setmetatable({
    kind = kind,
    path = source.path,
    data = source.data,
    type = fields.type,
    max_bytes = fields.max_bytes or media.MAX_BYTES,
  }, piece_mt)
end

-- ---------------------------------------------------------------------------
-- Parts
-- ---------------------------------------------------------------------------

local IMAGE = { detail = true, max_bytes = true, type = true }

---An image for a prompt: PNG, JPEG, WebP or GIF, whatever its name says. A URL
---is sent as it is.
---
---The file is read when the part is sent or appended, and only then can it be
---missing.
---@param source string|opperchat.ImageData path, `http(s)://` or `data:` URL, or bytes
---@param given? opperchat.ImageOptions
---@return opperchat.ImagePart
function media.image(source, given)
  local from, fields = read_source("image", IMAGE, source, given)
  if fields.type and not fields.type:find("^[Ii][Mm][Aa][Gg][Ee]/") then
    misuse("image: option 'type': \"image/...\" expected, got '%s'", fields.type)
  end
  return {
    type = "image_url",
    image_url = { url = from.url or new_piece("image", from, fields), detail = fields.detail },
  }
end

local FILE = { max_bytes = true, name = true, type = true }

-- The last part of a path. Servers want a name, and only Windows separates by
-- backslashes. Bytes that JSON cannot hold are not worth a failure.
local function name_of(path)
  local separators = package.config:sub(1, 1) == "\\" and "/\\" or "/"
  local name = path:match("([^" .. separators .. "]+)[" .. separators .. "]*$") or path
  if not core.quote(name) then
    name = name:gsub("[\128-\255]", "?")
  end
  return name
end

local function default_name(from)
  if from.path then
    return name_of(from.path)
  elseif from.url and from.url:find("^[Hh]") then
    return name_of((from.url:gsub("^%a+://", ""):gsub("[?#].*", "")))
  end
  -- PDF is what servers take here
  return "file.pdf"
end

---A file for a prompt, above all a PDF.
---@param source string|opperchat.FileData path, URL, or bytes
---@param given? opperchat.FileOptions
---@return opperchat.FilePart
function media.file(source, given)
  local from, fields = read_source("file", FILE, source, given)
  return {
    type = "file",
    file = {
      filename = fields.name or default_name(from),
      file_data = from.url or new_piece("file", from, fields),
    },
  }
end

local AUDIO = { max_bytes = true, type = true }

---Audio for a prompt: WAV or MP3, whatever its name says.
---@param source string|opperchat.AudioData path, or bytes
---@param given? opperchat.MediaOptions
---@return opperchat.AudioPart
function media.audio(source, given)
  local from, fields = read_source("audio", AUDIO, source, given)
  if from.url then
    misuse("audio: path or {data = string} expected, got a URL, which the API does not take")
  elseif fields.type and not fields.type:find("^[Aa][Uu][Dd][Ii][Oo]/") then
    misuse("audio: option 'type': \"audio/...\" expected, got '%s'", fields.type)
  end
  -- data and format: the format is known when the bytes are
  return { type = "input_audio", input_audio = new_piece("audio", from, fields) }
end

-- ---------------------------------------------------------------------------
-- What goes wrong
-- ---------------------------------------------------------------------------

-- Codes of the core that say something of a file and not of the program.
local KINDS = {
  no_file = "store", unreadable = "store", empty_file = "store", unknown_type = "store",
  wrong_type = "store", file_changed = "store", file_too_large = "limit",
  out_of_memory = "limit",
}

---The error of a message that could not be made, when it is not the program's.
---@param code string the core's
---@param text string its words
---@return opperchat.Error? err
function media.error(code, text)
  return KINDS[code] and errors.new(KINDS[code], code, text)
end

return media
