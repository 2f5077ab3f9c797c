--- Starts examples/offline_server.lua as a process of its own.
--
--   local offline = dofile("examples/support/offline.lua").start()
--   ... talk to offline.url ...
--   offline:stop()

local socket = require "socket"

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"

local offline = {}
offline.__index = offline

-- The interpreter this program runs on; lua5.4 inside a host such as Neovim.
local function interpreter()
  local i = 0
  while type(arg) == "table" and arg[i - 1] do
    i = i - 1
  end
  return i < 0 and arg[i] or "lua5.4"
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function free_port()
  local probe = assert(socket.bind("127.0.0.1", 0))
  local _, port = probe:getsockname()
  probe:close()
  return tonumber(port)
end

local function is_listening(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then
    connection:close()
  end
  return connection ~= nil
end

--- Starts the server on a free loopback port; returns when it listens.
---
--- Its standard input is a pipe from this process. Closing the pipe ends the
--- server, and so does the end of this process, however it comes about.
---@param lua? string the interpreter to run it on; the one of this program when left out
---@param pace? number what its pauses are multiplied with, 1 when left out
---@return { url: string, port: integer, stop: fun(self) }
function offline.start(lua, pace)
  -- Somebody else may take the port between the look and the use of it.
  for _ = 1, 3 do
    local port = free_port()
    local pipe = assert(io.popen("exec " .. quote(lua or interpreter()) .. " "
      .. quote(here .. "../offline_server.lua") .. " --port " .. port
      .. " --pace " .. (pace or 1) .. " >/dev/null", "w"))
    for _ = 1, 250 do
      if is_listening(port) then
        local url = "http://127.0.0.1:" .. port .. "/v1"
        return setmetatable({ url = url, port = port, pipe = pipe }, offline)
      end
      socket.sleep(0.02)
    end
    pipe:close()
  end
  error("the offline server did not start", 2)
end

--- Ends the server; safe to call twice.
function offline:stop()
  if self.pipe then
    self.pipe:close()
    self.pipe = nil
  end
end

return offline
