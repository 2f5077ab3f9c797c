--- Who is measured: a program for each contestant, or the reason why there is none.
---
--- A contestant is { name, words = {...} } or { name, missing = "why" }. `slow` ones
--- take part in the first rounds only; a figure that is a multiple of what it is
--- compared with needs no more.

local front = require "harness.front"
local material = require "material"
local process = require "harness.process"
local server = require "harness.server"

local here = arg[0]:match("^(.*)/") or "."

local contestants = {}

--- Order and names of the columns.
contestants.NAMES = { "floor", "opperchat", "npm", "plain", "curl" }
contestants.TITLES = {
  floor = "bare libcurl",
  opperchat = "opperchat",
  npm = "npm openai",
  plain = "plain Lua",
  curl = "curl process",
}

contestants.programs = here .. "/../build/bench/"
contestants.here = here
contestants.front = front

--- Raises when `make bench-programs` has not been run.
function contestants.check()
  for _, name in ipairs{ "server", "floor", "each" } do
    if not process.read_file(contestants.programs .. name) then
      error("build/bench/" .. name .. " is missing: make bench-programs", 0)
    end
  end
end

function contestants.url(path)
  return server.url .. path
end

--- The URL to post to.
function contestants.endpoint(path, base)
  return (base or server.url) .. path .. "/chat/completions"
end

local bodies = {}

--- A file with the request that all send.
---@return string path
function contestants.body_file(messages, size)
  local key = messages .. "/" .. size
  bodies[key] = bodies[key] or process.temporary_file(
    material.body(material.messages(messages, size), material.prompt))
  return bodies[key]
end

--- A body that asks for a stream.
---@return string path
function contestants.stream_body_file()
  bodies.stream = bodies.stream or process.temporary_file('{"model":"m","messages":'
    .. '[{"role":"user","content":"Count."}],"stream":true,'
    .. '"stream_options":{"include_usage":true}}')
  return bodies.stream
end

function contestants.floor(...)
  return { name = "floor", words = { contestants.programs .. "floor", ... } }
end

--- A script of bench/, with this Lua.
function contestants.opperchat(script, ...)
  return { name = "opperchat", words = { process.interpreter(), here .. "/" .. script, ... } }
end

function contestants.plain(...)
  return { name = "plain", slow = true,
    words = { process.interpreter(), here .. "/plain.lua", ... } }
end

--- A plain Lua script of another name, shown in the same column.
function contestants.plain_script(script, ...)
  return { name = "plain", words = { process.interpreter(), here .. "/" .. script, ... } }
end

local function is_npm_installed()
  return process.read_file(here .. "/../spec/peer/node_modules/openai/package.json")
    and process.succeeds("command -v node")
end

function contestants.npm(...)
  if not is_npm_installed() then
    return { name = "npm", missing = "spec/peer/install.sh installs it" }
  end
  return { name = "npm", slow = true,
    words = { "node", "--expose-gc", here .. "/peer.mjs", ... } }
end

--- The size of the npm package.
function contestants.npm_size()
  if not is_npm_installed() then
    return contestants.none("npm", "spec/peer/install.sh installs it")
  end
  return { name = "npm", words = { process.interpreter(), here .. "/size.lua",
    here .. "/../spec/peer/node_modules/openai" } }
end

--- A process for each of `count` requests.
---@param how "sequential"|"together"
function contestants.curl(how, count, body, url)
  if not process.succeeds("command -v curl") then
    return { name = "curl", missing = "no curl" }
  end
  return { name = "curl", slow = true, words = {
    contestants.programs .. "each", how, count,
    "curl", "-q", "-sSN", "--fail", "--noproxy", "*",
    "-H", "Content-Type: application/json", "-H", "Authorization: Bearer test",
    "--data-binary", "@" .. body, url,
  } }
end

--- A contestant that cannot do this.
function contestants.none(name, why)
  return { name = name, missing = why }
end

return contestants
