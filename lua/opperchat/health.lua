---`:checkhealth opperchat`: what the plugin needs, one thing after the other.
local build = require "opperchat.nvim.build"
local config = require "opperchat.nvim.config"

local health = {}

-- Seconds for each request to the server; the editor waits for them.
local TIMEOUT = 5

-- Milliseconds for one through Neovim's loop, to ourselves.
local LOOP_TIMEOUT = 3000

-- The names are Neovim's since 0.10, with those of before behind them.
local function reporter(name)
  return function(...)
    local api = vim.health or require "health"
    return (api[name] or api["report_" .. name])(...)
  end
end

local start, ok, info = reporter "start", reporter "ok", reporter "info"
local warn, fail = reporter "warn", reporter "error"

local function check_neovim()
  local version = vim.version()
  local text = ("Neovim %d.%d.%d"):format(version.major, version.minor, version.patch)
  if vim.fn.has("nvim-0.7") == 1 then
    ok(text)
  else
    fail(text, { "Neovim 0.7 or later is needed" })
  end
end

local function check_build()
  local is_loaded, problem = build.check()
  if is_loaded then
    ok("the C part is built for this Lua: " .. (build.path() or "opperchat.core"))
  else
    fail(problem, { "in a shell: " .. build.command(),
      "it needs a C compiler, make, libcurl and LuaJIT, both with their headers" })
  end
  return is_loaded
end

-- A server of one answer, on this machine and in this process.
local function answer_once(text)
  local uv = vim.uv or vim.loop
  local body = vim.json.encode{ choices = { {
    index = 0, finish_reason = "stop", message = { role = "assistant", content = text },
  } } }
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(1, function()
    local peer = uv.new_tcp()
    server:accept(peer)
    peer:read_start(function(_, data)
      if not data then
        peer:close()
      elseif not peer:is_closing() then
        peer:write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
          .. "Content-Length: " .. #body .. "\r\n\r\n" .. body, function()
            peer:shutdown()
          end)
      end
    end)
  end))
  return server, server:getsockname().port
end

-- Whether Neovim's loop moves a request: one to ourselves.
local function check_loop()
  local opperchat = require "opperchat"
  local server, port = answer_once("pong")
  local client = opperchat.client{
    base_url = ("http://127.0.0.1:%d"):format(port), api_key = "", proxy = "", max_retries = 0,
  }
  local detach = require("opperchat.loop.nvim").attach(client)
  local reply, err
  opperchat.conversation{ client = client }:start("ping", {
    stream = false,
    on_done = function(...)
      reply, err = ...
    end,
  })
  vim.wait(LOOP_TIMEOUT, function()
    return reply or err
  end, 10)
  detach()
  client:close()
  server:close()
  if reply and reply.content == "pong" then
    ok("requests move in Neovim's own loop")
  else
    fail("a request does not move in Neovim's loop: " .. tostring(err or "no answer in time"))
  end
end

local SHOWN = { ok = ok, skip = info, warn = warn, fail = fail }

local function check_server()
  local opperchat = require "opperchat"
  local client = config.current.client
  if type(client) == "table" then
    local worked, made = pcall(opperchat.client, client)
    if not worked then
      fail("option 'client': " .. tostring(made):gsub("^[^\n]-%.lua:%d+: ", ""))
      return
    end
    client = made
  end
  -- asks the server for its models, which costs nothing, and no model anything
  local report = opperchat.doctor{
    client = client, stream = false, timeout = TIMEOUT, write = false,
  }
  for _, line in ipairs(report.lines) do
    if line.name ~= "answer" then
      SHOWN[line.status](line.name .. ": " .. line.text, line.advice and { line.advice } or nil)
    end
  end
  if client ~= config.current.client and client then
    client:close()
  end
end

local function check_settings()
  local folder = config.journal_folder()
  ok("model: " .. config.current.model)
  if not folder then
    info("journal: off")
  elseif vim.fn.isdirectory(folder) == 1 and vim.fn.filewritable(folder) ~= 2 then
    fail("journal: cannot write to " .. folder)
  else
    ok("journal: " .. folder)
  end
end

function health.check()
  start("opperchat: Neovim")
  check_neovim()
  check_settings()
  if not check_build() then
    return
  end
  check_loop()
  start("opperchat: library and server")
  check_server()
end

return health
