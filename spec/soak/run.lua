--- `make soak`: minutes of work against servers that misbehave, and what the
-- process looks like behind it. See requests.lua and journal.lua.
--
--   lua5.4 spec/soak/run.lua [SEED]
--
-- SOAK_REQUESTS, SOAK_STREAMS, SOAK_TURNS and SOAK_KILLS are how many of each.

local requests = require "spec.soak.requests"
local journal = require "spec.soak.journal"
local shell = require "spec.support.shell"

local function number(name, default)
  return tonumber(os.getenv(name) or default)
end

local SEED = tonumber(arg[1]) or os.time() % 100000
local REQUESTS, STREAMS = number("SOAK_REQUESTS", 100000), number("SOAK_STREAMS", 1000)
local TURNS, KILLS = number("SOAK_TURNS", 2000), number("SOAK_KILLS", 100)

-- The server of the benches, for what is answered well: the URL, and what ends it.
local function start_bulk()
  local path = os.tmpname()
  local input = assert(io.popen("exec build/bench/server 3600 >" .. path, "w"))
  local port
  repeat
    require("socket").sleep(0.02)
    port = shell.read_file(path):match("^(%d+)\n")
  until port
  os.remove(path)
  return "http://127.0.0.1:" .. port .. "/", function()
    input:close()
  end
end

local function say(format, ...)
  io.write(format:format(...), "\n")
  io.flush()
end

local failed, passed = 0, 0
local function attempt(what, f)
  local ok, err = pcall(f)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    say("FAILED %s: %s", what, tostring(err))
  end
end

say("seed %d", SEED)

attempt("requests", function()
  local url, stop = start_bulk()
  local samples, figures = requests.run { requests = REQUESTS, streams = STREAMS, seed = SEED,
    bulk = url }
  stop()
  local kinds = {}
  for kind, count in pairs(figures.kinds) do
    kinds[#kinds + 1] = count .. " " .. kind
  end
  table.sort(kinds)
  say("%d requests, %d of them streams cut at random, in %.0f s: %s", figures.started, STREAMS,
    figures.seconds, table.concat(kinds, ", "))
  say("")
  say("| in use | after a tenth | at the end | most of all | may grow by |")
  say("|---|---|---|---|---|")
  for _, row in ipairs {
    { "rss", "memory of the process, KiB" }, { "lua", "Lua's heap, KiB" },
    { "blocks", "blocks of the core" }, { "descriptors", "descriptors" },
  } do
    local name, most = row[1], 0
    for _, sample in ipairs(samples) do
      most = math.max(most, sample[name] or 0)
    end
    if samples[1][name] then
      say("| %s | %.0f | %.0f | %.0f | %.0f |", row[2], samples[1][name], samples[10][name], most,
        requests.growth[name])
    end
  end
  say("")
  requests.check_growth(samples)
end)

attempt("journal", function()
  local figures = journal.run { turns = TURNS, seed = SEED }
  say("%d turns in a journal with a policy, %d failed, %d of them refused by it, %d times opened "
    .. "again, in %.0f s", figures.turns, figures.failed, figures.refused, figures.reopened,
    figures.seconds)
end)

attempt("kill", function()
  local figures = journal.kill { rounds = KILLS, seed = SEED }
  say("%d kills in %d turns, %d failed, %d a turn ahead, %d in the middle of a line, in %.0f s",
    figures.rounds, figures.turns, figures.failed, figures.ahead, figures.torn, figures.seconds)
end)

say("%d passed, %d failed", passed, failed)
os.exit(failed == 0)
