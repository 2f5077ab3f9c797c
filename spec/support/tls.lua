--- nginx in front of a test server, with certificates of a CA of our own.
--
--   local tls, problem = require("spec.support.tls").start(server.port)
--   tls:url(1)                        "https://127.0.0.1:PORT/v1"
--   tls.folder .. "/ca.pem"           what signed its certificate
--   tls:stop()
--
-- Servers: 1 all is well; 2 its certificate has expired; 3 it is that of
-- another host; 4 and 5 close connections early; 6 wants the certificate of
-- the client; 7 all is well, for a proxy that is reached over TLS.

local socket = require "socket"

local PORTS = 7

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function succeeds(command)
  local result = os.execute("unset LD_PRELOAD; { " .. command .. "; } >/dev/null 2>&1")
  return result == true or result == 0
end

local function has(program)
  return succeeds("command -v " .. program .. " || test -x /usr/sbin/" .. program)
end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

-- Ports that were free a moment ago.
local function free_ports(count)
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
  sign client DNS:client 2 5 ca
  sign stranger DNS:client 2 6 other
  openssl ec -in client.key -aes256 -passout pass:wh1sper-Passw0rd -out locked.key
  cat client.pem client.key >both.pem
  openssl pkcs12 -export -in client.pem -inkey client.key -passout pass:wh1sper-Passw0rd \
    -out client.p12
  mkdir cas
  cp ca.pem "cas/$(openssl x509 -noout -hash -in ca.pem).0"
]]

local CONFIG = [[
  daemon off;
  master_process off;
  pid @folder/nginx.pid;
  error_log @folder/error.log;
  events {}
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
    server {
      listen 127.0.0.1:@port1 ssl http2;
      location /connection {
        return 200 '{"choices":[{"message":{"content":"$connection"}}]}';
      }
      location /protocol {
        return 200 '{"choices":[{"message":{"content":"$server_protocol"}}]}';
      }
      location /v1 {
        proxy_pass http://127.0.0.1:@port/v1;
        proxy_http_version 1.1;
        proxy_request_buffering off;
      }
      location /small {
        client_max_body_size 1k;
        proxy_pass http://127.0.0.1:@port/v1;
      }
      location /down {
        return 307 http://127.0.0.1:@port/v1/chat/completions;
      }
      location /same {
        return 307 http://127.0.0.1:@port1/v1/chat/completions;
      }
      location /up {
        return 307 https://127.0.0.1:@port1/v1/chat/completions;
      }
    }
    server {
      listen 127.0.0.1:@port2 ssl;
      ssl_certificate @folder/old.pem;
      ssl_certificate_key @folder/old.key;
    }
    server {
      listen 127.0.0.1:@port3 ssl;
      ssl_certificate @folder/elsewhere.pem;
      ssl_certificate_key @folder/elsewhere.key;
      location /v1 {
        proxy_pass http://127.0.0.1:@port/v1;
      }
    }
    server {
      listen 127.0.0.1:@port4 ssl http2;
      keepalive_requests 2;
      location / {
        return 200 '{"choices":[{"message":{"content":"$server_protocol"}}]}';
      }
    }
    server {
      listen 127.0.0.1:@port5 ssl;
      keepalive_timeout 0;
      lingering_close off;
      client_max_body_size 1k;
      location / {
        return 200 '{"choices":[{"message":{"content":"$server_protocol"}}]}';
      }
      location /small {
        proxy_pass http://127.0.0.1:@port/v1;
      }
    }
    server {
      listen 127.0.0.1:@port6 ssl;
      ssl_client_certificate @folder/ca.pem;
      ssl_verify_client on;
      location / {
        return 200 '{"choices":[{"message":{"content":"$ssl_client_s_dn"}}]}';
      }
    }
    server {
      listen 127.0.0.1:@port7 ssl;
      location / {
        proxy_pass http://127.0.0.1:@port;
      }
    }
  }
]]

local Tls = {}
Tls.__index = Tls

--- Starts it, in front of the server at a port.
---@param port integer
---@return table? tls
---@return string? problem what is missing here
function Tls.start(port)
  if not has "nginx" or not has "openssl" then
    return nil, "no nginx or no openssl"
  end
  local folder = os.tmpname()
  os.remove(folder)
  assert(succeeds("mkdir " .. quote(folder)))
  local self = setmetatable({ folder = folder, ports = free_ports(PORTS) }, Tls)
  local script = write_file(folder .. "/certificates.sh", CERTIFICATES)
  if not succeeds("sh " .. script .. " " .. quote(folder)) then
    self:stop()
    return nil, "openssl made no certificates"
  end
  write_file(folder .. "/nginx.conf", (CONFIG:gsub("@folder", folder):gsub("@port(%d?)",
    function(i)
      return tostring(i == "" and port or self.ports[tonumber(i)])
    end)))
  -- It ends with the pipe, so with this process whatever becomes of it.
  write_file(folder .. "/run.sh", [[
    unset LD_PRELOAD
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    nginx -p "$1" -c "$1/nginx.conf" >/dev/null 2>&1 </dev/null &
    pid=$!
    cat >/dev/null
    kill "$pid"
    wait "$pid"
  ]])
  self.nginx = assert(io.popen("sh " .. folder .. "/run.sh " .. folder .. " 2>/dev/null", "w"))
  local deadline = socket.gettime() + 10
  repeat
    local probe = socket.connect("127.0.0.1", self.ports[PORTS])
    if probe then
      probe:close()
      return self
    end
    socket.sleep(0.02)
  until socket.gettime() > deadline
  local problem = "nginx did not start: " .. read_file(folder .. "/error.log")
  self:stop()
  return nil, problem
end

--- The address of one of its servers.
---@param i integer
---@param path? string
---@param host? string
---@return string
function Tls:url(i, path, host)
  return "https://" .. (host or "127.0.0.1") .. ":" .. self.ports[i] .. (path or "/v1")
end

function Tls:stop()
  if self.nginx then
    self.nginx:close()
    self.nginx = nil
  end
  succeeds("rm -rf " .. quote(self.folder))
end

return Tls
