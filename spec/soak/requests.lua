--- Requests without number in one process, and a server that misbehaves at
-- random: what has to hold for each of them, and what they leave behind.
--
--   local requests = require "spec.soak.requests"
--   local samples = requests.run{ requests = 100000, streams = 1000, seed = 1, bulk = URL }
--
-- Most requests are answered as they should be, by the server of the benches at
-- `bulk` (without it, by the scripted one); one of twenty meets a fault of
-- spec/support/matrix_faults.lua or is cancelled; and so many streams are cut
-- at any byte. Raises when one of them ends in a way that it should not.

local socket = require "socket"
local core = require "opperchat.core"
local opperchat = require "opperchat"
local Dice = require "spec.support.dice"
local Server = require "spec.support.server"
local faults = require "spec.support.matrix_faults"
local matrix = require "spec.support.matrix"
local shell = require "spec.support.shell"

local requests = {}

-- Seconds that everything together may take to end.
local PATIENCE = 60

-- How long conversations become.
local TURNS = 20

-- {==== what the process holds ====

local function resident_kib()
  local file = io.open("/proc/self/status")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("VmRSS:%s*(%d+)"))
end

--- What is in use now, after everything that nobody holds has been collected.
function requests.sample()
  for _ = 1, 3 do
    collectgarbage()
  end
  return {
    rss = resident_kib(), lua = collectgarbage("count"), descriptors = shell.count_descriptors(),
    -- only in a build that counts them
    blocks = core.live_blocks and core.live_blocks(),
  }
end

-- }====

--- How much more may be in use at the end than after a tenth: KiB, and numbers.
--- What a process has grown to at its busiest stays with it, in holes between
--- what is in use; and connections are kept for a while.
requests.growth = { rss = 2048, lua = 512, descriptors = 40, blocks = 0 }

