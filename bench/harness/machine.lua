--- What the figures were measured on: never who or where it is.

local contestants = require "harness.contestants"
local process = require "harness.process"

local machine = {}

local function processor()
  local text = process.read_file("/proc/cpuinfo") or ""
  return text:match("model name%s*:%s*([^\n]+)") or process.output_of("uname -m") or "unknown"
end

local function system()
  local release = process.read_file("/etc/os-release") or ""
  local name = release:match('PRETTY_NAME="([^"]+)"') or process.output_of("uname -s")
  local kernel = process.output_of("uname -r")
  return ("%s, kernel %s"):format(name, kernel and kernel:match("^%d+%.%d+") or "unknown")
end

local function first_version(command)
  local text = process.output_of(command)
  return text and text:match("%d[%d.]*")
end

local function lua_version(expression)
  return process.output_of(("%s -e %s"):format(process.quote(process.interpreter()),
    process.quote("io.write(tostring(" .. expression .. "))")))
end

local function npm_version()
  local text = process.read_file(contestants.here
    .. "/../spec/peer/node_modules/openai/package.json")
  return text and text:match('"version"%s*:%s*"([^"]+)"')
end

--- The load when the run begins: on a machine that others use, figures are noise.
---@return number
local function load_average()
  return tonumber((process.read_file("/proc/loadavg") or "0"):match("^%S+"))
end

--- Lines of `name`, `value`.
---@return string[][]
function machine.describe()
  local parts = {}
  local function add(name, value)
    if value then
      parts[#parts + 1] = name .. " " .. value
    end
  end
  add("opperchat", lua_version 'require "opperchat".version')
  add("libcurl", process.output_of(process.quote(contestants.programs .. "floor") .. " version"))
  add("lua-cjson", lua_version 'require "cjson"._VERSION')
  add("LuaSocket", (lua_version 'require "socket"._VERSION' or ""):match("%d[%d.]*"))
  add("openai (npm)", npm_version())
  add("Node", first_version("node --version"))
  add("curl", first_version("curl -q --version"))
  add("nginx", first_version("{ PATH=$PATH:/usr/sbin; nginx -v; } 2>&1"))
  add("gcc", first_version("cc -dumpfullversion"))
  local lua = process.output_of("{ " .. process.quote(process.interpreter()) .. " -v; } 2>&1")
  local cores = process.output_of("getconf _NPROCESSORS_ONLN") or "?"
  return {
    { "Processor", ("%s, %s cores"):format(processor(), cores) },
    { "System", system() },
    { "Lua", lua and lua:match("^%S+ %S+") or _VERSION },
    { "Versions", table.concat(parts, ", ") },
    { "Cores", process.is_pinned and "one for the client, one for the server"
      or "shared by client and server (no taskset)" },
    { "Load at the beginning", ("%.2f"):format(load_average()) },
    { "Date", os.date("!%Y-%m-%d") },
  }
end

return machine
