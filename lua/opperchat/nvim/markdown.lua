---What of Markdown has to be understood to find one's way in it: blocks of code
---between fences, and headings that are not inside of one.
local markdown = {}

-- The fence that a line may be, and what stands behind it.
local function fence_of(line)
  local fence, rest = line:match("^%s*(```+)(.*)$")
  if not fence then
    return line:match("^%s*(~~~+)(.*)$")
  elseif rest:find("`", 1, true) then
    return nil -- ```code``` within a line
  end
  return fence, rest
end

-- The fence that is open below a line, given the one that is open above it.
local function below(line, open)
  local fence, rest = fence_of(line)
  if not fence or not open then
    return fence or open
  end
  local is_end = vim.startswith(fence, open) and not rest:find("%S")
  return not is_end and open or nil
end

---The fence of the block of code that is open behind lines.
---@param lines string[]
---@return string? fence
function markdown.open_fence(lines)
  local open
  for _, line in ipairs(lines) do
    open = below(line, open)
  end
  return open
end

---Where a heading is for the last time. Code does not count; what stands behind
---a fence that never ends does, because that is no code but a mistake.
---@param lines string[]
---@param heading string the line
---@return integer? index
function markdown.find_last(lines, heading)
  local found, inside, open
  for i, line in ipairs(lines) do
    open = below(line, open)
    if not open then
      inside = nil
    end
    if line == heading and open then
      inside = i
    elseif line == heading then
      found = i
    end
  end
  return inside or found
end

---Leaves out the empty lines at both ends.
---@param lines string[]
---@return string[]
function markdown.trim(lines)
  local first, last = 1, #lines
  while first <= last and lines[first]:find("^%s*$") do
    first = first + 1
  end
  while last >= first and lines[last]:find("^%s*$") do
    last = last - 1
  end
  return vim.list_slice(lines, first, last)
end

return markdown
