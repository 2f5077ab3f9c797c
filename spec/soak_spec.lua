-- A short form of `make soak`: see spec/soak.

local journal = require "spec.soak.journal"
local requests = require "spec.soak.requests"

-- Checkers of memory, and a collector that never rests, take their time.
local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS") or os.getenv("OPPERCHAT_GC")

-- Another one each day, so that there is news in it; it is in each message.
local SEED = tonumber(os.getenv("SOAK_SEED")) or math.floor(os.time() / 86400) % 100000

local function seeded(f, given)
  given.seed = SEED
  local results = { pcall(f, given) }
  assert(results[1], "SOAK_SEED=" .. SEED .. ": " .. tostring(results[2]))
  return results[2], results[3]
end

describe("a server that misbehaves at random", function()
  it("leaves nothing behind", function()
    local samples, figures = seeded(requests.run, { requests = SLOW and 1000 or 3000,
      streams = SLOW and 60 or 100 })
    assert.truthy(figures.kinds.reply > figures.started / 2)
    if not SLOW then
      requests.check_growth(samples, true)
    end
  end)

  it("does not get between a list and its journal", function()
    local figures = seeded(journal.run, { turns = SLOW and 60 or 300 })
    assert.truthy(figures.failed > figures.turns / 10)
  end)

  it("and a program that is killed at any time lose nothing that was told", function()
    local figures = seeded(journal.kill, { rounds = SLOW and 4 or 20 })
    assert.truthy(figures.turns > 0 and figures.failed > 0)
  end)
end)
