--- Scripts in a Neovim of their own, without a terminal.
--
--   local nvim = require "spec.support.nvim"
--   local results = nvim.run("results.version = vim.version().minor", {
--     folder = folder, url = server.url, arguments = "-u NONE",
--   })
--
-- A script is a coroutine of Neovim's own loop, which is idle while it waits:
-- keys are dealt with as if somebody typed them. It has `results`, `sleep`,
-- `wait_for`, `keys`, `lines`, `messages` and `processor_time`.

local cjson = require("cjson").new()
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"

local nvim = {}

local PRELUDE = [[
local uv = vim.loop
local results = {}

local thread
local function sleep(seconds)
  vim.defer_fn(function()
    coroutine.resume(thread)
  end, seconds * 1000)
  coroutine.yield()
end

local function wait_for(what, condition)
  local deadline = uv.hrtime() + 15e9
  while not condition() do
    if uv.hrtime() > deadline then
      error("waited too long for " .. what)
    end
    sleep(0.005)
  end
end

-- Not nvim_input: there <C-c> is an interrupt while this script runs.
local function keys(text)
  text = vim.api.nvim_replace_termcodes(text, true, true, true)
  vim.api.nvim_feedkeys(text, "t", false)
  sleep(0.05)
end

local function lines(buffer)
  return table.concat(vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false), "\n")
end

local function messages()
  return vim.fn.execute("messages")
end

local function processor_time()
  local usage = uv.getrusage()
  return usage.utime.sec + usage.stime.sec + (usage.utime.usec + usage.stime.usec) / 1e6
end

local function finish()
  io.stdout:write("RESULT ", vim.json.encode(results), "\n")
  io.stdout:flush()
  vim.cmd("qa!")
end

local function script()
  %s
end

thread = coroutine.create(function()
  local ok, err = xpcall(script, debug.traceback)
  results.failure = not ok and tostring(err) or nil
  finish()
end)
vim.schedule(function()
  coroutine.resume(thread)
end)
]]

nvim.root = shell.output_of("pwd"):gsub("\n$", "")

--- Whether there is a Neovim.
---@return boolean
function nvim.is_there()
  return shell.succeeds("nvim --version")
end

--- Builds the module for it: its Lua is LuaJIT, whichever the tests run on.
function nvim.build()
  -- the make that runs us may have other settings, for a sanitizer
  shell.must("env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES make LUA=luajit")
end

-- So that nothing of the tests' own settings is in it.
local CLEAN = "env -u LD_PRELOAD -u LUA_PATH -u LUA_CPATH -u OPPER_API_KEY -u OPPER_BASE_URL "

--- Runs a script; returns what it put into `results`, and as `output` all that
--- Neovim wrote.
---@param script string
---@param options { folder: string, url: string, arguments: string, environment: string? }
---@return table results
function nvim.run(script, options)
  local path = shell.write_file(options.folder .. "/script.lua", (PRELUDE:gsub("%%s", function()
    return script
  end)))
  local output, status = shell.run(CLEAN .. "HOME=" .. options.folder
    .. " XDG_CONFIG_HOME= XDG_DATA_HOME= OPPER_BASE_URL=" .. options.url .. " "
    .. (options.environment or "") .. " timeout -k 5 40 nvim --headless -i NONE -n "
    .. options.arguments .. " -c 'luafile " .. path .. "'")
  assert(status == "0", output)
  local text = output:match("RESULT ([^\n]*)\n")
  assert(text, output)
  local results = cjson.decode(text)
  assert(not results.failure, results.failure)
  results.output = output
  return results
end

--- The chunks of a streamed answer in the given pieces, for `server:stream`.
---@param pieces string[]
---@return string[] chunks
function nvim.chunks(pieces)
  local chunks = {}
  for i, text in ipairs(pieces) do
    chunks[i] = sse.delta(cjson.encode({ content = text }))
  end
  chunks[#chunks + 1] = sse.finish() .. sse.line("", ',"usage":{"prompt_tokens":20,'
    .. '"completion_tokens":10,"total_tokens":30}') .. "\n\n" .. sse.done
  return chunks
end

--- A long answer in pieces: word1 word2 ...
---@param count integer
---@return string[] pieces
function nvim.words(count)
  local list = {}
  for i = 1, count do
    list[i] = "word" .. i .. (i % 5 == 0 and "\n" or " ")
  end
  return list
end

return nvim
