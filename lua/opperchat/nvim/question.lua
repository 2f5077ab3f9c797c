---The question that the user writes below the last heading, from there to where
---it is asked. Adds its methods to a chat.
local Chat = require "opperchat.nvim.chat_class"
local headings = require "opperchat.nvim.headings"
local markdown = require "opperchat.nvim.markdown"
local notify = require "opperchat.nvim.notify"
local undo = require "opperchat.nvim.undo"

local api = vim.api

-- Takes the questions out of the conversation whose answers the user has undone.
-- Returns the text of the first of them.
function Chat:forget_undone()
  local text
  local undone = #self.turns > 0 and undo.undone(self.page.buffer)
  while #self.turns > 0 and undone[self.turns[#self.turns].step] do
    local turn = table.remove(self.turns)
    if turn.is_kept then
      local kept, err = self.conversation:undo()
      if not kept then
        self.turns[#self.turns + 1] = turn
        error(err, 0)
      end
    end
    text, self.prompt = turn.text, turn.prompt
  end
  return text
end

-- Where the next question begins, right below its heading; nil when there is no
-- heading and the buffer cannot be changed now. Undo takes the end of an answer
-- away; redo puts the text back, and the mark stays where undo has left it.
function Chat:question_row()
  local own, turn = self.page, self.turns[#self.turns]
  local is_open = turn and (not turn.ending or undo.undone(own.buffer)[turn.ending])
  if is_open and not self:conclude(turn) then
    return nil
  end
  local row = own:where(self.prompt)
  local first = turn and own:where(turn.note) + 1 or own:where(self.first)
  if row > first and own:lines(row - 1, row)[1] == headings.QUESTION then
    return row
  end
  local index = markdown.find_last(own:lines(first), headings.QUESTION)
  if not index and row >= first then
    return row -- the user has changed the heading
  elseif not index then
    own:go_to_end()
    return self:write_heading() and own:where(self.prompt) or nil
  end
  row = first + index
  local last, column = own:ending()
  if row > last and not own:replace(last, column, last, column, { "", "" }) then
    return nil
  end
  self.prompt = own:mark(row, 0, false)
  return row
end

-- What the user has written below the last heading.
function Chat:draft()
  local row = self:question_row()
  return row and markdown.trim(self.page:lines(row))
end

-- Puts lines below the last heading, in the place of what is there.
function Chat:set_draft(lines)
  local row = self.page:where(self.prompt)
  local last, column = self.page:ending()
  self.page:begin_step()
  return self.page:replace(row, 0, last, column, vim.list_extend({ "" }, lines))
end

-- Whether the lines are what stands below the last heading.
function Chat:is_draft(lines)
  local there = self.page:lines((self.page:where(self.prompt)))
  if there[1] == "" then
    table.remove(there, 1)
  end
  return vim.deep_equal(lines, there)
end

-- The lines of a question: what is there already, the question, the context.
local function compose(...)
  local all = {}
  for _, part in ipairs{ ... } do
    if #part > 0 then
      if #all > 0 then
        all[#all + 1] = ""
      end
      vim.list_extend(all, part)
    end
  end
  return all
end

local function lines_of(question)
  return markdown.trim(vim.split((question or ""):gsub("\r\n?", "\n"), "\n", { plain = true }))
end

-- Whether a question can be written now; says why not.
function Chat:is_ready()
  if self.is_closed then
    notify.show("this conversation is closed; :Opper begins another", "WARN")
  elseif self:is_busy() then
    notify.show("an answer is on its way; :OpperStop ends it", "WARN")
  else
    return true
  end
  return false
end

local function refused()
  notify.show("the buffer cannot be changed now", "WARN")
  return false
end

---Puts a question below the last heading, to be completed there.
---@param context string[] lines of Markdown
---@return boolean worked
function Chat:prepare(context)
  if not self:is_ready() then
    return false
  end
  self:forget_undone()
  local draft = self:draft()
  if not draft then
    return refused()
  end
  local lines = compose(draft, context)
  vim.list_extend(lines, { "", "" })
  return self:set_draft(lines) or refused()
end

---Asks what is below the last heading, and what is given.
---@param question? string
---@param context? string[] lines of Markdown
---@return boolean asked
function Chat:ask(question, context)
  if not self:is_ready() then
    return false
  end
  local undone = self:forget_undone()
  local draft, given = self:draft(), compose(lines_of(question), context or {})
  if not draft then
    return refused()
  end
  if undone and #given > 0 and table.concat(draft, "\n") == undone then
    draft = {} -- a new question in the place of the one that was taken back
  end
  local lines = compose(draft, given)
  if #lines == 0 then
    notify.show("nothing to send: write below the last heading", "WARN")
    return false
  end
  local own = self.page
  local is_set = self:is_draft(lines) or self:set_draft(lines)
  local turn = {
    prompt = self.prompt, text = table.concat(lines, "\n"), pending = {}, tail = "",
    heading = headings.answer(), is_kept = false,
  }
  own:begin_step()
  own:go_to_end()
  for _, window in ipairs(vim.fn.win_findbuf(own.buffer)) do
    if window == api.nvim_get_current_win() or window == self.shown then
      api.nvim_win_set_cursor(window, { own:ending() + 1, 0 })
    end
  end
  if not (is_set and own:write("\n\n" .. turn.heading .. "\n\n")) then
    return refused()
  end
  self.turns[#self.turns + 1] = turn
  turn.step = undo.step(own.buffer)
  turn.note = own:mark(own:where(own.place) - 2, 0, false)
  self.status = ""
  self:set_status("waiting")
  self:start(turn)
  return true
end
