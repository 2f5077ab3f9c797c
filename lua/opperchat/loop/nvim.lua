-- luacheck: read globals vim
---Requests under Neovim's own loop: nothing of the editor waits for them.
---
---    require("opperchat.loop.nvim").attach()
---    chat:start("Hi", { on_delta = function(text) ... end })
---
---Handlers and tasks run through `vim.schedule`, so all of `vim.api` is allowed
---in them. What arrives while Neovim is busy is handed over together.
local adapter = require "opperchat.loop.adapter"
local errors = require "opperchat.errors"
local uv_loop = require "opperchat.loop.uv"

local nvim = {}

if not vim then
  errors.misuse("opperchat.loop.nvim runs inside Neovim; luv has opperchat.loop.luv")
end

local loop = {
  name = "Neovim's loop",
  watch = uv_loop.watcher(vim.uv or vim.loop, vim.schedule),
  report = function(err)
    vim.notify("opperchat: " .. tostring(err), vim.log.levels.ERROR)
  end,
}

---Lets Neovim's loop move a client forward, or all clients: those that exist
---and those made later. A client that is attached already stays so, once.
---
---What handlers and tasks raise is shown with `vim.notify`.
---@param client? opperchat.Client nil: all
---@return fun() detach may be called again
function nvim.attach(client)
  return adapter.attach(loop, client)
end

return nvim
