--- A server of HTTP/2 that can be told to misbehave: see http2_server.py.
--
--   local server, problem = Http2.start(folder, { streams = 4 })
--   server.url                    "https://127.0.0.1:PORT/v1"
--   server:log()                  { { "request", "1", "3", "the prompt" }, ... }
--   server:stop()
--
-- `folder` has good.pem and good.key in it.

local cjson = require("cjson").new()
local shell = require "spec.support.shell"
local socket = require "socket"

local Http2 = {}
Http2.__index = Http2

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- The system's own comes first: another one does not know the system's packages.
local function find_python()
  for _, name in ipairs { "/usr/bin/python3", "python3" } do
    if shell.succeeds(name .. " -c 'import h2, hyperframe'") then
      return name
    end
  end
end

--- What is missing here; nil: nothing.
---@return string? problem
function Http2.problem()
  return not find_python() and "no python3 with h2" or nil
end

---@param folder string
---@param options table
function Http2.start(folder, options)
  local self = setmetatable({ path = os.tmpname() }, Http2)
  local here = debug.getinfo(1, "S").source:match("^@(.*)/") or "."
  local ports = os.tmpname()
  local command = { "exec", find_python() }
  for _, word in ipairs {
    here .. "/http2_server.py", folder .. "/good.pem", folder .. "/good.key", self.path,
    cjson.encode(options),
  } do
    command[#command + 1] = shell.quote(word)
  end
  self.stdin = assert(io.popen("unset LD_PRELOAD; " .. table.concat(command, " ") .. " >" .. ports,
    "w"))
  local deadline = socket.gettime() + 20
  local port
  repeat
    socket.sleep(0.01)
    port = read_file(ports):match("^(%d+)\n")
  until port or socket.gettime() > deadline
  os.remove(ports)
  assert(port, "the server of HTTP/2 did not start")
  self.url = "https://127.0.0.1:" .. port .. "/v1"
  return self
end

--- What has happened, in words.
---@return string[][]
function Http2:log()
  local lines = {}
  for line in read_file(self.path):gmatch("[^\n]+") do
    local words = {}
    for word in line:gmatch("%S+") do
      words[#words + 1] = word
    end
    lines[#lines + 1] = words
  end
  return lines
end

--- How often something has happened.
---@param what string
---@return integer
function Http2:count(what)
  local count = 0
  for _, words in ipairs(self:log()) do
    count = count + (words[1] == what and 1 or 0)
  end
  return count
end

function Http2:stop()
  self.stdin:close()
  os.remove(self.path)
end

return Http2
