--- The bench server (bench/server.c): starts it, asks it what it did, ends it.

local process = require "harness.process"

local server = {}

local LIFETIME = 3600

--- A server that is busy for more of the time than this holds the client up.
server.BUSY = 0.9

---@param programs string folder of the programs, with a slash at its end
function server.start(programs)
  local path = process.temporary_file()
  local start = process.pinned(process.SERVER_CORE)
    .. process.command{ programs .. "server", LIFETIME }
  server.stdin = assert(io.popen("exec " .. start .. " >" .. process.quote(path), "w"))
  server.stdout = assert(io.open(path))
  server.port = tonumber(server.line())
  server.url = "http://127.0.0.1:" .. server.port .. "/"
end

--- The next line the server writes. Plain Lua cannot wait for a file.
---@return string
function server.line()
  for _ = 1, 1000 do
    local line = server.stdout:read("*l")
    if line then
      return line
    end
    os.execute("sleep 0.01")
  end
  error("the bench server does not answer", 0)
end

--- What the server did since it was last asked.
---@return table<string, number> report cpu, wall, requests, bytes, late_us
function server.report()
  server.stdin:write("\n")
  server.stdin:flush()
  local report = {}
  for key, value in server.line():gmatch("(%S+) (%S+)") do
    report[key] = tonumber(value)
  end
  return report
end

function server.stop()
  if server.stdin then
    server.stdin:close()
    server.stdout:close()
    server.stdin = nil
  end
end

return server
