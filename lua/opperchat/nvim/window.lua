---Where a conversation is shown.
local config = require "opperchat.nvim.config"

local window = {}

-- A size of the options in cells; nil: Neovim's own choice.
local function cells(size, whole)
  if not size then
    return nil
  end
  local wanted = size < 1 and size * whole or size
  return math.max(1, math.min(math.floor(wanted), whole))
end

local function open_float(buffer, size)
  local columns, lines = vim.o.columns, vim.o.lines - vim.o.cmdheight
  local width = math.min(columns - 4, math.max(20, math.min(100, math.floor(columns * 0.8))))
  local height = math.min(math.max(lines - 4, 1), cells(size or 0.8, lines))
  local options = {
    relative = "editor", border = "rounded", width = math.max(width, 1), height = height,
    row = math.max(math.floor((lines - height) / 2) - 1, 0),
    col = math.max(math.floor((columns - width) / 2) - 1, 0),
  }
  if vim.fn.has("nvim-0.9") == 1 then
    options.title = " Opper "
  end
  return vim.api.nvim_open_win(buffer, true, options)
end

local function open(buffer)
  local style, size = config.current.window, config.current.size
  if type(style) == "function" then
    return style(buffer) or vim.fn.bufwinid(buffer)
  elseif style == "float" then
    return open_float(buffer, size)
  elseif style == "split" then
    vim.cmd(("botright %s split"):format(cells(size, vim.o.lines) or ""))
  elseif style == "vsplit" then
    vim.cmd(("botright vertical %s split"):format(cells(size, vim.o.columns) or ""))
  end
  vim.api.nvim_win_set_buf(0, buffer)
  return vim.api.nvim_get_current_win()
end

-- The window of this tab page that shows a buffer; the current one first.
local function find(buffer)
  if vim.api.nvim_get_current_buf() == buffer then
    return vim.api.nvim_get_current_win()
  end
  for _, each in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if vim.api.nvim_win_get_buf(each) == buffer then
      return each
    end
  end
end

---Shows a buffer, in a window that does so already or in a new one.
---@param buffer integer
---@param keep? boolean whether to stay where we are
---@return integer window
function window.show(buffer, keep)
  local before = vim.api.nvim_get_current_win()
  local shown = find(buffer)
  if not shown then
    shown = open(buffer)
    if not (shown and vim.api.nvim_win_is_valid(shown)) then
      error("option 'window': the function shows the buffer nowhere", 0)
    end
    vim.api.nvim_win_call(shown, function()
      vim.cmd("setlocal wrap linebreak nonumber norelativenumber")
    end)
  end
  if not keep then
    vim.api.nvim_set_current_win(shown)
  elseif vim.api.nvim_win_is_valid(before) then
    vim.api.nvim_set_current_win(before)
  end
  return shown
end

return window
