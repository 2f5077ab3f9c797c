-- luacheck: globals vim
--- Ask a model from within Neovim (0.7 or newer), in one file to copy from.
--
--   :Opper What does nvim_buf_set_text do?    asks; again: a follow-up in the same conversation
--   :Opper! ...                               begins a new conversation
--   :OpperStop                                stops the answer
--
-- In the buffer of the answers: <CR> asks for a follow-up, <C-c> stops, q closes the window.
--
-- Put this file into a `plugin` folder of your 'runtimepath'. The module has to be built for
-- Lua 5.1, as Neovim's Lua is one, and to be found by `require`:
--
--   luarocks --lua-version 5.1 make, or in this tree:
--   make LUA=luajit && eval "$(make -s env LUA=luajit)" && nvim --cmd 'set rtp^=examples/nvim'
--
-- Settings: OPPER_API_KEY, and g:opper_model, g:opper_system.

if vim.g.loaded_opper then
  return
end
vim.g.loaded_opper = true

local marks = vim.api.nvim_create_namespace("opper")

-- The conversation on show: { chat =, buffer =, place = extmark where the text goes,
-- request = while an answer is on its way }.
local current

local function notify(message, level)
  vim.notify("Opper: " .. message, vim.log.levels[level])
end

-- The buffer -------------------------------------------------------------------------------

-- Shown by the status line of the window.
local function set_status(session, text)
  if not session.is_closed then
    vim.b[session.buffer].opper_status = text
    vim.cmd("redrawstatus!")
  end
end

-- Adds text where the answer ends, however many lines it has. An extmark keeps the place while
-- the buffer is edited elsewhere; a cursor at the end stays there, any other stays where it is.
local function add(session, text)
  local buffer = session.buffer
  if session.is_closed then
    return
  end
  local place = vim.api.nvim_buf_get_extmark_by_id(buffer, marks, session.place, {})
  local row, column = place[1], place[2]
  local following = {}
  for _, window in ipairs(vim.fn.win_findbuf(buffer)) do
    if vim.api.nvim_win_get_cursor(window)[1] == row + 1 then
      following[#following + 1] = window
    end
  end
  -- One answer is one step to undo, unless the user undid something in between.
  if session.is_joining then
    vim.api.nvim_buf_call(buffer, function()
      pcall(vim.cmd, "undojoin")
    end)
  end
  session.is_joining = true
  vim.api.nvim_buf_set_text(buffer, row, column, row, column,
    vim.split(text, "\n", { plain = true }))
  place = vim.api.nvim_buf_get_extmark_by_id(buffer, marks, session.place, {})
  for _, window in ipairs(following) do
    vim.api.nvim_win_set_cursor(window, { place[1] + 1, place[2] })
  end
end

-- Shows the buffer in a window; the current one stays current when it shows it already.
local function show(session)
  if vim.api.nvim_get_current_buf() == session.buffer then
    return
  end
  local window = vim.fn.win_findbuf(session.buffer)[1]
  if window then
    vim.api.nvim_set_current_win(window)
    return
  end
  vim.cmd("botright split")
  vim.api.nvim_win_set_buf(0, session.buffer)
  vim.cmd("setlocal wrap linebreak nonumber norelativenumber signcolumn=no")
  vim.opt_local.statusline = " Opper %=%{get(b:, 'opper_status', '')} "
end

-- Asking -----------------------------------------------------------------------------------

local function stop(session)
  if session and session.request then
    session.request:cancel()
  end
end

local function summary(reply)
  local parts, usage = {}, reply.usage or {}
  if reply.timing.first_token then
    parts[1] = ("%.1f s"):format(reply.timing.first_token)
  end
  if usage.total_tokens then
    parts[#parts + 1] = usage.total_tokens .. " tokens"
  end
  if usage.cost then
    parts[#parts + 1] = ("$%.5f"):format(usage.cost)
  end
  return table.concat(parts, ", ")
end

local function add_note(session, note)
  add(session, (session.has_text and "\n\n" or "") .. note)
end

-- Called once for each request, however it ends.
local function finish(session, reply, err)
  session.request = nil
  if reply then
    set_status(session, summary(reply))
  elseif err.kind == "cancelled" then
    add_note(session, "*(stopped)*")
    set_status(session, "stopped")
  else
    add_note(session, "*(failed)*")
    set_status(session, "failed")
    notify(err.message, "ERROR")
  end
end

local function ask(session, question)
  if session.request then
    notify("an answer is on its way; <C-c> stops it", "WARN")
    return
  end
  show(session)
  -- Behind all that is there, also behind what the user has written.
  local buffer = session.buffer
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  local line = vim.api.nvim_buf_get_lines(buffer, last, last + 1, false)[1]
  session.place = vim.api.nvim_buf_set_extmark(buffer, marks, last, #line, { id = session.place })
  vim.api.nvim_win_set_cursor(0, { last + 1, #line })
  session.is_joining, session.has_text = false, false
  local is_empty = last == 0 and line == ""
  add(session, (is_empty and "" or "\n\n") .. "> " .. question:gsub("\n", "\n> ") .. "\n\n")

  local request, err = session.chat:start(question, {
    -- What the reader sees of an answer that was stopped, the model remembers too.
    keep_partial = true,
    on_delta = function(text)
      session.has_text = true
      add(session, text)
    end,
    on_done = function(reply, failure)
      finish(session, reply, failure)
    end,
  })
  if not request then
    finish(session, nil, err)
    return
  end
  session.request = request
  set_status(session, "answering, <C-c> stops")
end

local function new_session()
  local opperchat = require "opperchat"
  require("opperchat.loop.nvim").attach()

  local buffer = vim.api.nvim_create_buf(true, true)
  local session = {
    buffer = buffer,
    chat = opperchat.conversation{
      model = vim.g.opper_model or "openai/gpt-5-mini",
      system = vim.g.opper_system or "You are a concise assistant inside a text editor. "
        .. "Answer in Markdown.",
    },
  }
  vim.bo[buffer].filetype = "markdown"
  vim.api.nvim_create_autocmd("BufUnload", {
    buffer = buffer,
    once = true,
    callback = function()
      session.is_closed = true
      stop(session)
      if current == session then
        current = nil
      end
    end,
  })
  local function map(key, what, fn)
    vim.keymap.set("n", key, fn, { buffer = buffer, desc = "Opper: " .. what })
  end
  map("<C-c>", "stop the answer", function()
    stop(session)
  end)
  map("q", "close the window", "<Cmd>close<CR>")
  map("<CR>", "ask for a follow-up", ":Opper ")
  return session
end

vim.api.nvim_create_user_command("Opper", function(command)
  if not current or command.bang then
    local ok, session = pcall(new_session)
    if not ok then
      notify(tostring(session), "ERROR")
      return
    end
    stop(current)
    current = session
  end
  ask(current, command.args)
end, { nargs = "+", bang = true, desc = "Ask a model; with ! in a new conversation" })

vim.api.nvim_create_user_command("OpperStop", function()
  stop(current)
end, { desc = "Stop the answer that is on its way" })
