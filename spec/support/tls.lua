--- nginx in front of a test server, with certificates of a CA of our own.
--
--   local tls, problem = require("spec.support.tls").start(server.port)
--   tls:url(1)                        "https://127.0.0.1:PORT/v1"
--   tls.folder .. "/ca.pem"           what signed its certificate
--   tls:stop()
--
-- Or, in a spec, `local tls = Tls.for_tests(server)`, which does the rest by itself.
--
-- Servers: 1 all is well; 2 its certificate has expired; 3 it is that of
-- another host; 4 and 5 close connections early; 6 wants the certificate of
-- the client; 7 all is well, for a proxy that is reached over TLS.

local Nginx = require "spec.support.nginx"

local PORTS = 7

-- Beside those that spec/support/nginx.lua makes.
local CERTIFICATES = [[
  sign client DNS:client 2 6 ca
  sign stranger DNS:client 2 7 other
  openssl ec -in client.key -aes256 -passout pass:wh1sper-Passw0rd -out locked.key
  cat client.pem client.key >both.pem
  openssl pkcs12 -export -in client.pem -inkey client.key -passout pass:wh1sper-Passw0rd \
    -out client.p12
  mkdir cas
  cp ca.pem "cas/$(openssl x509 -noout -hash -in ca.pem).0"
]]

local SERVERS = [[
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
]]

local Tls = {}
Tls.__index = Tls

--- Starts it, in front of the server at a port.
---@param port integer
---@return table? tls
---@return string? problem what is missing here
function Tls.start(port)
  local front, problem = Nginx.start(SERVERS,
    { ports = PORTS, port = port, certificates = CERTIFICATES })
  if not front then
    return nil, problem
  end
  return setmetatable({ front = front, folder = front.folder, ports = front.ports }, Tls)
end

--- One for all tests of a block, in front of their server. What is missing here is in
--- its field `problem`; nothing else of it is there then.
---@param server spec.Server
---@return table tls
function Tls.for_tests(server)
  local busted = require "busted"
  local self, front = {}, nil
  busted.setup(function()
    front, self.problem = Tls.start(server.port)
    setmetatable(self, { __index = front })
  end)
  busted.teardown(function()
    if front then
      front:stop()
    end
  end)
  return self
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
  self.front:stop()
end

return Tls
