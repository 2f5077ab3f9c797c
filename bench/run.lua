-- Runs the benches and prints a table.
--
--   lua bench/run.lua [--rounds N] [--strict] [CASE...]
--
-- Each figure is the CPU time of the client's process, the median of several
-- rounds in which the contestants take turns at going first. `--strict` fails
-- when an aim is missed; otherwise only a run that fails does.

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path

local material = require "material"

local programs = here .. "/../build/bench/"
local SERVER_SECONDS = 1800
-- A server that is busy for more of the time than this holds the client up.
local SERVER_BUSY = 0.9

local function interpreter()
  local first = 0
  while arg[first - 1] do
    first = first - 1
  end
  return arg[first]
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function command(words)
  local quoted = {}
  for i, word in ipairs(words) do
    quoted[i] = quote(word)
  end
  return table.concat(quoted, " ")
end

local function lua(script, ...)
  return { interpreter(), here .. "/" .. script, ... }
end

local function floor(...)
  return { programs .. "floor", ... }
end

-- Server and client each on a core of their own, as if the network lay between
-- them: otherwise the scheduler puts them on one core in some runs and on two in
-- others, and a system call that wakes the server costs three times as much.
local SERVER_CORE, CLIENT_CORE = 1, 0
local can_pin = os.execute(("taskset -c %d true 2>/dev/null"):format(SERVER_CORE))
can_pin = can_pin == true or can_pin == 0

local function pinned(core)
  return can_pin and ("taskset -c %d "):format(core) or ""
end

local temporary = {}

