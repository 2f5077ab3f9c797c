-- Counts the instructions of the hot paths and compares them with those that
-- bench/instructions.txt has.
--
--   lua bench/instructions/run.lua [--write] LUA MODULES BUILT_WITH [CASE...]
--
-- In the folder of the sources. LUA is the path of the interpreter, MODULES the
-- folder of the build, BUILT_WITH what it was compiled with. Ends with
-- "N passed, N failed": a figure that differs by more than TOLERANCE has failed,
-- also one that is lower, since it would hide the next one that is higher.
-- Where the compiler, Lua or libcurl is another one, nothing is compared.

package.path = "bench/instructions/?.lua;bench/?.lua;" .. package.path

local cases = require "cases"
local profile = require "profile"

local FILE = "bench/instructions.txt"
local TOLERANCE = 0.05
-- How often a case with a server is counted before it has failed: on a busy
-- machine it waits more often, and each time costs.
local ATTEMPTS = 3
-- Seconds after which a case that hangs is ended.
local PATIENCE = 120

local NAMES = { "append", "burst", "chunk", "fork", "history", "poll", "require", "send" }
local FIGURES = { "core", "lua", "calls", "bytes" }
local TITLES = {
  append = "append 1 KB of text",
  burst = "a streamed chunk, 60 of them at once",
  chunk = "a streamed chunk, polled by itself",
  fork = "fork a list of 10,000 messages",
  history = "send with a history of 10,000 messages, 10 MB",
  poll = "poll with nothing to do",
  require = 'require "opperchat"',
  send = "send 1 KB, kept connection",
}

local HEAD = [[
# What one operation of the hot paths costs. `make instructions` compares, and
# `make instructions WRITE=1` rewrites this file. Keep it true: a change that makes
# a figure worse says in its commit why that is worth it.
#
#   core   instructions within core.so, without what it calls
#   lua    the same within Lua: its VM, its collector and its libraries
#   calls  from core.so to libcurl, libc and the like, most of them for memory
#   bytes  taken from Lua's memory, given back by the collector
#
# Nothing else is counted: what libc and libcurl do depends on the processor, on
# the kernel and on their own releases.

]]

------------------------------------------------------------------ arguments

local is_writing = arg[1] == "--write"
if is_writing then
  table.remove(arg, 1)
end
local interpreter, modules, built_with = arg[1], arg[2], arg[3]
local wanted = { select(4, (table.unpack or unpack)(arg)) } -- luacheck: ignore
if #wanted == 0 then
  wanted = NAMES
elseif is_writing then
  error("all cases have to be written together", 0)
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("*a")
  pipe:close()
  return output
end

-- The surroundings are part of what seeds Lua's hashes: they lie at the bottom
-- of the stack.
local environment = "env -i PATH=/usr/bin:/bin LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH="
  .. quote(modules .. "/?.so;build/bench/?.so;;")

-- What the figures hold for.
local function holds_for()
  local release = output_of(quote(interpreter) .. " -v"):match("Lua[JIT]* [%d.]+") or "?"
  local curl = output_of(environment .. " " .. quote(interpreter)
    .. [[ -e 'io.write(require("opperchat.core").curl_info().version)']])
  return ("%s, %s, libcurl %s"):format(built_with, release, curl)
end

------------------------------------------------------------------- counting

local server = { path = os.tmpname() }

function server.start()
  server.pipe = assert(io.popen("exec build/bench/server 600 >" .. quote(server.path), "w"))
  for _ = 1, 500 do
    local file = assert(io.open(server.path))
    local port = file:read("*l")
    file:close()
    if port then
      return "http://127.0.0.1:" .. port .. "/plain"
    end
    os.execute("sleep 0.02")
  end
  error("the bench server does not answer", 0)
end

function server.stop()
  server.pipe:close()
  os.remove(server.path)
end

local function is_lua(object)
  return object:find("^lua[%djit.-]+$") or object:find("^liblua[%djit.-]+%.so")
end

-- The figures of one output of callgrind.
local function figures_of(path)
  local instructions, calls = profile.read(path)
  local found = { core = instructions["core.so"] or 0, lua = 0, calls = 0 }
  for object, count in pairs(instructions) do
    found.lua = found.lua + (is_lua(object) and count or 0)
  end
  for object, count in pairs(calls["core.so"] or {}) do
    found.calls = found.calls + (is_lua(object) and 0 or count)
  end
  return found
end

