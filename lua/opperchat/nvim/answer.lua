---The answer to a question, from sending the question to the heading of the next
---one. Adds its methods to a chat.
local Chat = require "opperchat.nvim.chat_class"
local conversation = require "opperchat.nvim.conversation"
local headings = require "opperchat.nvim.headings"
local markdown = require "opperchat.nvim.markdown"
local notify = require "opperchat.nvim.notify"
local undo = require "opperchat.nvim.undo"

local api = vim.api

-- Milliseconds between tries to write into a buffer that cannot be written to,
-- and how many there are.
local RETRY, RETRIES = 100, 100

-- Writes what has arrived, all of it at once. False when it has to wait.
function Chat:flush(turn, is_last)
  if self.page:is_touched() and self:is_undone(turn) then
    -- whoever takes back the beginning does not want the rest
    if self.request then
      self.request:cancel()
    end
    return true
  end
  local text = table.concat(turn.pending)
  local held = not is_last and text:match("\r$") or ""
  -- a line of a buffer has no end of line in it
  local clean = text:sub(1, #text - #held):gsub("\r\n?", "\n")
  if turn.tail == "" then
    clean = clean:gsub("^\n+", "")
  end
  if clean ~= "" then
    if not self.page:write(clean) then
      return false
    end
    turn.tail = (turn.tail .. clean):sub(-2)
  end
  turn.pending = { held ~= "" and held or nil }
  return true
end

function Chat:receive(turn, text)
  turn.pending[#turn.pending + 1] = text
  if not turn.is_scheduled then
    turn.is_scheduled = true
    -- all that arrives in this turn of the loop together
    vim.schedule(function()
      turn.is_scheduled = false
      if not self.is_closed and not turn.is_over then
        self:flush(turn)
      end
    end)
  end
end

-- The end of a code block that an answer ends in.
function Chat:closing_fence(turn)
  local own = self.page
  local last, column = own:where(own.place)
  local open = markdown.open_fence(own:lines(own:where(turn.note) + 1, last + 1))
  return open and (column > 0 and "\n" or "") .. open or ""
end

local function summary(reply)
  local parts, usage = {}, reply.usage or {}
  if reply.timing and reply.timing.total then
    parts[1] = ("%.1f s"):format(reply.timing.total)
  end
  if usage.total_tokens then
    parts[#parts + 1] = usage.total_tokens .. " tokens"
  end
  if usage.cost then
    parts[#parts + 1] = ("$%.5f"):format(usage.cost)
  end
  return table.concat(parts, ", ")
end

-- What is to be said below an answer, and the status; nil: nothing.
local function remark(turn, reply, err)
  if err and err.kind == "cancelled" then
    return "*(stopped)*", "stopped"
  elseif err then
    local text = tostring(err):gsub("%s+", " "):gsub("%c", "?")
    return "> **Error:** " .. text, "failed"
  elseif reply.refusal and turn.tail == "" then
    return reply.refusal:gsub("\r\n?", "\n"), summary(reply)
  elseif reply.finish_reason == "length" or reply.finish_reason == "content_filter" then
    return ("*(cut off: %s)*"):format(reply.finish_reason), summary(reply)
  elseif turn.tail == "" then
    return "*(an empty answer)*", summary(reply)
  end
  return nil, summary(reply)
end

-- Whether a question that failed left something in the conversation.
function Chat:has_kept(err)
  local partial = err.partial and err.partial.content
  local last = partial and self.conversation and self.conversation:last()
  return last ~= nil and partial ~= "" and last.role == "assistant" and last.content == partial
end

-- Writes the heading of the next question where the answer ends.
function Chat:write_heading()
  local own = self.page
  if not own:write(own:gap() .. headings.QUESTION .. "\n\n") then
    return false
  end
  self.prompt = own:mark(own:where(own.place) - 1, 0, false)
  return true
end

-- Writes what belongs below an answer: the rest of it, a remark, and the heading
-- of the next question. False when the buffer cannot be changed now.
function Chat:conclude(turn)
  local own = self.page
  if not self:flush(turn, true) then
    return false
  end
  local fence = self:closing_fence(turn)
  if fence ~= "" then
    own:write(fence)
  end
  if turn.remark then
    own:write(own:gap() .. turn.remark)
  end
  if not self:write_heading() then
    return false
  end
  turn.ending = undo.step(own.buffer)
  return true
end

-- Called once for each question, however it ends; again when the buffer cannot
-- be written to now.
function Chat:finish(turn, reply, err, tries)
  self.request = nil
  if self.is_closed then
    return
  end
  if not self:flush(turn, true) and (tries or 0) < RETRIES then
    vim.defer_fn(function()
      self:finish(turn, reply, err, (tries or 0) + 1)
    end, RETRY)
    return
  end
  turn.is_over = true
  turn.is_kept = reply ~= nil or self:has_kept(err)
  local text, status = remark(turn, reply, err)
  turn.remark = text
  local is_undone = self:is_undone(turn)
  if is_undone then
    -- should it be redone, the next question comes with the rest
    self:set_status("")
  else
    self:conclude(turn)
    self:set_status(status)
  end
  if err and err.kind ~= "cancelled" and not is_undone then
    notify.show(err)
  end
  api.nvim_exec_autocmds("User", { pattern = "OpperDone", modeline = false })
end

-- What was raised about the options, in the place of an error of a request: no
-- server has said it.
local function mistake(problem)
  local text = tostring(notify.without_place(problem))
  return setmetatable({ kind = "misuse" }, {
    __tostring = function()
      return text
    end,
  })
end

-- Sends a question that is in the buffer already.
function Chat:start(turn)
  local worked, request, err = pcall(function()
    if not self.conversation then
      self.conversation, self.journal = conversation.open()
    end
    return self.conversation:start(turn.text, {
      on_delta = function(text)
        self:set_status("answering")
        self:receive(turn, text)
      end,
      on_event = function(event)
        if event.type == "reasoning" then
          self:set_status("thinking")
        end
      end,
      on_retry = function(event)
        self:set_status(("sent again in %.0f s"):format(math.ceil(event.wait)))
      end,
      on_done = function(reply, failure)
        self:finish(turn, reply, failure)
      end,
    })
  end)
  if not worked then
    err = type(request) == "table" and request or mistake(request)
    request = nil
  end
  self.request = request
  if not request then
    self:finish(turn, nil, err)
  end
end

---Ends the answer that is on its way; what has arrived of it stays.
---@return boolean stopped
function Chat:stop()
  if not self.request then
    return false
  end
  self.request:cancel()
  return true
end
