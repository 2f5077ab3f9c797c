--- nginx in front of the bench server, for HTTP/2 with TLS.

local http = require "socket.http"
local process = require "harness.process"
local server = require "harness.server"

local Nginx = require "spec.support.nginx"

local front = {}

local CONNECTIONS = 8192
local CLOCK_TICKS = 100

local SERVERS = [[
  keepalive_requests 1000000;
  upstream bench {
    server 127.0.0.1:@bench;
    keepalive 2048;
  }
  server {
    listen 127.0.0.1:@port1;
    location / { stub_status; }
  }
  server {
    listen 127.0.0.1:@port2 ssl http2;
    http2_max_concurrent_streams 2048;
    location / {
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 120s;
    }
  }
]]

local nginx, problem

--- Starts it when it is first asked for.
---@return table? front url, ca_file
---@return string? problem
function front.start()
  if nginx == nil then
    nginx, problem = Nginx.start(SERVERS,
      { ports = 2, bench = server.port, connections = CONNECTIONS })
    nginx = nginx or false
    if nginx then
      front.pid = tonumber(process.read_file(nginx.folder .. "/nginx.pid"))
      process.pin(front.pid, process.SERVER_CORE)
      front.url = "https://localhost:" .. nginx.ports[2] .. "/"
      front.ca_file = nginx.folder .. "/ca.pem"
    end
  end
  return nginx and front or nil, problem
end

--- CPU seconds that nginx has spent; 0 when it does not run.
---@return number
function front.cpu()
  local stat = nginx and process.read_file("/proc/" .. front.pid .. "/stat")
  if not stat then
    return 0
  end
  local fields = {}
  for field in stat:gsub("^.*%) ", ""):gmatch("%S+") do
    fields[#fields + 1] = field
  end
  return (tonumber(fields[12]) + tonumber(fields[13])) / CLOCK_TICKS
end

--- How many connections it has accepted, those of this question not counted.
---@return integer
function front.connections()
  front.questions = (front.questions or 0) + 1
  local text = assert(http.request("http://127.0.0.1:" .. nginx.ports[1] .. "/"))
  return tonumber(text:match("\n%s*(%d+)")) - front.questions
end

function front.stop()
  if nginx then
    nginx:stop()
    nginx = nil
  end
end

return front
