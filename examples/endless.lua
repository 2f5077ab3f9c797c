--- A conversation of 500 turns in which no request is larger than 8,000 tokens,
-- beside the same conversation without a policy.
--
--   lua5.4 examples/endless.lua [TURNS [TOKENS]]
--
-- It always talks to the offline server that comes with the examples: the real
-- client over HTTP, and a model that only pretends. That one counts tokens, tells
-- how many of them a provider would have had in its cache, and asks the price of a
-- small hosted model, cached tokens at a tenth.

local opperchat = require "opperchat"

local here = arg[0]:match("^(.*[/\\])") or "./"
local chart = dofile(here .. "support/chart.lua")
local tour = dofile(here .. "support/tour.lua")

local turns, budget = tonumber(arg[1] or 500), tonumber(arg[2] or 8000)
if not turns or not budget or turns < 10 or budget < 500 then
  io.stderr:write("usage: endless.lua [TURNS [TOKENS]], at least 10 and 500\n")
  os.exit(1)
end

local policy = opperchat.policy

-- At 85 % of the budget the older turns become a summary. `fit` has something to
-- do only when there is none, because the model could not be reached.
local POLICY = policy.pipeline{
  policy.summarize{ tokens = budget },
  policy.fit{ tokens = budget },
}

-- Holds the conversation, and notes what each turn took.
local function hold(client, given)
  local run = { size = {}, cached = {}, cost = {}, asked = 0, right = 0, summaries = 0, last = {} }
  local chat = opperchat.conversation{
    client = client, model = "openai/gpt-5-mini", system = tour.system, policy = given,
    on_compact = function(report, err)
      assert(not err, tostring(err))
      run.summaries = run.summaries + (report.policy == "summarize" and 1 or 0)
    end,
  }
  local spent = 0
  for turn = 1, turns do
    local prompt, is_right = tour.turn(turn, turns)
    local reply = assert(chat:send(prompt))
    if turn == tour.important then
      chat:pin(-2)                      -- no policy ever takes this one out
    end
    local usage, cost = reply.usage, chat:usage().cost
    run.size[turn] = usage.prompt_tokens
    run.cached[turn] = 100 * usage.cached_tokens / usage.prompt_tokens
    run.cost[turn], spent = cost - spent, cost
    if is_right then
      run.asked = run.asked + 1
      run.right = run.right + (is_right(reply.content) and 1 or 0)
    end
    run.last[#run.last + 1] = turn > turns - 2 and { prompt, reply.content } or nil
  end
  run.usage, run.messages = chat:usage(), #chat
  return run
end

-- 1234567 as 1,234,567
local function grouped(number)
  local text = ("%d"):format(math.floor(number + 0.5))
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function dollars(value)
  return ("$%.4f"):format(value)
end

local function percent(value)
  return ("%d %%"):format(math.floor(value + 0.5))
end

local function highest(values)
  local most = 0
  for _, value in ipairs(values) do
    most = math.max(most, value)
  end
  return most
end

local function draw(plain, bounded)
  print(("%s turns    %s without a policy    %s with one, for %s tokens\n"):format(
    grouped(turns), chart.back, chart.front, grouped(budget)))
  print(chart.draw{ title = "Context: tokens of each request", back = plain.size,
    front = bounded.size, rows = 8, format = grouped })
  print(chart.draw{
    title = "\nCached: share of them that stood at the beginning of the request before",
    back = plain.cached, front = bounded.cached, rows = 3, top = 100, format = percent })
  print(chart.draw{ title = "\nCost of each turn, summaries included", back = plain.cost,
    front = bounded.cost, rows = 6, format = dollars })
  print(chart.axis(turns) .. "\n")
end

local function sum_up(plain, bounded)
  local function row(title, ...)
    print((("%-40s%18s%20s"):format(title, ...):gsub("%s+$", "")))
  end
  local function compare(title, form, of)
    row(title, form(of(plain)), form(of(bounded)))
  end
  row("", "without a policy", "with one")
  compare("Messages in the list at the end", grouped, function(run) return run.messages end)
  compare("Largest request, tokens", grouped, function(run) return highest(run.size) end)
  compare("All prompts, tokens", grouped, function(run) return run.usage.prompt_tokens end)
  compare("Of them cached", function(share) return ("%.1f %%"):format(share) end, function(run)
    return 100 * run.usage.cached_tokens / run.usage.prompt_tokens
  end)
  compare("Questions about the past, answered", tostring, function(run)
    return ("%d of %d"):format(run.right, run.asked)
  end)
  row("Summaries written", "", grouped(bounded.summaries))
  compare("Cost", dollars, function(run) return run.usage.cost end)
  row("Saved", "", percent(100 * (1 - bounded.usage.cost / plain.usage.cost)))
end

local function main(client)
  local plain = hold(client)
  local bounded = hold(client, POLICY)
  draw(plain, bounded)
  sum_up(plain, bounded)
  print(("\nTurn %d, pinned: %s"):format(tour.important, (tour.turn(tour.important))))
  for i, exchange in ipairs(bounded.last) do
    print(("Turn %d: %s\n  %s"):format(turns - 2 + i, exchange[1], exchange[2]))
  end
end

local offline = dofile(here .. "support/offline.lua").start()
local client = opperchat.client{ base_url = offline.url, api_key = "" }
local ok, err = pcall(main, client)
client:close()
offline:stop()
if not ok then
  io.stderr:write("endless: ", tostring(err), "\n")
  os.exit(1)
end
