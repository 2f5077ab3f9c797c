--- Runs one program of the documentation the way its reader would, but with
-- every client talking to the server in OPPER_BASE_URL.
--
--   OPPER_BASE_URL=... lua5.4 spec/support/docs_host.lua block.lua
--
-- Programs that live in LÖVE or Neovim get a small stand-in of it, and are then
-- driven until nothing is under way. Prints "skipped: ..." and ends with 0 when
-- a module that only this program needs is not installed.

local path = assert(arg[1], "which block?")
local file = assert(io.open(path))
local source = file:read("*a")
file:close()

-- What is about the plugin runs in Neovim itself, see there.
if source:find("opperchat%.nvim[\"']") then
  os.exit(dofile("spec/support/docs_nvim.lua")(path))
end

for name in source:gmatch("require%s*%(?%s*[\"']([%w_.]+)[\"']") do
  local needed = name:match("^opperchat%.loop%.(%w+)$") or name
  if needed == "nvim" then
    needed = "luv"
  end
  if not needed:find("^opperchat") and not pcall(require, needed) then
    print("skipped: no " .. needed)
    os.exit(0)
  end
end

-- Hosts ---------------------------------------------------------------------

local hosts = {}

-- Frames until there is nothing to wait for; a key is pressed in the first.
function hosts.love(opperchat)
  local shown
  local mark = os.tmpname()
  local saves = mark .. ".saves"
  love = { -- luacheck: ignore 111
    graphics = { printf = function(text) shown = text end },
    filesystem = {
      getSaveDirectory = function() return saves end,
      createDirectory = function(name) os.execute("mkdir -p '" .. saves .. "/" .. name .. "'") end,
    },
  }
  return function()
    local love = love -- luacheck: ignore 113
    if love.keypressed then
      love.keypressed("space")
    end
    repeat
      local active = opperchat.poll()
      love.update(0.016)
      love.draw()
      opperchat.sleep(0.005)
    until active == 0
    assert(shown and #shown > 0, "nothing was drawn")
    print("drawn at last: " .. shown)
    os.execute("rm -rf '" .. mark .. "' '" .. saves .. "'")
  end
end

-- Neovim's loop is luv's; what it schedules runs between two turns of it.
function hosts.vim(opperchat)
  local uv = require "luv"
  local scheduled, commands, buffers, notified = {}, {}, { {} }, {}
  vim = { -- luacheck: ignore 111
    uv = uv,
    log = { levels = { ERROR = 4 } },
    cmd = function() buffers[#buffers + 1] = {} end,
    schedule = function(fn) scheduled[#scheduled + 1] = fn end,
    notify = function(text, level)
      assert(level == nil, text)
      notified[#notified + 1] = text
    end,
    split = function(text, separator)
      local lines = {}
      for line in (text .. separator):gmatch("(.-)" .. separator) do
        lines[#lines + 1] = line
      end
      return lines
    end,
    api = {
      nvim_create_user_command = function(name, fn) commands[name] = fn end,
      nvim_get_current_buf = function() return #buffers end,
      nvim_buf_get_lines = function(buffer, first)
        assert(first == -2, "only the last line")
        return { buffers[buffer][#buffers[buffer]] or "" }
      end,
      nvim_buf_set_lines = function(buffer, first, _, _, lines)
        assert(first == 0 or first == -2, "only all lines or the last")
        local all = first == 0 and {} or buffers[buffer]
        all[#all] = nil
        for _, line in ipairs(lines) do
          all[#all + 1] = line
        end
        buffers[buffer] = all
      end,
    },
  }
  return function()
    for _, fn in pairs(commands) do
      fn{ args = "Hello" }
    end
    repeat
      uv.run("nowait")
      local due = scheduled
      scheduled = {}
      for _, fn in ipairs(due) do
        fn()
      end
    until #due == 0 and not uv.loop_alive()
    assert(opperchat.poll() == 0, "Neovim's loop left something under way")
    assert(#notified > 0 or table.concat(buffers[#buffers]) ~= "", "nothing was shown")
  end
end

-- The program -----------------------------------------------------------------

local make_host
-- a file may be called love.png
local words = source:gsub('"[^"\n]*"', '""')
for name, make in pairs(hosts) do
  if words:find("%f[%w_]" .. name .. "%.") then
    make_host = make
  end
end

-- The stand-in has to be there before opperchat is: it looks for `vim`.
local opperchat = setmetatable({}, {
  __index = function(_, key)
    return require("opperchat")[key]
  end,
})
local drive = make_host and make_host(opperchat)

local new_client = opperchat.client
require("opperchat").client = function(options)
  local given = {}
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  if given.base_url then
    given.base_url = os.getenv("OPPER_BASE_URL")
  end
  return new_client(given)
end

-- The one file of which the pages say that it is the reader's own; the others have
-- to be there.
local audio = require("opperchat").audio
require("opperchat").audio = function(given, options)
  return audio(given == "question.wav" and { data = "RIFF\4\0\0\0WAVE" } or given, options)
end

-- What it was run with is not the block's business.
arg = { [0] = path } -- luacheck: ignore 121
assert(loadfile(path))()
if drive then
  drive()
end
if opperchat.poll() > 0 then
  io.stderr:write("the program ends while something is under way\n")
  os.exit(1)
end
