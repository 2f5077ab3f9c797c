--- A proxy that only knows CONNECT, in a process of its own.
--
--   local proxy = require("spec.support.connect_proxy").start("joe:s3same")
--   ... proxy.url ...
--   proxy:seen()    "127.0.0.1:443 open", "127.0.0.1:443 refused"
--   proxy:stop()
--
-- It ends by itself when the test process does.

local socket = require "socket"

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"

-- Copies bytes both ways between sockets that do not block.
local function serve(listener, wanted, log)
  local ends, peers = { listener, { getfd = function() return 0 end,
    dirty = function() return false end } }, {}
  local function drop(sock)
    for i = #ends, 1, -1 do
      if ends[i] == sock then
        table.remove(ends, i)
      end
    end
    sock:close()
  end
  local function accept()
    local sock = assert(listener:accept())
    sock:settimeout(10)
    local request, login = sock:receive("*l"), nil
    repeat
      local line = sock:receive("*l")
      login = line and line:match("^[Pp]roxy%-[Aa]uthorization: Basic (.*)$") or login
    until not line or line == ""
    local host, port = (request or ""):match("^CONNECT (%S+):(%d+) HTTP")
    if not host then
      sock:close()
      return
    end
    local is_known = wanted == "" or login == require("mime").b64(wanted)
    log:write(host, ":", port, is_known and " open" or " refused", "\n")
    log:flush()
    local other = is_known and socket.connect(host, tonumber(port))
    if not other then
      sock:send(is_known and "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        or "HTTP/1.1 407 Proxy Authentication Required\r\n"
          .. "Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n")
      sock:close()
      return
    end
    sock:send("HTTP/1.1 200 Connection established\r\n\r\n")
    peers[sock], peers[other] = other, sock
    for _, one in ipairs { sock, other } do
      one:settimeout(0)
      ends[#ends + 1] = one
    end
  end
  while true do
    for _, sock in ipairs((socket.select(ends))) do
      if sock == listener then
        accept()
      elseif type(sock) == "table" then
        return
      elseif peers[sock] then
        local bytes, problem, part = sock:receive(16384)
        bytes = bytes or part
        local other = peers[sock]
        other:settimeout(10)
        local sent = #bytes == 0 or other:send(bytes)
        other:settimeout(0)
        if problem == "closed" or not sent then
          peers[sock], peers[other] = nil, nil
          drop(sock)
          drop(other)
        end
      end
    end
  end
end

if arg and arg[0] and arg[0]:find("connect_proxy%.lua$") then
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local log = assert(io.open(arg[1], "w"))
  log:write(port, "\n")
  log:flush()
  serve(listener, arg[2] or "", log)
  os.exit(0)
end

local Proxy = {}
Proxy.__index = Proxy

--- Starts one on a free loopback port.
---@param login? string "user:password" that it wants
function Proxy.start(login)
  local path = os.tmpname()
  local interpreter = os.getenv("OPPERCHAT_SERVER_LUA") or "lua5.4"
  local pipe = assert(io.popen("unset LD_PRELOAD; exec " .. interpreter .. " '" .. here
    .. "connect_proxy.lua' " .. path .. " '" .. (login or "") .. "'", "w"))
  local self = setmetatable({ path = path, pipe = pipe }, Proxy)
  local deadline = socket.gettime() + 20
  repeat
    socket.sleep(0.02)
    self.port = tonumber(self:lines()[1])
  until self.port or socket.gettime() > deadline
  assert(self.port, "the proxy did not start")
  self.host = "127.0.0.1:" .. self.port
  self.url = "http://" .. (login and login .. "@" or "") .. self.host
  return self
end

function Proxy:lines()
  local lines = {}
  for line in io.lines(self.path) do
    lines[#lines + 1] = line
  end
  return lines
end

--- What was asked for so far: "HOST:PORT open" or "HOST:PORT refused".
---@return string[]
function Proxy:seen()
  local lines = self:lines()
  table.remove(lines, 1)
  return lines
end

function Proxy:stop()
  if self.pipe then
    self.pipe:close()
    self.pipe = nil
    os.remove(self.path)
  end
end

return Proxy