local function temporary_file(bytes)
  local path = os.tmpname()
  temporary[#temporary + 1] = path
  if bytes then
    local file = assert(io.open(path, "wb"))
    assert(file:write(bytes))
    assert(file:close())
  end
  return path
end

local function body_file(work)
  return temporary_file(material.body(material.messages(work.messages, work.size), work.prompt))
end

-- Runs a contestant and returns the figures it prints, each with its name in
-- front of it.
local function figures(words)
  local pipe = assert(io.popen(pinned(CLIENT_CORE) .. command(words), "r"))
  local output = pipe:read("*a")
  pipe:close()
  local found = {}
  for key, value in output:gmatch("(%S+) (%-?[%d.]+)\n") do
    found[key] = tonumber(value)
  end
  if not next(found) then
    error(command(words) .. " failed: " .. output, 0)
  end
  return found
end

-- The one figure it prints under `key`.
local function figure(words, key)
  return figures(words)[key] or error(command(words) .. " prints no " .. key, 0)
end

--------------------------------------------------------------- the server

local server = {}

function server.start()
  for _, name in ipairs{ "server", "floor" } do
    local file = io.open(programs .. name)
    if not file then
      error("build/bench/" .. name .. " is missing: make bench-programs", 0)
    end
    file:close()
  end
  local path = temporary_file()
  local start = pinned(SERVER_CORE) .. command{ programs .. "server", SERVER_SECONDS }
  server.stdin = assert(io.popen("exec " .. start .. " >" .. quote(path), "w"))
  server.stdout = assert(io.open(path))
  server.url = "http://127.0.0.1:" .. server.line() .. "/"
end

-- The next line the server writes. Plain Lua cannot wait for a file.
function server.line()
  for _ = 1, 500 do
    local line = server.stdout:read("*l")
    if line then
      return line
    end
    os.execute("sleep 0.02")
  end
  error("the bench server does not answer", 0)
end

--- What the server did since it was last asked.
function server.report()
  server.stdin:write("\n")
  server.stdin:flush()
  local report = {}
  for key, value in server.line():gmatch("(%S+) (%S+)") do
    report[key] = tonumber(value)
  end
  return report
end

function server.stop()
  if server.stdin then
    server.stdin:close()
    server.stdout:close()
    server.stdin = nil
  end
end

----------------------------------------------------------------- the cases

-- A case against the floor lists contestants, the floor first and opperchat
-- second, and any others to be shown beside them; `aim` is the ratio of the
-- second to the first. A case without a floor has `run`, which returns the
-- figure that `aim` limits.

local function url(path)
  return server.url .. path
end

-- What a journal takes for a turn behind so many messages.
local function journal_turn(length)
  return figures(lua("journal.lua", "turns", length, temporary_file()))
end

local cases = {
  {
    name = "requests",
    title = "1,000 requests one after another, 1 KB body",
    aim = 1.3,
    rounds = 31,
    contestants = function()
      local work = material.requests
      return {
        { "floor", floor("sequential", work.requests, body_file(work),
          url("plain/chat/completions")) },
        { "opperchat", lua("requests.lua", url("plain")) },
      }
    end,
  },
  {
    name = "history",
    title = "10 requests, history of 10,000 messages, 10 MB",
    aim = 1.2,
    rounds = 31,
    contestants = function()
      local work = material.history
      return {
        { "floor", floor("post", work.requests, body_file(work), url("plain/chat/completions")) },
        { "opperchat", lua("history.lua", url("plain")) },
      }
    end,
  },
  {
    name = "burst",
    title = "a stream of 500,000 chunks in bursts",
    aim = 6,
    rounds = 11,
    contestants = function()
      local path = "burst/500000/20"
      return {
        { "floor", floor("burst", url(path .. "/chat/completions")) },
        { "opperchat", lua("burst.lua", url(path), 500000, 20) },
      }
    end,
  },
  {
    name = "npm",
    title = "the same, the official npm client's CPU beside ours",
    -- Of one run each: the npm client takes seconds.
    aim = 20,
    at_least = true,
    unit = "x",
    rounds = 3,
    run = function()
      local path = "burst/500000/20"
      local peer = io.open(here .. "/../spec/peer/node_modules/openai/package.json")
      if not peer then
        return nil, "spec/peer/install.sh installs it"
      end
      peer:close()
      return figure({ "node", here .. "/peer.mjs", url(path) }, "cpu")
        / figure(lua("burst.lua", url(path), 500000, 20), "cpu")
    end,
  },
  {
    name = "garbage",
    title = "Lua garbage of a stream beyond the text handed over",
    aim = 0.05,
    unit = "bytes per byte",
    rounds = 1,
    run = function()
      return figure(lua("burst.lua", url("burst/100000/20"), 100000, 20), "garbage")
    end,
  },
  {
    name = "paced",
    title = "1,000 streams at once, 100 chunks each, 20 a second",
    aim = 1.0,
    rounds = 5,
    contestants = function()
      local path = "paced/100/50000"
      return {
        { "floor", floor("paced", 1000, url(path .. "/chat/completions")) },
        { "opperchat", lua("paced.lua", url(path), 1000) },
      }
    end,
  },
  {
    name = "frames",
    title = "64 streams of 100 chunks a second, a poll at 60 Hz",
    unit = "ms",
    rounds = 1,
    rows = {
      { "median", "CPU of a poll, median" },
      { "p99", "  99th percentile" },
      { "worst", "  worst" },
      { "idle", "  with nothing to do" },
    },
    run = function()
      return figures(lua("frames.lua", url("paced/300/10000"), 64))
    end,
  },
  {
    name = "policy",
    title = "keep, fit and shrink on 10,000 messages, the slowest",
    aim = 5,
    unit = "ms",
    rounds = 3,
    run = function()
      return figure(lua("policy.lua"), "ms")
    end,
  },
  {
    name = "message",
    title = "memory of a message beyond its JSON text",
    aim = 100,
    unit = "bytes",
    rounds = 1,
    run = function()
      local most = 0
      for _, shape in ipairs{ { 200000, 20 }, { 200000, 100 }, { 200000, 300 }, { 50000, 1000 } } do
        most = math.max(most, figure(lua("memory.lua", "message", shape[1], shape[2]), "bytes"))
      end
      return most
    end,
  },
  {
    name = "fork",
    title = "memory of a fork, per message (1 KB of text each)",
    -- The list may be copied, a reference and room to grow; the text may not.
    aim = 16,
    unit = "bytes",
    rounds = 1,
    run = function()
      return figure(lua("memory.lua", "fork", 10000, 1000), "bytes") / 10000
    end,
  },
  {
    name = "require",
    title = "require \"opperchat\" in a new process",
    aim = 2,
    unit = "ms",
    rounds = 1,
    run = function()
      return figure(lua("require.lua"), "require_ms")
    end,
  },
  {
    name = "require",
    title = "what is loaded when (CPU, memory of Lua)",
    rounds = 1,
    rows = {
      { "require_ms", "require \"opperchat\"", "%.2f ms" },
      { "require_kb", "  memory of Lua", "%.0f KB" },
      { "require_resident", "  resident memory", "%.0f KB" },
      { "require_files", "  files of Lua", "%.0f" },
      { "require_objects", "  shared objects (lua-cjson)", "%.0f" },
      { "core_ms", "the core, at the first use of anything", "%.2f ms" },
      { "core_objects", "  shared objects (libcurl and what it needs)", "%.0f" },
      { "chat_ms", "the first conversation behind it", "%.2f ms" },
      { "chat_kb", "  memory of Lua", "%.0f KB" },
      { "client_ms", "the first client (libcurl and TLS start)", "%.2f ms" },
      { "all_ms", "all modules at once, which nothing does", "%.2f ms" },
      { "all_kb", "  memory of Lua", "%.0f KB" },
    },
    run = function()
      return figures(lua("require.lua"))
    end,
  },
  {
    name = "journal",
    title = "a turn into a journal: behind 10,000 messages against 10",
    aim = 1.2,
    unit = "x",
    rounds = 5,
    run = function()
      local short, long = journal_turn(10), journal_turn(10000)
      if short.bytes ~= long.bytes then
        error(("journal: %g bytes against %g"):format(long.bytes, short.bytes), 0)
      end
      return long.microseconds / short.microseconds
    end,
  },
  {
    name = "journal",
    title = "conversations in files, turns of 1 KB",
    rounds = 1,
    rows = {
      { "bytes", "a turn in a journal", "%.0f B" },
      { "at_10", "  CPU of it, behind 10 messages", "%.1f us" },
      { "at_1000", "  behind 1,000", "%.1f us" },
      { "at_10000", "  behind 10,000", "%.1f us" },
      { "save", "10,000 messages (5.4 MB): save", "%.1f ms" },
      { "load", "  load", "%.1f ms" },
    },
    run = function()
      local found = {}
      for _, length in ipairs{ 10, 1000, 10000 } do
        local turn = journal_turn(length)
        found.bytes, found["at_" .. length] = turn.bytes, turn.microseconds
      end
      local files = figures(lua("journal.lua", "files", 10000, temporary_file()))
      found.save, found.load = files.save_seconds * 1e3, files.load_seconds * 1e3
      return found
    end,
  },
  {
    name = "media",
    title = "memory for a 20 MB PDF by path (base64: 26.7 MB)",
    -- The base64 text, which is the message, and little else.
    aim = 28,
    unit = "MB",
    rounds = 1,
    run = function()
      return figure(lua("media.lua", "path", 20e6), "megabytes")
    end,
  },
  {
    name = "media-data",
    title = "the same PDF given as a string, beyond that string",
    aim = 28,
    unit = "MB",
    rounds = 1,
    run = function()
      return figure(lua("media.lua", "data", 20e6), "megabytes")
    end,
  },
  {
    name = "endless-cached",
    title = "fit, 500 turns under 8,000 tokens: cached share",
    aim = 85,
    at_least = true,
    unit = "%",
    rounds = 1,
    run = function()
      return figure(lua("endless.lua"), "fit_cached")
    end,
  },
  {
    name = "endless-fill",
    title = "the same: how full the budget is on average",
    aim = 65,
    at_least = true,
    unit = "%",
    rounds = 1,
    run = function()
      return figure(lua("endless.lua"), "fit_fill")
    end,
  },
  {
    name = "endless",
    title = "the same 500 turns with other policies",
    rounds = 1,
    rows = {
      { "fit_paid", "fit: tokens paid, cached ones at a tenth", "%.0f" },
      { "keep_slack_cached", "keep with slack: cached share", "%.1f %%" },
      { "keep_slack_fill", "  how full", "%.1f %%" },
      { "keep_slack_paid", "  tokens paid", "%.0f" },
      { "keep_cached", "keep without slack: cached share", "%.1f %%" },
      { "keep_fill", "  how full", "%.1f %%" },
      { "keep_paid", "  tokens paid", "%.0f" },
      { "sliding_cached", "a plain sliding window: cached share", "%.1f %%" },
      { "sliding_fill", "  how full", "%.1f %%" },
      { "sliding_paid", "  tokens paid", "%.0f" },
    },
    run = function()
      return figures(lua("endless.lua"))
    end,
  },
}

----------------------------------------------------------------- measuring

local function median(values)
  local sorted = {}
  for i, value in ipairs(values) do
    sorted[i] = value
  end
  table.sort(sorted)
  local middle = math.floor(#sorted / 2)
  if #sorted % 2 == 1 then
    return sorted[middle + 1]
  end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

-- What both sent must be alike, or their times say nothing.
local function check_alike(case, reports)
  local first = reports[1]
  for i = 2, #reports do
    local report = reports[i]
    if report.requests ~= first.requests or math.abs(report.bytes - first.bytes)
      > 0.02 * first.bytes + 200 * first.requests then
      error(string.format("%s: %d requests with %d bytes against %d with %d", case.name,
        report.requests, report.bytes, first.requests, first.bytes), 0)
    end
  end
end

local function compare(case, rounds)
  local contestants = case.contestants()
  local values, busy = {}, 0
  for i in ipairs(contestants) do
    values[i] = {}
  end
  for round = 1, rounds do
    local reports = {}
    for turn = 1, #contestants do
      local i = round % 2 == 1 and turn or #contestants + 1 - turn
      server.report()
      values[i][round] = figure(contestants[i][2], "cpu")
      reports[i] = server.report()
      busy = math.max(busy, reports[i].cpu / reports[i].wall)
    end
    check_alike(case, reports)
  end
  local lines = {}
  for i, contestant in ipairs(contestants) do
    lines[i] = { name = contestant[1], value = median(values[i]) }
    lines[i].ratio = lines[i].value / lines[1].value
  end
  return lines, busy
end

local function verdict(met)
  return met and "yes" or "NO"
end

local ROW = "%-54s  %9s  %9s  %6s  %9s  %s"

-- Figures that nobody has set an aim for.
local function run_rows(case)
  local found = case.run()
  print(case.title)
  for _, row in ipairs(case.rows) do
    local form = row[3] or "%.3f " .. case.unit
    print(ROW:format("  " .. row[2], "", form:format(found[row[1]]), "", "", ""))
  end
  return true
end

-- One figure with a limit.
local function run_figure(case, rounds)
  local values = {}
  for round = 1, rounds do
    local value, missing = case.run()
    if not value then
      print(ROW:format(case.title, "", "-", "", "", "skipped: " .. missing))
      return true
    end
    values[round] = value
  end
  local value = median(values)
  local met = case.at_least and value >= case.aim or not case.at_least and value <= case.aim
  print(ROW:format(case.title, "", ("%.4g"):format(value), "",
    ("%s %g %s"):format(case.at_least and ">=" or "<=", case.aim,
      case.unit == "bytes" and "B" or case.unit), verdict(met)))
  return met
end

local function run_case(case, rounds)
  if case.rows then
    return run_rows(case)
  elseif case.run then
    return run_figure(case, rounds)
  end
  local lines, busy = compare(case, rounds)
  local met = lines[2].ratio <= case.aim
  print(ROW:format(case.title, ("%.4f s"):format(lines[1].value), ("%.4f s"):format(lines[2].value),
    ("%.2fx"):format(lines[2].ratio), ("<= %gx"):format(case.aim), verdict(met)))
  for i = 3, #lines do
    print(ROW:format("  beside: " .. lines[i].name, "", ("%.4f s"):format(lines[i].value),
      ("%.2fx"):format(lines[i].ratio), "", ""))
  end
  if busy > SERVER_BUSY then
    print(("  the server was busy for %.0f%% of the time"):format(busy * 100))
  end
  return met
end

local function parse_arguments()
  local wanted, given = { any = false }, {}
  local i = 1
  while arg[i] do
    if arg[i] == "--rounds" then
      i = i + 1
      given.rounds = assert(tonumber(arg[i]), "--rounds takes a number")
    elseif arg[i] == "--strict" then
      given.strict = true
    else
      wanted[arg[i]], wanted.any = true, true
    end
    i = i + 1
  end
  return wanted, given
end

local function main()
  local wanted, given = parse_arguments()
  local all_met = true
  server.start()
  print(ROW:format("case", "floor", "opperchat", "ratio", "aim", "met?"))
  for _, case in ipairs(cases) do
    if not wanted.any or wanted[case.name] then
      local met = run_case(case, case.run and case.rounds or given.rounds or case.rounds)
      all_met = all_met and met
      io.stdout:flush()
    end
  end
  return all_met or not given.strict
end

local ok, result = pcall(main)
server.stop()
for _, path in ipairs(temporary) do
  os.remove(path)
end
if not ok then
  io.stderr:write("bench: ", tostring(result), "\n")
end
os.exit(ok and result and 0 or 1)
