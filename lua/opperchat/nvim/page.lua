---The buffer of a conversation, and how text gets into it: only ever what is
---new, where the answer ends, however the user edits it meanwhile.
local undo = require "opperchat.nvim.undo"

local api = vim.api

local MARKS = api.nvim_create_namespace("opperchat")

-- The local value of 'undolevels' that means: the global one.
local GLOBAL_LEVELS = -123456

local page = {}

---@class opperchat.nvim.Page
---@field buffer integer
---@field place? integer extmark where the answer ends
---@field tick? integer of the buffer after our last change
local Page = {}
Page.__index = Page

---Makes a buffer.
---@param number integer for its name
---@param lines string[] what is in it
---@return opperchat.nvim.Page
---@return string? problem of an autocommand for Markdown
function page.new(number, lines)
  local buffer = api.nvim_create_buf(true, true)
  api.nvim_buf_set_name(buffer, "opper://" .. number)
  vim.bo[buffer].bufhidden = "hide"
  -- there is nothing before it to go back to
  vim.bo[buffer].undolevels = -1
  api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].undolevels = GLOBAL_LEVELS
  -- others' autocommands; one that fails is no reason to have no conversation
  local worked, problem = pcall(function()
    vim.bo[buffer].filetype = "markdown"
  end)
  -- what a plugin for Markdown may have set
  vim.bo[buffer].buftype = "nofile"
  vim.bo[buffer].swapfile = false
  return setmetatable({ buffer = buffer }, Page), not worked and tostring(problem) or nil
end

function Page:is_loaded()
  return api.nvim_buf_is_loaded(self.buffer)
end

---Where the buffer ends: row and column, from 0.
---@return integer row
---@return integer column
function Page:ending()
  local row = api.nvim_buf_line_count(self.buffer) - 1
  return row, #api.nvim_buf_get_lines(self.buffer, row, row + 1, false)[1]
end

---Marks a place. Text that comes in at it goes before it, or behind it.
---@param row integer
---@param column integer
---@param is_before boolean
---@return integer mark
function Page:mark(row, column, is_before)
  return api.nvim_buf_set_extmark(self.buffer, MARKS, row, column, { right_gravity = is_before })
end

---Where a mark is now, which is a place that exists.
---@param mark integer
---@return integer row
---@return integer column
function Page:where(mark)
  local place = api.nvim_buf_get_extmark_by_id(self.buffer, MARKS, mark, {})
  local row, column = self:ending()
  if place[1] and place[1] < row then
    local line = api.nvim_buf_get_lines(self.buffer, place[1], place[1] + 1, false)[1]
    return place[1], math.min(place[2], #line)
  elseif place[1] == row then
    return row, math.min(place[2], column)
  end
  return row, column
end

---Whether somebody else has changed the buffer since our last change.
---@return boolean
function Page:is_touched()
  return self.tick ~= api.nvim_buf_get_changedtick(self.buffer)
end

---What comes next is a step of its own to undo.
function Page:begin_step()
  self.tick = nil
end

-- Puts lines in the place of a part of the buffer, as part of our last step if
-- that was the last change there is. False when now is not the time, such as
-- while a completion is going on.
function Page:replace(row, column, last_row, last_column, lines)
  local buffer = self.buffer
  local is_locked = not vim.bo[buffer].modifiable
  if is_locked then
    vim.bo[buffer].modifiable = true
  end
  local worked = pcall(function()
    if self:is_touched() then
      undo.break_step(buffer)
    else
      undo.join(buffer)
    end
    api.nvim_buf_set_text(buffer, row, column, last_row, last_column, lines)
  end)
  if is_locked then
    vim.bo[buffer].modifiable = false
  end
  self.tick = worked and api.nvim_buf_get_changedtick(buffer) or nil
  return worked
end

---From now on text goes to the end of the buffer.
function Page:go_to_end()
  if self.place then
    api.nvim_buf_del_extmark(self.buffer, MARKS, self.place)
  end
  local row, column = self:ending()
  self.place = self:mark(row, column, true)
end

-- A cursor is not moved under the hands of somebody who types or selects.
local function is_free(window)
  return window ~= api.nvim_get_current_win() or api.nvim_get_mode().mode:find("^[nctr]") ~= nil
end

---Adds text where the answer ends. A cursor on its last line stays at the end,
---any other stays where it is.
---@param text string
---@return boolean worked
function Page:write(text)
  local row, column = self:where(self.place)
  local following = {}
  for _, window in ipairs(vim.fn.win_findbuf(self.buffer)) do
    if api.nvim_win_get_cursor(window)[1] == row + 1 and is_free(window) then
      following[#following + 1] = window
    end
  end
  local lines = vim.split(text, "\n", { plain = true })
  if not self:replace(row, column, row, column, lines) then
    return false
  end
  local last, last_column = self:where(self.place)
  for _, window in ipairs(following) do
    pcall(api.nvim_win_set_cursor, window, { last + 1, last_column })
  end
  return true
end

---The line ends that are missing for an empty line where the answer ends.
---@return string
function Page:gap()
  local row, column = self:where(self.place)
  if column > 0 then
    return "\n\n"
  end
  return row > 0 and self:lines(row - 1, row)[1] ~= "" and "\n" or ""
end

---The lines from a row on.
---@param row integer
---@param last? integer the row behind the last one
---@return string[]
function Page:lines(row, last)
  return api.nvim_buf_get_lines(self.buffer, row, last or -1, false)
end

---Shows a note behind a line that is what it was; it is no text.
---@param mark integer of the line
---@param line string what has to be in it
---@param text string "": no note
---@param group string
function Page:annotate(mark, line, text, group)
  local row = self:where(mark)
  local is_there = self:lines(row, row + 1)[1] == line and text ~= ""
  api.nvim_buf_set_extmark(self.buffer, MARKS, row, 0, {
    id = mark, virt_text = is_there and { { text, group } } or nil, right_gravity = false,
  })
end

return page
