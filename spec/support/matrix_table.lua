--- The table of docs/reliability.md, of what was seen of the faults.

local shell = require "spec.support.shell"

local table_of = {}

local PAGE = "docs/reliability.md"
local FIRST = "<!-- made by `make reliability`: -->\n"
local LAST = "<!-- :until here -->\n"

local FORMS = { whole = "whole", streamed = "streamed" }

-- "`network` | `connection_lost` | yes | | "
local function cells(seen)
  return ("| `%s` | `%s` | %s | %s |"):format(seen.kind, seen.code,
    seen.is_retried and "yes" or "no", seen.deadline and "`" .. seen.deadline .. "`" or "")
end

--- Lines of the table, of `seen[fault][form]` with kind, code, is_retried and
--- deadline; what was not seen is left out.
---@return string
function table_of.lines(faults, seen)
  local lines, group = {}, nil
  for _, fault in ipairs(faults) do
    if fault.group ~= group then
      group = fault.group
      lines[#lines + 1] = (#lines > 0 and "\n" or "") .. "| " .. group
        .. " | answer | `kind` | `code` | sent again | deadline |"
      lines[#lines + 1] = "|---|---|---|---|---|---|"
    end
    local ends = {}
    for _, form in ipairs { "whole", "streamed" } do
      local result = seen[fault] and seen[fault][form]
      ends[#ends + 1] = result and { form = FORMS[form], cells = cells(result) }
    end
    if ends[2] and ends[1].cells == ends[2].cells then
      ends = { { form = "any", cells = ends[1].cells } }
    end
    for _, one in ipairs(ends) do
      lines[#lines + 1] = "| " .. fault.name .. " | " .. one.form .. " " .. one.cells
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function parts()
  local text = shell.read_file(PAGE)
  local _, first = text:find(FIRST, 1, true)
  local last = text:find(LAST, 1, true)
  assert(first and last, PAGE .. ": no marks for the table")
  return text:sub(1, first), text:sub(first + 1, last - 1), text:sub(last)
end

--- The table as the page has it.
function table_of.read()
  local _, lines = parts()
  return lines
end

--- Puts another one in its place.
function table_of.write(lines)
  local before, _, behind = parts()
  shell.write_file(PAGE, before .. lines .. behind)
end

return table_of