-- Figures for one operation; nil and what happened instead.
local function count(name, url)
  local path = os.tmpname()
  local output = output_of(("%s LD_PRELOAD=build/bench/clock.so timeout %d valgrind -q "
    .. "--tool=callgrind --instr-atstart=no --callgrind-out-file=%s %s "
    .. "bench/instructions/case.lua %s %s"):format(environment, PATIENCE,
     quote(path), quote(interpreter), name, url))
  local operations, once, twice = output:match("^operations (%d+)\nbytes (%d+)\nbytes (%d+)\n$")
  local result
  if operations then
    local low, high = figures_of(path .. ".1"), figures_of(path .. ".2")
    low.bytes, high.bytes = tonumber(once), tonumber(twice)
    result = {}
    for _, figure in ipairs(FIGURES) do
      -- as precise as it is written down
      result[figure] = math.floor((high[figure] - low[figure]) / operations * 10 + 0.5) / 10
    end
  end
  for _, part in ipairs{ "", ".1", ".2" } do
    os.remove(path .. part)
  end
  return result, output
end

------------------------------------------------------------------- the file

-- Figures by case, and what they hold for.
local function read()
  local recorded = {}
  for line in io.lines(FILE) do
    local name, rest = line:match("^(%l+) +(.*)$")
    if name == "with" then
      recorded.with = rest
    elseif name then
      recorded[name] = {}
      local numbers = rest:gmatch("%S+")
      for _, figure in ipairs(FIGURES) do
        recorded[name][figure] = assert(tonumber(numbers()), FILE .. ": " .. line)
      end
    end
  end
  return recorded
end

local function write(measured, with)
  local file = assert(io.open(FILE, "w"))
  file:write(HEAD, "with ", with, "\n\n")
  file:write(("# %-8s %12s %12s %9s %12s\n"):format("case", "core", "lua", "calls", "bytes"))
  for _, name in ipairs(NAMES) do
    local figures = measured[name]
    file:write(("%-10s %12.1f %12.1f %9.1f %12.1f\n"):format(name, figures.core, figures.lua,
      figures.calls, figures.bytes))
  end
  assert(file:close())
end

------------------------------------------------------------------ comparing

local passed, failed, skipped = 0, 0, 0

-- What a figure has changed by; nil: there is nothing to compare it with.
local function change_of(before, now)
  return before and (now - before) / math.max(before, 1)
end

-- The figures of a case, the least of some attempts when they are too high.
local function count_fairly(name, url, before)
  local least
  for _ = 1, cases[name].server and ATTEMPTS or 1 do
    local figures, output = count(name, url)
    if not figures then
      return nil, output
    end
    least = least or figures
    local is_higher = false
    for figure, now in pairs(figures) do
      least[figure] = math.min(least[figure], now)
      is_higher = is_higher or before and change_of(before[figure], least[figure]) > TOLERANCE
    end
    if not is_higher then
      break
    end
  end
  return least
end

-- One row of the table.
local function compare(name, figure, before, now)
  local change = change_of(before, now)
  local verdict = ""
  if not change then
    skipped = skipped + (is_writing and 0 or 1)
  elseif change > TOLERANCE then
    failed, verdict = failed + 1, "  SLOWER"
  elseif change < -TOLERANCE then
    failed, verdict = failed + 1, "  faster: make instructions WRITE=1"
  else
    passed = passed + 1
  end
  print(("%-8s %-6s %12s %12.1f %8s%s"):format(name, figure,
    before and ("%.1f"):format(before) or "-", now,
    change and ("%+.1f %%"):format(change * 100) or "-", verdict))
end

local with = holds_for()
local recorded = is_writing and {} or read()
if not is_writing and recorded.with ~= with then
  print(("%s holds for\n  %s\nand this is\n  %s\nso nothing is compared.\n"):format(FILE,
    recorded.with, with))
  recorded = {}
end

local measured = {}
local url = server.start()
print(("%-8s %-6s %12s %12s %8s"):format("case", "", "recorded", "now", ""))
for _, name in ipairs(wanted) do
  local figures, output = count_fairly(name, url, recorded[name])
  measured[name] = figures
  if figures then
    print("-- " .. TITLES[name])
    for _, figure in ipairs(FIGURES) do
      compare(name, figure, (recorded[name] or {})[figure], figures[figure])
    end
  else
    failed = failed + 1
    print(name .. " failed: " .. output)
  end
end
server.stop()

if is_writing and failed == 0 then
  write(measured, with)
  print("written to " .. FILE)
end
print(("%d passed, %d failed%s"):format(passed, failed,
  skipped > 0 and (", %d skipped"):format(skipped) or ""))
os.exit(failed == 0)
