---The text of a range, as context for a question.
local selection = {}

-- The column that is wanted after `$`; v:maxcol is not there before Neovim 0.9.
local MAXCOL = 2147483647

-- From a byte in one line to a character in another, as Visual mode means it.
local function charwise(lines, first, last)
  local final = lines[#lines]
  if last <= #final then
    local character = vim.fn.matchstr(final, ".", last - 1)
    local is_inclusive = vim.o.selection ~= "exclusive"
    lines[#lines] = final:sub(1, is_inclusive and last - 1 + #character or last - 1)
  end
  lines[1] = lines[1]:sub(first)
  return lines
end

-- The cells of the screen that a character takes: first and last.
local function cells_of(line, column)
  local before = vim.fn.strdisplaywidth(line:sub(1, column - 1))
  local character = vim.fn.matchstr(line, ".", column - 1)
  return before + 1, before + math.max(vim.fn.strdisplaywidth(character, before), 1)
end

-- Whether the last Visual selection went to the end of each of its lines, with
-- `$`. That is in no mark, so the selection is made once more.
local function is_to_the_ends()
  local view = vim.fn.winsaveview()
  vim.cmd("noautocmd silent normal! gv")
  local wanted = vim.fn.getcurpos()[5]
  vim.cmd("noautocmd silent normal! \27")
  vim.fn.winrestview(view)
  return wanted == MAXCOL
end

local function blockwise(lines, first, last)
  local left, right = cells_of(lines[1], first)
  local other_left, other_right = cells_of(lines[#lines], math.min(last, #lines[#lines] + 1))
  left, right = math.min(left, other_left), math.max(right, other_right)
  if is_to_the_ends() then
    right = math.huge
  end
  for i, line in ipairs(lines) do
    local cell, kept = 0, {}
    for _, character in ipairs(vim.fn.split(line, "\\zs")) do
      local width = vim.fn.strdisplaywidth(character, cell)
      if cell + width >= left and cell < right then
        kept[#kept + 1] = character
      end
      cell = cell + width
    end
    lines[i] = table.concat(kept)
  end
  return lines
end

---What a command with a range is about. A range knows lines alone; when it is
---that of the last Visual selection, its columns are those of the selection.
---@param command { line1: integer, line2: integer, range: integer }
---@return string[] lines
function selection.lines(command)
  local lines = vim.api.nvim_buf_get_lines(0, command.line1 - 1, command.line2, false)
  local first, last = vim.fn.getpos("'<"), vim.fn.getpos("'>")
  local mode = vim.fn.visualmode()
  if command.range == 2 and first[2] == command.line1 and last[2] == command.line2
      and #lines > 0 then
    if mode == "v" then
      return charwise(lines, first[3], last[3])
    elseif mode == "\22" then
      return blockwise(lines, first[3], last[3])
    end
  end
  return lines
end

-- More backticks than any run of them inside.
local function fence_for(lines)
  local longest = 2
  for _, line in ipairs(lines) do
    for run in line:gmatch("`+") do
      longest = math.max(longest, #run)
    end
  end
  return ("`"):rep(longest + 1)
end

---The range as Markdown: where it is from, and the text between fences.
---@param command { line1: integer, line2: integer, range: integer }
---@return string[] lines
function selection.as_markdown(command)
  local lines = selection.lines(command)
  local fence = fence_for(lines)
  local result = { fence .. vim.bo.filetype }
  vim.list_extend(result, lines)
  result[#result + 1] = fence
  local name = vim.api.nvim_buf_get_name(0)
  if vim.bo.buftype == "" and name ~= "" then
    local place = command.line1 == command.line2 and "line " .. command.line1
      or ("lines %d-%d"):format(command.line1, command.line2)
    table.insert(result, 1, "")
    table.insert(result, 1, ("`%s`, %s:"):format(vim.fn.fnamemodify(name, ":~:."), place))
  end
  return result
end

return selection
