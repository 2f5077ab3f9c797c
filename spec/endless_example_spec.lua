-- examples/endless.lua: what it prints has to be what the numbers say, and the
-- pretend model has to know nothing but what it is sent.

local shell = require "spec.support.shell"
local logbook = dofile("examples/support/pretend_logbook.lua")
local chart = dofile("examples/support/chart.lua")
local pretend_model = dofile("examples/support/pretend_model.lua")
local tour = dofile("examples/support/tour.lua")

local is_slow = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC")

local function output_of(arguments)
  return shell.run(shell.interpreter() .. " examples/endless.lua " .. arguments)
end

-- The last two numbers of the line that begins with a title.
local function numbers_of(text, title)
  local line = text:match("\n" .. title .. "%s+([^\n]+)")
  line = assert(line, title .. "\n" .. text):gsub("[%$,%%]", "")
  local first, second = line:match("([%d.]+)%s+([%d.]+)%s*$")
  return tonumber(first), tonumber(second)
end

local function check(text, turns, budget)
  local plain, bounded = numbers_of(text, "Largest request, tokens")
  assert.truthy(plain > budget, text)
  assert.truthy(bounded <= budget and bounded > 0.6 * budget, text)
  plain, bounded = numbers_of(text, "Messages in the list at the end")
  assert.equal(2 * turns + 1, plain)
  assert.truthy(bounded < plain / 2)
  plain, bounded = numbers_of(text, "Of them cached")
  assert.truthy(plain > bounded and bounded > 50, text)
  -- nothing was forgotten that anybody asked for
  for right, asked in text:match("\nQuestions about the past, answered([^\n]+)")
    :gmatch("(%d+) of (%d+)") do
    assert.equal(asked, right)
    assert.truthy(tonumber(asked) >= 5)
  end
  assert.truthy(text:find("\nTurn 3, pinned: [^\n]*7419%.\n"))
  assert.truthy(text:find("\nTurn " .. turns - 1 .. ": [^\n]+\n  7419, as you told me"), text)
  assert.truthy(text:find("\n  No walnuts%. And you set out from Lisbon%.\n"), text)
  -- 78 columns, and all three charts
  local charts = 0
  for line in text:gmatch("[^\n]*") do
    local columns = #line:gsub("[\128-\191]", "")
    assert.truthy(columns <= 78, line)
    charts = charts + (line:find("┤", 1, true) and line:find("^%s*[%d$]") and 1 or 0)
  end
  assert.truthy(charts >= 3)
  assert.truthy(text:find("└" .. ("─"):rep(60) .. "\n"), text)
end

describe("examples/endless.lua", function()
  it("holds a conversation that is longer than its budget", function()
    local text, status = output_of("60 1500")
    assert.equal("0", status, text)
    check(text, 60, 1500)
    assert.equal(text, (output_of("60 1500")))
  end)

  it("saves money in 500 turns", function()
    if is_slow then
      return
    end
    local text, status = output_of("")
    assert.equal("0", status, text)
    check(text, 500, 8000)
    local plain, bounded = numbers_of(text, "Cost  ")
    assert.truthy(bounded < 0.6 * plain, text)
    local _, cached = numbers_of(text, "Of them cached")
    assert.truthy(cached > 90, text)
  end)

  it("says how it is called", function()
    local text, status = output_of("many")
    assert.equal("1", status)
    assert.truthy(text:find("^usage: "), text)
  end)
end)

describe("the pretend logbook", function()
  local function ask(...)
    local messages = { { role = "system", content = tour.system } }
    for _, text in ipairs{ ... } do
      messages[#messages + 1] = { role = "user", content = text }
    end
    return pretend_model.answer(messages)
  end

  it("knows only what it was sent", function()
    local day = "Day 7: Vigo to Lugo, 52 km. Cool and clear."
    assert.equal("On day 7 you rode 52 km, from Vigo.", ask(day, "How far did I ride on day 7?"))
    assert.equal("Day 6 is not in what I was sent.", ask(day, "How far did I ride on day 6?"))
    assert.equal("You never told me.", ask(day, "What is the code of my lock?"))
    assert.equal("Noted: 52 km.", ask(day))
  end)

  it("takes a summary into the next one", function()
    local first = logbook.summary("The conversation:\n\nUser: I am Ada. Hello!\n\nAssistant: Hi."
      .. "\n\nUser: Day 1: Lisbon to Porto, 50 km. Flat tyre.")
    local second = logbook.summary("Summary of the parts before:\n" .. first
      .. "\n\nThe conversation:\n\nUser: Day 2: Porto to Vigo, 60 km. Flat tyre.")
    assert.truthy(second:find("Said: I am Ada.", 1, true), second)
    assert.truthy(second:find("Days 1 to 2, 110 km, from Lisbon to Vigo.", 1, true), second)
    assert.truthy(second:find("tyre (1, 2)", 1, true), second)
  end)

  it("counts what a provider would have cached", function()
    local messages = { { role = "user", content = "one" }, { role = "assistant", content = "two" } }
    local usage = pretend_model.usage(messages, "three", "trace")
    assert.equal(0, usage.prompt_tokens_details.cached_tokens)
    messages[3] = { role = "user", content = "four" }
    local more = pretend_model.usage(messages, "five", "trace")
    assert.equal(usage.prompt_tokens, more.prompt_tokens_details.cached_tokens)
    messages[1] = { role = "user", content = "another" }
    more = pretend_model.usage(messages, "five", "trace")
    assert.equal(0, more.prompt_tokens_details.cached_tokens)
    assert.equal(0, pretend_model.usage(messages, "five").prompt_tokens_details.cached_tokens)
  end)
end)

describe("charts", function()
  local function draw(given)
    local lines = {}
    for line in chart.draw(given):gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    return lines
  end

  it("have round scales, and the front before the back", function()
    local back, front = {}, {}
    for i = 1, 60 do
      back[i], front[i] = i, i / 2
    end
    local lines = draw{ title = "t", back = back, front = front, rows = 6, format = tostring }
    assert.equal("t", lines[1])
    assert.equal(7, #lines)
    assert.truthy(lines[2]:find("^%s+60[.0]* ┤ +" .. ("░"):rep(6) .. "$"), lines[2])
    assert.truthy(lines[7]:find("│ ▁▁▂▂▂▃"), lines[7])
    assert.truthy(lines[7]:find("█$"), lines[7])
  end)

  it("take fewer values than columns, and zeros", function()
    local lines = draw{ title = "t", back = { 1, 2 }, front = { 0, 2 }, rows = 2, top = 2,
      format = tostring }
    assert.truthy(lines[2]:find("┤ +" .. ("█"):rep(30) .. "$"), lines[2])
    assert.truthy(lines[3]:find("│" .. ("░"):rep(30) .. ("█"):rep(30), 1, true), lines[3])
  end)
end)
