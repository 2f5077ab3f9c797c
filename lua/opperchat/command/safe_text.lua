---Text from elsewhere, made fit for a terminal.
---
---A terminal obeys control characters: what a model or a server says could move
---the cursor over what stood there, rename the window, answer questions of the
---terminal into the shell. So they are shown and not sent, and so are the
---characters that reverse the direction of what follows: text that reads other
---than it is.
local cells = require "opperchat.command.cells"

local safe_text = {}

-- Length of a character by its first byte.
local function length_of(byte)
  return byte < 0x80 and 1 or byte >= 0xC2 and byte < 0xE0 and 2
    or byte >= 0xE0 and byte < 0xF0 and 3 or byte >= 0xF0 and byte < 0xF5 and 4 or nil
end

local function code_of(character)
  local first, second, third, fourth = character:byte(1, 4)
  if not second then
    return first
  elseif not third then
    return (first - 0xC0) * 64 + second - 0x80
  elseif not fourth then
    return ((first - 0xE0) * 64 + second - 0x80) * 64 + third - 0x80
  end
  return (((first - 0xF0) * 64 + second - 0x80) * 64 + third - 0x80) * 64 + fourth - 0x80
end

-- The marks of direction: U+061C, U+200E-200F, U+202A-202E, U+2066-2069.
local function turns_text(code)
  return code == 0x61C or code == 0x200E or code == 0x200F
    or code >= 0x202A and code <= 0x202E or code >= 0x2066 and code <= 0x2069
end

-- A character that is no plain ASCII, as it may be shown.
local function shown(character)
  local code = code_of(character)
  if code < 0xA0 or turns_text(code) then
    return ("<U+%04X>"):format(code)
  end
  return character
end

-- C0 but newline and tab, and DEL: `^[` for escape.
local function caret(control)
  local byte = control:byte()
  return byte == 127 and "^?" or "^" .. string.char(byte + 64)
end

-- All but ASCII, character by character; `is_last` when no more follows.
-- Returns also what may become a character.
local function show_wide(text, is_last)
  local parts, at = {}, 1
  while true do
    local from = text:find("[\128-\255]", at)
    if not from then
      parts[#parts + 1] = text:sub(at)
      return table.concat(parts), ""
    end
    parts[#parts + 1] = text:sub(at, from - 1)
    local length = length_of(text:byte(from))
    local character = length and text:match("^[\194-\244][\128-\191]*", from) or ""
    if length and #character >= length then
      parts[#parts + 1] = shown(character:sub(1, length))
      at = from + length
    elseif length and from + #character > #text and not is_last then
      return table.concat(parts), text:sub(from)
    else
      parts[#parts + 1] = "\239\191\189" -- no UTF-8
      at = from + math.max(#character, 1)
    end
  end
end

---A filter for a text that comes in pieces, split anywhere.
---@return fun(piece?: string): string filter called without a piece at the end
function safe_text.filter()
  local left = ""
  return function(piece)
    local text = left .. (piece or "")
    text = text:gsub("\r\n", "\n"):gsub("[%z\1-\8\11-\31\127]", caret)
    if text:find("[\128-\255]") then
      text, left = show_wide(text, piece == nil)
    else
      left = ""
    end
    return text
  end
end

---A whole text.
---@param text string
---@return string
function safe_text.whole(text)
  local filter = safe_text.filter()
  return filter(text) .. filter()
end

---The same in one line.
---@param text string
---@return string
function safe_text.line(text)
  return (safe_text.whole((text:gsub("%s+", " "))):gsub("^ ", ""):gsub(" $", ""))
end

---The beginning of a line, with an ellipsis where it is cut.
---@param text string of `safe_text.line`
---@param width integer cells of a terminal
---@return string
function safe_text.cut(text, width)
  local used, last = 0, 0
  for character, to in text:gmatch("([%z\1-\127\194-\244][\128-\191]*)()") do
    used = used + cells.of(code_of(character))
    if used > width then
      return text:sub(1, last) .. (width > 0 and "…" or "")
    elseif used < width then
      last = to - 1 -- the ellipsis has a cell behind it
    end
  end
  return text
end

return safe_text
