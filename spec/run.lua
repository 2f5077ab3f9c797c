--- Runs C test programs and specs, each in a process of its own, and ends with
-- one line, "N passed, N failed" and ", N skipped" if any.
--
--   lua5.4 spec/run.lua [options] build/core/spec/test_buf spec/json_spec.lua ...
--     --lua LUA         interpreter for the specs
--     --name NAME       what to call this run in its output
--     --filter PATTERN  run only the specs' tests whose name matches
--     --wrap COMMAND    put before each program, such as valgrind
--     --preload LIB     LD_PRELOAD for the interpreter
--
-- A suite is silent but for one line when all is well. It has failed when its
-- process ends badly, says nothing of its result or runs no test at all, so
-- that a crash can never look like a success.

local settings = { lua = "lua5.4", name = "test", filter = "", wrap = "", preload = "" }
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

-- The output goes through a file: a process that was left behind would keep a
-- pipe open for ever. `timeout` leads a process group, so that whatever it
-- started can be ended with it. Lua 5.1 cannot tell how a command ended, so
-- the shell says it.
local function run(command)
  local path = os.tmpname()
  os.execute(command .. " </dev/null >" .. path .. " 2>&1 & suite=$!; wait $suite; status=$?;"
    .. (has_timeout and " kill -s KILL -- -$suite 2>/dev/null;" or "")
    .. " echo \"exit=$status\" >>" .. path)
  local file = assert(io.open(path, "rb"))
  local output = file:read("*a")
  file:close()
  os.remove(path)
  local text, status = output:match("^(.*)exit=(%d+)\n$")
  return text or output, tonumber(status) or 255
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

for _, suite in ipairs(suites) do
  local started = os.time()
  local output, status = run(command_for(suite))
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
  local seconds = os.time() - started
  io.write(string.format("%s %-36s %s%s%s\n", settings.name, suite:match("[^/]+$"),
    summary(passed, failed, skipped), seconds > 1 and " (" .. seconds .. " s)" or "",
    complaint and ": " .. complaint or ""))
  io.flush()
end

if total_passed + total_failed + total_skipped == 0 then
  io.write("no test was run\n")
  total_failed = 1
end
if #failing > 0 then
  io.write("failed: ", table.concat(failing, " "), "\n")
end
io.write(summary(total_passed, total_failed, total_skipped), "\n")
os.exit(total_failed == 0 and 0 or 1)
