--- nginx with certificates of a private authority, in a folder of its own.
--
--   local front, problem = Nginx.start(config, { ports = 3, port = server.port })
--   ... https://127.0.0.1:front.ports[1], front.folder .. "/ca.pem" ...
--   front:stop()
--
-- In the folder are ca.pem, other.pem (an authority nobody has heard of), keys
-- and certificates signed by ca: good (localhost and 127.0.0.1), elsewhere
-- (elsewhere.example), old (good, and expired); and foreign, good as well but
-- signed by other.

local socket = require "socket"
local shell = require "spec.support.shell"

local Nginx = {}
Nginx.__index = Nginx

local CERTIFICATES = [[
  set -e
  cd "$1"
  new_key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
  openssl req -x509 $new_key -keyout ca.key -out ca.pem -days 2 -subj /CN=Test
  openssl req -x509 $new_key -keyout other.key -out other.pem -days 2 -subj /CN=Other
  # sign NAME HOSTS DAYS NUMBER CA
  sign() {
    printf 'subjectAltName=%s\n' "$2" >"$1.ext"
    openssl req $new_key -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    openssl x509 -req -in "$1.csr" -CA "$5.pem" -CAkey "$5.key" -set_serial "$4" -days "$3" \
      -extfile "$1.ext" -out "$1.pem"
  }
  sign good DNS:localhost,IP:127.0.0.1 2 2 ca
  sign elsewhere DNS:elsewhere.example 2 3 ca
  sign old DNS:localhost,IP:127.0.0.1 -1 4 ca
  sign foreign DNS:localhost,IP:127.0.0.1 2 5 other
]]

-- What every configuration begins with.
local COMMON = [[
  daemon off;
  master_process off;
  pid @folder/nginx.pid;
  error_log @folder/error.log;
  events { worker_connections @connections; }
  http {
    access_log off;
    client_body_temp_path @folder/body;
    proxy_temp_path @folder/proxy;
    fastcgi_temp_path @folder/fastcgi;
    uwsgi_temp_path @folder/uwsgi;
    scgi_temp_path @folder/scgi;
    default_type application/json;
    client_max_body_size 0;
    ssl_certificate @folder/good.pem;
    ssl_certificate_key @folder/good.key;
    @servers
  }
]]

-- It ends with the pipe, so with this process whatever becomes of it.
local RUN = [[
  unset LD_PRELOAD
  PATH=$PATH:/usr/sbin:/usr/local/sbin
  nginx -p "$1" -c "$1/nginx.conf" >/dev/null 2>&1 </dev/null &
  pid=$!
  cat >/dev/null
  kill "$pid"
  wait "$pid"
]]

--- Ports that were free a moment ago.
---@param count integer
---@return integer[]
function Nginx.free_ports(count)
  local listeners, result = {}, {}
  for i = 1, count do
    listeners[i] = assert(socket.bind("127.0.0.1", 0))
    local _, port = listeners[i]:getsockname()
    result[i] = port
  end
  for _, listener in ipairs(listeners) do
    listener:close()
  end
  return result
end

--- Starts it; returns when it listens.
---@param servers string its `server` blocks: @folder is the folder, @port1 and so on
---   free ports, @NAME what `given` has under this name
---@param given { ports: integer, connections?: integer, certificates?: string, [string]: any }
---   how many ports, all of them used; connections at once (512); and commands that make more
---   certificates: `sign NAME HOSTS DAYS NUMBER CA`, with numbers from 6 on
---@return table? front { folder, ports }
---@return string? problem why there is none
function Nginx.start(servers, given)
  if not shell.has "nginx" or not shell.has "openssl" then
    return nil, "no nginx or no openssl"
  end
  local self = setmetatable({ folder = shell.new_folder() }, Nginx)
  local script = shell.write_file(self.folder .. "/certificates.sh",
    CERTIFICATES .. (given.certificates or ""))
  if not shell.succeeds("sh " .. script .. " " .. shell.quote(self.folder)) then
    self:stop()
    return nil, "openssl made no certificates"
  end
  self.ports = Nginx.free_ports(given.ports)
  local config = COMMON:gsub("@servers", function() return servers end)
  config = config:gsub("@port(%d+)", function(i)
    return tostring(self.ports[tonumber(i)])
  end):gsub("@(%l+)", function(name)
    local value = name == "folder" and self.folder or given[name]
      or name == "connections" and 512
    return tostring(assert(value, name))
  end)
  shell.write_file(self.folder .. "/nginx.conf", config)
  script = shell.write_file(self.folder .. "/run.sh", RUN)
  self.pipe = assert(io.popen("sh " .. script .. " " .. self.folder .. " 2>/dev/null", "w"))
  local deadline = socket.gettime() + 10
  repeat
    local probe = socket.connect("127.0.0.1", self.ports[given.ports])
    if probe then
      probe:close()
      return self
    end
    socket.sleep(0.02)
  until socket.gettime() > deadline
  local log = shell.output_of("cat " .. self.folder .. "/error.log")
  self:stop()
  return nil, "nginx did not start: " .. log
end

--- Ends it and removes the folder; safe to call twice.
function Nginx:stop()
  if self.pipe then
    self.pipe:close()
    self.pipe = nil
  end
  if self.folder then
    shell.remove_folder(self.folder)
    self.folder = nil
  end
end

return Nginx