--- Raises when it is more.
---@param samples table[] as `run` returns them
---@param is_short boolean? not long enough to tell growth from the coming and going of holes
function requests.check_growth(samples, is_short)
  local first, last = samples[is_short and 5 or 1], samples[#samples]
  for name, most in pairs(requests.growth) do
    if first[name] and last[name] - first[name] > most and not (is_short and name == "rss") then
      error(("%s: %.0f before, %.0f at the end"):format(name, first[name], last[name]), 0)
    end
  end
end

-- {==== answers ====

local function chunk(bytes)
  return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

-- A stream of forty words, and the text of it.
local function long_stream()
  local parts, words = { "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    .. "Transfer-Encoding: chunked\r\n\r\n" }, {}
  for i = 1, 40 do
    local word = "w\195\182rd " .. i .. ", "
    words[i] = word
    parts[#parts + 1] = chunk('data: {"choices":[{"index":0,"delta":{"content":"' .. word
      .. '"}}]}\n\n')
  end
  parts[#parts + 1] = chunk('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
  parts[#parts + 1] = chunk("data: [DONE]\n\n") .. chunk("")
  return table.concat(parts), table.concat(words)
end

local STREAM, TEXT = long_stream()

-- What the scripted server may do: { whole = list, streamed = list }.
local function all_answers()
  local lists = { whole = {}, streamed = {} }
  local nowhere = { other = { port = 1, url = "http://127.0.0.1:1" }, good_port = 1 }
  for _, fault in ipairs(faults) do
    for _, form in ipairs(matrix.forms) do
      local plan = fault[form]
      -- bombs would be what this process remembers most of
      local answer = plan and plan.answer and not plan.deadline and not plan.options
        and fault.name ~= "an endless event" and plan.answer(matrix.answers[form], nowhere)
      if answer and not answer.default then
        table.insert(lists[form], answer)
      end
    end
  end
  return lists
end

-- }====

-- {==== one request ====

local function check(condition, ...)
  if not condition then
    error(table.concat({ ... }, " "), 0)
  end
end

local Run = {}
Run.__index = Run

-- Notes how a request has ended.
function Run:note(reply, err)
  self.ended = self.ended + 1
  local kind = reply and "reply" or err.kind
  self.kinds[kind] = (self.kinds[kind] or 0) + 1
end

-- A request to a conversation: { is_over, ... }. `wanted`: the only text it may
-- bring, all of it or a beginning.
function Run:start(chat, driver, form, wanted)
  local before, text, endings = #chat, {}, 0
  local one = { chat = chat }
  local given = {
    stream = form == "streamed",
    on_delta = form == "streamed" and function(piece)
      text[#text + 1] = piece
    end or nil,
    on_done = function(reply, err)
      endings = endings + 1
      check(endings == 1, "a request ended twice")
      one.is_over = true
      local got = table.concat(text)
      local answer = reply or err.partial
      if form == "streamed" then
        check(got == (answer and answer.content or ""), "told:", got, "answered:",
          tostring(answer and answer.content))
      end
      -- one that meets the end of a kept connection is sent again, and may find
      -- nothing else queued
      if wanted and got ~= "ok" then
        check(got == wanted:sub(1, #got), "not a beginning:", got)
        check(not reply or got == wanted, "a part, taken for the whole:", got)
      end
      local after = reply and math.min(before + 2, 1 + 2 * TURNS) or before
      check(#chat == after, "the list has", #chat, "messages, not", after)
      self:note(reply, err)
    end,
  }
  self.started = self.started + 1
  if driver == "poll" then
    one.request = chat:start("hello", given)
  elseif driver == "go" then
    one.task = opperchat.go(function()
      chat:send("hello", given)
    end)
  else
    chat:send("hello", given)
  end
  return one
end

-- Moves everything until these have ended.
local function wait(list)
  local deadline = socket.gettime() + PATIENCE
  local is_over
  repeat
    is_over = true
    for _, one in ipairs(list) do
      is_over = is_over and one.is_over
    end
    if not is_over then
      opperchat.poll { seconds = 0.05 }
      check(socket.gettime() < deadline, "a request does not end")
    end
  until is_over
end

-- }====

-- {==== what happens ====

local function new_client(url)
  return opperchat.client {
    base_url = url, api_key = "op-5ecret-Key", max_retries = 0, max_response_bytes = 100000,
    timeout = { connect = PATIENCE, first_token = PATIENCE, idle = PATIENCE },
  }
end

-- Conversations are of all lengths, and some live long.
function Run:chat(client)
  local dice = self.dice
  local chats = self.chats[client]
  local chat = chats[dice:roll(8)]
  if not chat or dice:chance(10) or core.is_busy(chat) then
    chat = opperchat.conversation {
      client = client, system = "Be brief.", policy = opperchat.policy.keep { turns = TURNS },
    }
    chats[dice:roll(8)] = chat
  elseif dice:chance(5) then
    chat = chat:fork()
  end
  return chat
end

-- Several good requests, one after another or together.
function Run:good(count)
  local dice, list = self.dice, {}
  local driver = dice:pick(matrix.drivers)
  for i = 1, count do
    local form = dice:pick(matrix.forms)
    list[i] = self:start(self:chat(self.bulk[form]), driver, form)
  end
  wait(list)
end

-- Several bad ones together; some of them are cancelled.
function Run:bad(count)
  local dice, list = self.dice, {}
  local form, is_silent = dice:pick(matrix.forms), dice:chance(30)
  for i = 1, count do
    local driver = dice:pick(matrix.drivers)
    -- which of them meets the silence is not certain: nobody may wait for it
    if is_silent and driver == "blocking" then
      driver = "poll"
    end
    if is_silent and dice:chance(50) then
      self.server:script { { "send", STREAM:sub(1, dice:roll(#STREAM)) }, { "stall" } }
    else
      matrix.answer_with(self.server, dice:pick(self.answers[form]))
    end
    list[i] = self:start(self:chat(self.faulty), driver, form)
    if driver ~= "blocking" and dice:chance(20) then
      opperchat.poll()
    end
  end
  -- whoever got the silence does not end by himself
  for _ = 1, 20 do
    opperchat.poll { seconds = 0.002 }
  end
  for _, one in ipairs(list) do
    if not one.is_over then
      one.chat:cancel()
    end
  end
  wait(list)
  self.server:reset()
end

-- Streams that break off at any byte.
function Run:cut(count)
  local dice, list = self.dice, {}
  for i = 1, count do
    self.server:script {
      { "send", STREAM:sub(1, dice:roll(#STREAM)) }, { "sleep", dice:chance(50) and 0 or 0.005 },
      { dice:pick { "close", "reset" } },
    }
    list[i] = self:start(self:chat(self.faulty), dice:pick { "poll", "go" }, "streamed", TEXT)
  end
  wait(list)
  self.server:reset()
end

-- A client is closed with requests under way, and a new one takes its place.
function Run:replace()
  local list = {}
  for i = 1, 3 do
    self.server:script { { "stall" } }
    list[i] = self:start(self:chat(self.faulty), "poll", "streamed")
  end
  opperchat.poll()
  self.faulty:close()
  wait(list)
  self.server:reset()
  self.chats[self.faulty] = nil
  self.faulty = new_client(self.server.url)
  self.chats[self.faulty] = {}
end

-- }====

--- Runs it. `on_tenth(i, sample)` is told of each tenth of the work.
---@param given { requests: integer, streams: integer, seed: integer, bulk: string?,
---   on_tenth: function? }
---@return table[] samples what was in use after each tenth of the work
---@return table figures { seconds, started, kinds }
function requests.run(given)
  local before = requests.sample()
  local self = setmetatable({
    dice = Dice.new(given.seed), server = Server.start(), answers = all_answers(),
    started = 0, ended = 0, kinds = {}, chats = {},
  }, Run)
  local begun = socket.gettime()
  self.bulk = {
    whole = new_client(given.bulk and given.bulk .. "plain" or self.server.url),
    streamed = new_client(given.bulk and given.bulk .. "burst/20/16" or self.server.url),
  }
  self.faulty = new_client(self.server.url)
  for _, client in ipairs { self.bulk.whole, self.bulk.streamed, self.faulty } do
    self.chats[client] = {}
  end

  local samples, cut = {}, 0
  local total = given.requests + given.streams
  while self.started < total do
    local kind = self.dice:roll(1000)
    local due = self.started / total * given.streams
    if cut < due then
      local count = math.min(self.dice:roll(20), given.streams - cut)
      cut = cut + count
      self:cut(count)
    elseif kind <= 840 then
      self:good(math.min(self.dice:roll(25), total - self.started))
    elseif kind <= 995 then
      self:bad(self.dice:roll(8))
    else
      self:replace()
    end
    if self.started >= total * (#samples + 1) / 10 and #samples < 10 then
      check(opperchat.poll() == 0, "something is under way still")
      self.server:reset()
      for client in pairs(self.chats) do
        self.chats[client] = {}
      end
      samples[#samples + 1] = requests.sample()
      if given.on_tenth then
        given.on_tenth(#samples, samples[#samples], self)
      end
    end
  end
  check(self.started == self.ended, "requests that have not ended")
  check(not self.kinds.timeout, "requests that were left until their deadline")

  -- with the clients goes everything
  for client in pairs(self.chats) do
    client:close()
  end
  self.server:stop()
  local figures = {
    seconds = socket.gettime() - begun, started = self.started, kinds = self.kinds,
  }
  self = nil -- luacheck: ignore
  local after = requests.sample()
  check(after.descriptors == before.descriptors, before.descriptors, "descriptors before,",
    after.descriptors, "when all is closed")
  check(after.blocks == before.blocks, tostring(before.blocks), "blocks before,",
    tostring(after.blocks), "when all is closed")
  return samples, figures
end

return requests
