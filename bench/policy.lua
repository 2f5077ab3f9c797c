-- Policies on a long history: 10,000 messages, 10 MB in all, with tool results.
--
--   lua bench/policy.lua
--
-- Prints `ms N`, the CPU time of the slowest of keep, fit and shrink, and each
-- of them by its name; the median of several applications. None of them may
-- decode a message but those it shortens.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local core = require "opperchat.core"
local draft = require "opperchat.policy.draft"
local json = require "opperchat.json"
local material = require "material"
local opperchat = require "opperchat"
local policy = require "opperchat.policy"

local ROUNDS = 5
local work = { messages = 10000, size = 1000 }

-- Turns of four messages: a question, a call, its result and an answer.
local client = opperchat.client{ base_url = "http://127.0.0.1:1", api_key = "test" }
local chat = opperchat.conversation{ client = client, model = "m" }
for i = 1, work.messages / 4 do
  local id = "call_" .. i
  chat:append("user", material.text(4 * i, work.size))
  chat:append{ role = "assistant", content = material.text(4 * i + 1, work.size), tool_calls = {
    { id = id, type = "function", ["function"] = { name = "look", arguments = "{}" } },
  } }
  -- few are so long that shrink has to look at them
  chat:append("tool", material.text(4 * i + 2, i % 250 == 0 and work.size or 400),
    { tool_call_id = id })
  chat:append("assistant", material.text(4 * i + 3, work.size))
end
assert(#chat == work.messages)

local decoded = 0
local decode = json.decode
json.decode = function(...) -- luacheck: ignore
  decoded = decoded + 1
  return decode(...)
end

local tokens = core.tokens(chat)

local function apply(of, given)
  local made = draft.new(core.fork(chat), {
    of = { client = client, fields = 0 }, reserve = 0, can_ask = false,
    is_forced = given and given.is_forced or false,
  })
  local start = os.clock()
  local outcome = policy.run(of, made)
  return os.clock() - start, outcome, made
end

local function median(of, given)
  local times = {}
  local left
  for round = 1, ROUNDS do
    collectgarbage()
    local outcome, made
    times[round], outcome, made = apply(of, given)
    assert(#outcome.errors == 0 and #outcome.steps == 1)
    left = #made.list
  end
  table.sort(times)
  return times[(ROUNDS + 1) / 2] * 1000, left
end

local worst = 0

local function measure(name, of, given)
  decoded = 0
  local ms = median(of, given)
  assert(decoded == (given and given.decodes or 0) * ROUNDS,
    name .. " has decoded " .. decoded .. " messages")
  print(("%s %.3f"):format(name, ms))
  worst = math.max(worst, ms)
end

measure("keep", policy.keep{ turns = 1000 })
measure("fit", policy.fit{ tokens = math.floor(tokens * 0.9), target = 0.5 })
measure("shrink", policy.shrink{}, { is_forced = true, decodes = 9 })
print(("ms %.3f"):format(worst))
