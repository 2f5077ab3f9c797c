--- A conversation with a journal and a policy, and a server that misbehaves at
-- random: whatever happens, the file holds exactly the list.
--
--   local journal = require "spec.soak.journal"
--   journal.run{ turns = 2000, seed = 1 }       one process; the file is opened again and again
--   journal.kill{ rounds = 20, seed = 1 }       programs that are killed at random
--
-- Both raise when something is not as it has to be, and return figures.

local socket = require "socket"
local opperchat = require "opperchat"
local Dice = require "spec.support.dice"
local Server = require "spec.support.server"
local faults = require "spec.support.matrix_faults"
local matrix = require "spec.support.matrix"
local shell = require "spec.support.shell"

local journal = {}

local function check(condition, ...)
  if not condition then
    local words = { ... }
    for i = 1, #words do
      words[i] = tostring(words[i])
    end
    error(table.concat(words, " "), 0)
  end
end

-- What the server may do instead of answering.
local function bad_answers()
  local list = {}
  for _, fault in ipairs(faults) do
    for _, form in ipairs(matrix.forms) do
      local plan = fault[form]
      if plan and plan.answer and not plan.deadline and not plan.options
        and fault.group ~= "The server redirects" and fault.name ~= "an endless event" then
        list[#list + 1] = { form, plan.answer(matrix.answers[form], {}) }
      end
    end
  end
  return list
end

local function load(path)
  local list, report = opperchat.load(path)
  check(list, "the journal cannot be read:", report)
  check(opperchat.history.check(list:messages()), "the list in the journal is not valid")
  check(not report.repaired, "the list in the journal had to be mended")
  return list, report
end

--- What the conversations of this are like.
---@param given { base_url: string, path: string }
function journal.open(given)
  return opperchat.conversation {
    client = opperchat.client { base_url = given.base_url, api_key = "op-5ecret-Key",
      max_retries = 0 },
    model = "m", system = "Count.", journal = given.path,
    policy = opperchat.policy.fit { tokens = 600, target = 0.5 },
  }
end

-- One turn with any driver.
local function turn(chat, prompt, driver, form)
  local reply, err
  local given = { stream = form == "streamed" }
  if driver == "poll" then
    given.on_done = function(...)
      reply, err = ...
    end
    chat:start(prompt, given)
    while not reply and not err do
      opperchat.poll { seconds = 0.05 }
    end
  elseif driver == "go" then
    opperchat.go(function()
      reply, err = chat:send(prompt, given)
    end):wait()
  else
    reply, err = chat:send(prompt, given)
  end
  return reply, err
end

--- One process. `failures`: of how many percent of the requests nothing comes.
---@param given { turns: integer, seed: integer }
---@return table figures { seconds, turns, failed, dropped, reopened }
function journal.run(given)
  local dice, server, bad = Dice.new(given.seed), Server.start(), bad_answers()
  local path = os.tmpname()
  os.remove(path)
  local begun = socket.gettime()
  local figures = { turns = 0, failed = 0, reopened = 0, refused = 0 }
  local chat = assert(journal.open { base_url = server.url, path = path })
  while figures.turns < given.turns do
    local before, form = chat:export(), dice:pick(matrix.forms)
    local is_away = dice:chance(2)
    if dice:chance(25) then
      local answer = dice:pick(bad)
      form = answer[1]
      matrix.answer_with(server, answer[2])
    end
    if is_away then
      -- somebody takes the file
      assert(os.rename(path, path .. ".away"))
    end
    local prompt = figures.turns + 1 .. (" word"):rep(dice:roll(30))
    local reply, err = turn(chat, prompt, dice:pick(matrix.drivers), form)
    if is_away then
      assert(os.rename(path .. ".away", path))
      check(not reply, "a turn was kept without its journal")
      figures.refused = figures.refused + (err.kind == "store" and 1 or 0)
    end
    if reply then
      figures.turns = figures.turns + 1
      local last = chat:messages(-2, -1)
      check(last[1].content == prompt and last[2].content == "ok", "another turn is the last")
    else
      figures.failed = figures.failed + 1
      check(chat:export() == before, "the list has changed:", err)
    end
    if dice:chance(2) then
      chat:append("user", "by hand"):append("assistant", "ok")
    elseif dice:chance(2) then
      chat:undo()
    end
    if dice:chance(2) then
      local list = chat:export()
      check(load(path):export() == list, "the journal has another list")
      chat:close()
      chat = assert(journal.open { base_url = server.url, path = path })
      check(chat:export() == list, "another list has come back")
      figures.reopened = figures.reopened + 1
    end
    server:reset()
  end
  check(load(path):export() == chat:export(), "the journal has another list at the end")
  figures.messages, figures.seconds = #chat, socket.gettime() - begun
  chat:close()
  server:stop()
  os.remove(path)
  return figures
end

local CHILD = [[
  local journal = require "spec.soak.journal"
  journal.child(arg[1], arg[2])
]]

--- The program that is killed: a turn after the other; after each one a line
--- with its number and the list, or that it has failed.
function journal.child(base_url, path)
  local function say(...)
    io.write(table.concat({ ... }, " "), "\n")
    io.flush()
  end
  local chat, err = journal.open { base_url = base_url, path = path }
  if not chat then
    say("closed", tostring(err))
    return
  end
  local last = chat:messages(-2, -2)[1]
  local number = last and tonumber(last.content:match("^%d+")) or 0
  say("open", number, chat:export())
  local tries = 0
  while true do
    tries = tries + 1
    local text = number + 1 .. "." .. tries .. (" word"):rep(number % 7 == 0 and 300 or 5)
    local reply
    reply, err = chat:send(text)
    if reply then
      number = number + 1
      say("done", number, chat:export())
    else
      say("failed", number, err.kind)
    end
  end
end

--- Kills such a program again and again, and looks at what it has left.
---@param given { rounds: integer, seed: integer }
---@return table figures { rounds, turns, failed, ahead, torn, seconds }
function journal.kill(given)
  local dice, server, bad = Dice.new(given.seed), Server.start(), bad_answers()
  local path, program = os.tmpname(), shell.write_file(os.tmpname(), CHILD)
  os.remove(path)
  local command = "echo $$; exec " .. shell.quote(shell.interpreter()) .. " " .. program .. " "
    .. server.url .. " " .. path .. " 2>&1"
  local figures = { rounds = given.rounds, turns = 0, failed = 0, ahead = 0, torn = 0 }
  local begun = socket.gettime()
  local confirmed, list = 0, nil
  for _ = 1, given.rounds do
    server:reset()
    for _ = 1, 40 do
      if dice:chance(40) then
        matrix.answer_with(server, dice:pick(bad)[2])
      else
        server:reply { body = matrix.answers.whole.all }
      end
    end
    local pipe = assert(io.popen(command))
    local pid = pipe:read("*l")
    local function read()
      local line = pipe:read("*l")
      local word, number, rest = (line or ""):match("^(%l+) (%d+) (.*)$")
      if word == "failed" then
        figures.failed = figures.failed + 1
      elseif word then
        confirmed, list = tonumber(number), rest
      else
        check(not line, "the program says", line)
      end
      return line
    end
    if dice:chance(10) then
      socket.sleep(dice:roll(30) / 1000)
    else
      for _ = 1, dice:roll(60) do
        read()
      end
      socket.sleep(dice:roll(40) / 10000)
    end
    os.execute("kill -9 " .. pid)
    repeat until not read()
    pipe:close()
    local found, report = opperchat.load(path)
    if found then
      found, report = load(path)
      figures.torn = figures.torn + (report.torn and 1 or 0)
      local last = found:messages(-2, -2)[1]
      local number = last and tonumber(last.content:match("^%d+")) or 0
      if number == confirmed + 1 then
        figures.ahead = figures.ahead + 1
      else
        check(number == confirmed, number, "turns in the journal,", confirmed, "were confirmed")
        check(not list or found:export() == list, "the journal has another list than the program")
      end
      confirmed, list = number, found:export()
    else
      check(confirmed == 0, "the journal is lost:", report)
    end
  end
  figures.turns, figures.seconds = confirmed, socket.gettime() - begun
  server:stop()
  os.remove(path)
  os.remove(program)
  return figures
end

return journal
