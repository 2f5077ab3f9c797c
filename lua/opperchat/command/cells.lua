---How many cells of a terminal a character takes.
---
---The blocks of Unicode that are wide (East Asian Width W and F, and emoji) or add
---to the character before them. What is missing here is rare, and costs a cell.
local cells = {}

local WIDE = {
  { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF }, { 0xA960, 0xA97C },
  { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F }, { 0xFF01, 0xFF60 },
  { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF }, { 0x1F900, 0x1FAFF },
  { 0x20000, 0x3FFFD },
}

local NONE = {
  { 0x300, 0x36F }, { 0x483, 0x489 }, { 0x591, 0x5BD }, { 0x64B, 0x65F }, { 0x1AB0, 0x1AFF },
  { 0x1DC0, 0x1DFF }, { 0x200B, 0x200D }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F },
  { 0xFE20, 0xFE2F }, { 0xE0100, 0xE01EF },
}

local function is_in(ranges, code)
  for _, range in ipairs(ranges) do
    if code <= range[2] then
      return code >= range[1]
    end
  end
  return false
end

---@param code integer of a character that can be seen
---@return integer cells 0, 1 or 2
function cells.of(code)
  return code < 0x300 and 1 or is_in(NONE, code) and 0 or is_in(WIDE, code) and 2 or 1
end

return cells
