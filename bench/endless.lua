-- What policies leave of a provider's prompt cache, and of the window: 500
-- turns under a budget of 8,000 tokens. No server: the answers are made up, and
-- what counts are the bodies that would be posted.
--
--   lua bench/endless.lua [TURNS [BUDGET]]
--
-- Prints for each policy
--
--   NAME_cached N   share of the prompt tokens that stood at the beginning of
--                   the request before as well, in percent
--   NAME_fill N     how full the budget is, on average, in percent
--   NAME_paid N     tokens of a prompt when a cached one costs a tenth, on
--                   average

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local core = require "opperchat.core"
local draft = require "opperchat.policy.draft"
local material = require "material"
local opperchat = require "opperchat"

local policy, count = require "opperchat.policy", opperchat.tokens.count

local turns, budget = tonumber(arg[1] or 500), tonumber(arg[2] or 8000)

-- A turn has 350 tokens or so: that many turns are nearly the budget.
local KEPT = math.floor(budget / 360)

-- The same sizes in each run, small and large ones mixed.
local function size_of(number, least, most)
  return least + math.floor((number * 7919) % 101 * (most - least) / 100)
end

-- What others do: the oldest turns go one by one, as soon as it is too much.
local function sliding_window(messages, info)
  local size = info.tokens
  while size > budget do
    repeat
      local gone = table.remove(messages, 2)
      size = size - count(gone.content) - core.TOKENS_MESSAGE
    until messages[2].role == "user"
  end
  return messages
end

local POLICIES = {
  { "fit", policy.fit{ tokens = budget } },
  { "keep_slack", policy.keep{ turns = math.floor(KEPT / 2), slack = math.ceil(KEPT / 2) } },
  { "keep", policy.keep{ turns = KEPT } },
  { "sliding", sliding_window },
}

-- How many bytes two texts have in common at their beginning.
local function common(a, b)
  local low, high = 0, math.min(#a, #b)
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if a:sub(low + 1, middle) == b:sub(low + 1, middle) then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

local client = opperchat.client{ base_url = "http://127.0.0.1:1", api_key = "test" }

local function measure(name, given)
  local of = policy.compile(given, "bench")
  local chat = opperchat.conversation{ client = client, model = "m",
    system = material.text(0, 800) }
  local before, prompt, cached = "", 0, 0
  for turn = 1, turns do
    chat:append("user", material.text(2 * turn, size_of(turn, 60, 700)))
    local made = draft.new(core.fork(chat), {
      of = { client = client, model = "m", fields = 0 }, model = "m", reserve = 0,
      is_forced = false, can_ask = false,
    })
    local outcome = policy.run(of, made)
    assert(#outcome.errors == 0, outcome.errors[1] and outcome.errors[1].err)
    core.assign(chat, made.list)

    local body, size = chat:preview(), made:tokens()
    prompt = prompt + size
    cached = cached + math.floor(size * common(body, before) / #body)
    before = body
    chat:append("assistant", material.text(2 * turn + 1, size_of(turn * 31, 200, 2000)))
  end
  print(("%s_cached %.2f"):format(name, 100 * cached / prompt))
  print(("%s_fill %.2f"):format(name, 100 * prompt / turns / budget))
  print(("%s_paid %.0f"):format(name, (prompt - 0.9 * cached) / turns))
end

for _, entry in ipairs(POLICIES) do
  measure(entry[1], entry[2])
end
client:close()
