---Files that are sent along with a question.
local core = require "opperchat.core"
local opperchat = require "opperchat"
local places = require "opperchat.command.places"
local reading = require "opperchat.command.reading"

local attachments = {}

---Bytes of a text file, or of what comes through a pipe.
attachments.MAX = 32 * 1024 * 1024

-- Bytes of a file that say what it is. No picture and no sound has so many of them
-- that are those of a text.
local HEAD = 4096

-- How files begin: { at, bytes, what they are }. What an image is in detail is
-- found out when it is sent.
local BEGINNINGS = {
  { 1, "\137PNG\r\n\26\n", "image" }, { 1, "\255\216\255", "image" }, { 1, "GIF8", "image" },
  { 9, "WEBP", "image" }, { 1, "%PDF-", "file" }, { 9, "WAVE", "audio" }, { 1, "ID3", "audio" },
  { 1, "\255\251", "audio" }, { 1, "\255\243", "audio" }, { 1, "\255\242", "audio" },
}

-- Whether this is what people and programs write: UTF-8, of which the last character
-- may be cut off, and no control characters.
local function is_text(bytes)
  local last = bytes:match("()[\194-\244][\128-\191]*$")
  return not bytes:find("[%z\1-\8\14-\31\127]")
    and (core.quote(bytes) or last and #bytes - last < 3 and core.quote(bytes:sub(1, last - 1)))
end

-- "ID3 is a decision tree" begins as music does.
local function kind_of(bytes)
  for _, beginning in ipairs(BEGINNINGS) do
    local at, wanted, kind = beginning[1], beginning[2], beginning[3]
    if bytes:sub(at, at + #wanted - 1) == wanted and (at == 1 or bytes:sub(1, 4) == "RIFF") then
      return (kind == "file" or not is_text(bytes)) and kind or nil
    end
  end
end

-- A text in a block that nothing in it ends.
local function fenced(name, text)
  local fence = "```"
  while text:find(fence, 1, true) do
    fence = fence .. "`"
  end
  return ("%s:\n%s\n%s\n%s"):format(name, fence, (text:gsub("\n$", "")), fence)
end

local function of_url(url)
  local path = url:lower():gsub("[?#].*$", "")
  if path:find("%.pdf$") then
    return opperchat.file(url)
  end
  return opperchat.image(url)
end

---What is sent for a file: a part, or a text.
---@param path string or URL
---@return table|string? attachment
---@return string? problem
function attachments.read(path)
  if path:find("^[Hh][Tt][Tt][Pp][Ss]?://") then
    return of_url(path)
  end
  path = places.expand(path)
  local kind = core.file_kind(path)
  if kind == "directory" then
    return nil, path .. ": is a folder"
  end
  local file, problem = io.open(path, "rb")
  if not file then
    return nil, problem
  end
  local head = reading.up_to(file, HEAD)
  local what = kind_of(head)
  if what and kind == "file" then
    file:close()
    return opperchat[what](path)
  end
  local text = head .. reading.up_to(file, attachments.MAX + 1 - #head)
  file:close()
  return attachments.of_bytes(text, path)
end

---The same for bytes that are there.
---@param bytes string
---@param name? string of the file; nil: what came through a pipe
---@return table|string? attachment
---@return string? problem
function attachments.of_bytes(bytes, name)
  if #bytes > attachments.MAX then
    return nil, ("%s: more than %d MiB"):format(name or "stdin", attachments.MAX / 2 ^ 20)
  end
  local what = kind_of(bytes)
  if what then
    return opperchat[what] { data = bytes }
  elseif not core.quote(bytes) then
    return nil, (name or "stdin") .. ": neither UTF-8 text nor an image, a PDF, WAV or MP3"
  end
  return name and fenced(name, bytes) or bytes
end

---The question of a text and what goes with it.
---@param texts string[] the question last
---@param given (table|string)[]
---@return string|table prompt
function attachments.prompt(texts, given)
  local lines, parts = {}, {}
  for _, attachment in ipairs(given) do
    local list = type(attachment) == "string" and lines or parts
    list[#list + 1] = attachment
  end
  for _, text in ipairs(texts) do
    lines[#lines + 1] = text
  end
  local text = table.concat(lines, "\n\n")
  if #parts == 0 then
    return text
  elseif text ~= "" then
    table.insert(parts, 1, text)
  end
  return parts
end

return attachments
