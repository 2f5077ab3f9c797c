--- Runs C test programs and specs, each in a process of its own, and ends with
-- one line, "N passed, N failed" and ", N skipped" if any.
--
--   lua5.4 spec/run.lua [options] build/core/spec/test_buf spec/json_spec.lua ...
--     --lua LUA         interpreter for the specs
--     --name NAME       what to call this run in its output
--     --filter PATTERN  run only the specs' tests whose name matches
--     --wrap COMMAND    put before each program, such as valgrind
--     --preload LIB     LD_PRELOAD for the interpreter
--     --jobs N          this many at once, those that watch the clock aside
--
-- A suite is silent but for one line when all is well. It has failed when its
-- process ends badly, says nothing of its result or runs no test at all, so
-- that a crash can never look like a success.

local settings = { lua = "lua5.4", name = "test", filter = "", wrap = "", preload = "",
  jobs = "1" }
local suites = {}

local i = 1
while arg[i] do
  local option = arg[i]:match("^%-%-(%l+)$")
  if option then
    assert(settings[option], "unknown option " .. arg[i])
    settings[option] = arg[i + 1] or ""
    i = i + 2
  else
    suites[#suites + 1] = arg[i]
    i = i + 1
  end
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- A suite that hangs is ended after this many seconds, where the system can.
local LIMIT = os.getenv("OPPERCHAT_SLOW") and 900 or 300
local has_timeout = os.execute("command -v timeout >/dev/null 2>&1")
has_timeout = has_timeout == true or has_timeout == 0

local function command_for(suite)
  local words = {}
  if settings.preload ~= "" and suite:find("_spec%.lua$") then
    words[#words + 1] = "env LD_PRELOAD=" .. quote(settings.preload)
  end
  words[#words + 1] = settings.wrap
  if suite:find("_spec%.lua$") then
    words[#words + 1] = settings.lua
    words[#words + 1] = "spec/support/busted.lua -o spec/support/output.lua"
    if settings.filter ~= "" then
      words[#words + 1] = "--filter=" .. quote(settings.filter)
    end
  end
  words[#words + 1] = quote(suite)
  if has_timeout then
    table.insert(words, 1, "timeout -k 10 " .. LIMIT)
  end
  return table.concat(words, " ")
end

-- Output goes through files: a process that was left behind would keep a pipe
-- open for ever. `timeout` leads a process group, so that whatever a suite has
-- started can be ended with it. The shell tells how a suite ended, since Lua
-- 5.1 cannot.
local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder), "no temporary folder")

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- A script of its own, which names the suite on standard output when it is over.
local function script_for(index, suite)
  local base = folder .. "/" .. index
  write(base .. ".sh", "began=$(date +%s)\n"
    .. command_for(suite) .. " </dev/null >" .. base .. ".out 2>&1 & suite=$!\n"
    .. "wait $suite; status=$?\n"
    .. (has_timeout and "kill -s KILL -- -$suite 2>/dev/null\n" or "")
    .. "echo $status $(($(date +%s) - began)) >" .. base .. ".status\necho " .. index .. "\n")
  return base .. ".sh"
end

local function result_at(index)
  local base = folder .. "/" .. index
  local status, seconds = read(base .. ".status"):match("^(%d+) (%d+)")
  return read(base .. ".out"), tonumber(status) or 255, tonumber(seconds) or 0
end

-- The last line that is a result; what follows may be a sanitizer's report.
local function result_of(output)
  local passed, failed, skipped
  for line in output:gmatch("[^\n]+") do
    local p, f, rest = line:match("^(%d+) passed, (%d+) failed(.*)$")
    if p then
      passed, failed = tonumber(p), tonumber(f)
      skipped = tonumber(rest:match("^, (%d+) skipped$")) or 0
    end
  end
  return passed, failed, skipped
end

local function summary(passed, failed, skipped)
  return string.format("%d passed, %d failed", passed, failed)
    .. (skipped > 0 and string.format(", %d skipped", skipped) or "")
end

local total_passed, total_failed, total_skipped = 0, 0, 0
local failing = {}

local function report(suite, output, status, seconds)
  local passed, failed, skipped = result_of(output)
  local complaint
  if not passed then
    passed, failed, skipped = 0, 1, 0
    complaint = status == 124 and "still ran after " .. LIMIT .. " seconds, was ended"
      or "ended without a result (exit code " .. status .. ")"
  elseif status ~= 0 and failed == 0 then
    failed = 1
    complaint = "ended with exit code " .. status
  elseif passed + failed + skipped == 0 and settings.filter == "" then
    failed = 1
    complaint = "ran no test"
  end
  total_passed = total_passed + passed
  total_failed = total_failed + failed
  total_skipped = total_skipped + skipped
  if failed > 0 then
    failing[#failing + 1] = suite
    io.write(output, output:find("\n$") and "" or "\n")
  end
  io.write(string.format("%s %-36s %s%s%s\n", settings.name, suite:match("[^/]+$"),
    summary(passed, failed, skipped), seconds > 1 and " (" .. seconds .. " s)" or "",
    complaint and ": " .. complaint or ""))
  io.flush()
end

-- What watches the clock: frames, and processor time beside waiting time.
local ALONE = { "http2_spec", "love_spec", "loop_luv_spec", "nvim_spec", "soak_spec" }
-- What takes long begins first.
local LONG = { "matrix_spec", "tape_spec", "memory", "transport_spec" }

local function is_in(list, suite)
  for _, name in ipairs(list) do
    if suite:find(name, 1, true) then
      return true
    end
  end
  return false
end

local function pick(keep)
  local picked = {}
  for index, suite in ipairs(suites) do
    if keep(suite) then
      picked[#picked + 1] = index
    end
  end
  return picked
end

local function run(indices, jobs)
  if #indices == 0 then
    return
  end
  local scripts, waiting = {}, {}
  for n, index in ipairs(indices) do
    scripts[n] = script_for(index, suites[index])
    waiting[index] = true
  end
  local list = folder .. "/list"
  write(list, table.concat(scripts, "\n") .. "\n")
  local over = assert(io.popen("xargs -n 1 -P " .. jobs .. " sh <" .. list, "r"))
  for line in over:lines() do
    local index = tonumber(line)
    waiting[index] = nil
    report(suites[index], result_at(index))
  end
  over:close()
  for index in pairs(waiting) do
    report(suites[index], "", 255, 0)
  end
end

local jobs = tonumber(settings.jobs)
if jobs > 1 then
  local function alone(suite)
    return is_in(ALONE, suite)
  end
  local together = pick(function(suite)
    return not alone(suite) and is_in(LONG, suite)
  end)
  for _, index in ipairs(pick(function(suite)
    return not alone(suite) and not is_in(LONG, suite)
  end)) do
    together[#together + 1] = index
  end
  run(together, jobs)
  run(pick(alone), 1)
else
  run(pick(function()
    return true
  end), 1)
end
os.execute("rm -rf " .. folder)

if total_passed + total_failed + total_skipped == 0 then
  io.write("no test was run\n")
  total_failed = 1
end
if #failing > 0 then
  io.write("failed: ", table.concat(failing, " "), "\n")
end
io.write(summary(total_passed, total_failed, total_skipped), "\n")
os.exit(total_failed == 0 and 0 or 1)
