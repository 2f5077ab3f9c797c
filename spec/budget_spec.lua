-- A poll that costs no more than it may: what it leaves, for whom, and in which order.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local socket = require "socket"
local Server = require "spec.support.server"
local sse = require "spec.support.sse"
local with = require "spec.support.with"

-- Under valgrind and the like it takes ten times as long to begin.
local SLOW = (os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC")
  or os.getenv("ASAN_OPTIONS")) and 10 or 1

local HEAD, text = sse.head, sse.text
local END = sse.finish("stop") .. sse.done
-- One thing at a time: a read of one connection, or the handlers of one request.
local NOTHING = { budget = 0 }

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({ base_url = server.url, api_key = "k", max_retries = 0 }, more))
end

before_each(function()
  client = new_client()
end)

after_each(function()
  client:close()
end)

-- Starts a request that notes what it is told.
local function start(own, more)
  local track = { pieces = {}, endings = 0 }
  local handlers = {
    on_delta = function(piece)
      track.pieces[#track.pieces + 1] = piece
    end,
    on_done = function(reply, err)
      track.endings, track.reply, track.err = track.endings + 1, reply, err
    end,
  }
  for name, handler in pairs(more or {}) do
    handlers[name] = handler
  end
  track.request = assert(opperchat.conversation{ client = own or client, model = "m" }
    :start("Hi", handlers))
  return track
end

local function start_many(count, own, more)
  local tracks = {}
  for i = 1, count do
    tracks[i] = start(own, more)
  end
  return tracks
end

-- Sends the requests without a limit, then lets all answers arrive in the
-- buffers of the sockets before anybody reads. A timer that libcurl sets for
-- 200 ms when it connects has passed by then: it would read them all.
local function let_arrive(count)
  local began = core.now()
  local deadline = began + 5
  while (server:status().held < count or core.now() < began + 0.25) and core.now() < deadline do
    opperchat.poll(0.01)
  end
  assert.equal(count, server:release())
  core.sleep(0.2)
end

-- Polls with next to no budget until all have ended, at most so often.
local function poll_to_the_end(tracks, most, each)
  local polls, deadline = 0, core.now() + 20
  local function is_open()
    for _, track in ipairs(tracks) do
      if track.endings == 0 then
        return true
      end
    end
  end
  while is_open() do
    client:poll(NOTHING)
    polls = polls + 1
    assert.is_true(polls <= most and core.now() < deadline, polls)
    if each then
      each(polls)
    end
  end
  return polls
end

local function hold(...)
  server:default { steps = { { "hold" }, { "send", table.concat { ... } }, { "close" } } }
end

-- Answers "1 2 3 ...": each release() lets all of them go on by one.
local function feed(count)
  local steps = { { "send", HEAD .. text("1 ") } }
  for i = 2, count do
    steps[#steps + 1] = { "hold" }
    steps[#steps + 1] = { "send", text(i .. " ") .. (i == count and END or "") }
  end
  steps[#steps + 1] = { "close" }
  server:default { steps = steps }
end

local function one_to(count)
  local words = {}
  for i = 1, count do
    words[i] = i .. " "
  end
  return table.concat(words)
end

-- How far those with the most pieces are ahead of the last one.
local function spread(tracks)
  local least, most = math.huge, 0
  for _, track in ipairs(tracks) do
    least, most = math.min(least, #track.pieces), math.max(most, #track.pieces)
  end
  return most - least
end

describe("a poll with next to no budget", function()
  it("does one thing, and everything in the end", function()
    hold(HEAD, text("a"), text("b"), END)
    local tracks = start_many(12)
    let_arrive(12)
    local told = 0
    poll_to_the_end(tracks, 60, function()
      local now = 0
      for _, track in ipairs(tracks) do
        now = now + #track.pieces
      end
      assert.is_true(now - told <= 1, now - told)
      told = now
    end)
    for _, track in ipairs(tracks) do
      assert.equal(1, track.endings)
      assert.equal("ab", track.reply.content)
      assert.equal("ab", table.concat(track.pieces))
    end
  end)

  it("gives each connection its turn", function()
    feed(30)
    local tracks = start_many(6)
    let_arrive(6)
    local widest = 0
    for _ = 1, 40 do
      client:poll(NOTHING)
      widest = math.max(widest, spread(tracks))
      -- those that have been read are ready again
      server:release()
      core.sleep(0.005)
    end
    -- the kernel alone names the same connections first each time
    assert.is_true(widest <= 2, widest)
    assert.is_true(#tracks[1].pieces >= 2, #tracks[1].pieces)
    poll_to_the_end(tracks, 4000, function()
      server:release()
    end)
    for _, track in ipairs(tracks) do
      assert.equal(1, track.endings)
      assert.equal(one_to(30), table.concat(track.pieces))
    end
  end)

  it("gives each recording its turn", function()
    local path = os.tmpname()
    local own = new_client { record = path }
    server:default { steps = { { "send", HEAD .. text("1 ") }, { "sleep", 0.03 },
      { "send", text("2 ") }, { "sleep", 0.03 }, { "send", text("3 ") }, { "sleep", 0.03 },
      { "send", text("4 ") .. END }, { "close" } } }
    for _ = 1, 6 do
      assert(opperchat.conversation{ client = own, model = "m" }:send("Hi", { stream = true }))
    end
    own:close()
    client:close()
    client = opperchat.client{ base_url = server.url, api_key = "k", replay = path }
    local tracks = start_many(6)
    local widest = 0
    poll_to_the_end(tracks, 200, function()
      widest = math.max(widest, spread(tracks))
    end)
    assert.is_true(widest <= 2, widest)
    for _, track in ipairs(tracks) do
      assert.equal("1 2 3 4 ", table.concat(track.pieces))
      assert.equal(1, track.endings)
    end
    os.remove(path)
  end)

  it("says that it is to be called again at once", function()
    hold(HEAD, text("a"), END)
    local tracks = start_many(12)
    let_arrive(12)
    local has_descriptor = client:pollfd() ~= nil
    local waits = 0
    poll_to_the_end(tracks, 60, function()
      if client:active() > 0 and client:timeout() ~= 0 then
        -- what it has not looked at yet shows at the descriptor
        waits = waits + 1
        if has_descriptor then
          local object = {
            getfd = function() return client:pollfd() end,
            dirty = function() return false end,
          }
          assert.equal(object, socket.select({ object }, nil, 0)[1])
        end
      end
    end)
    assert.is_true(waits <= 2, waits)
    assert.is_nil(client:timeout())
  end)

  it("reads a part of what one connection has", function()
    local events, words = {}, {}
    for i = 1, 3000 do
      words[i] = i .. " "
      events[i] = text(words[i])
    end
    -- by its length, in chunks, and until the end of the connection
    local body = table.concat(events) .. END
    local chunked = {}
    for i = 1, #body, 5000 do
      local part = body:sub(i, i + 4999)
      chunked[#chunked + 1] = ("%x\r\n%s\r\n"):format(#part, part)
    end
    local types = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    for _, answer in ipairs {
      types .. "Content-Length: " .. #body .. "\r\n\r\n" .. body,
      types .. "Transfer-Encoding: chunked\r\n\r\n" .. table.concat(chunked) .. "0\r\n\r\n",
      types .. "Connection: close\r\n\r\n" .. body,
    } do
      hold(answer)
      local tracks = start_many(2)
      let_arrive(2)
      poll_to_the_end(tracks, 1000)
      for _, track in ipairs(tracks) do
        assert.equal(1, track.endings)
        assert.is_nil(track.err)
        assert.equal(table.concat(words), table.concat(track.pieces))
        for _, piece in ipairs(track.pieces) do
          assert.is_true(#piece < 3000, #piece)
        end
      end
    end
  end)

  -- more than can be read: the transfer yields in every poll
  local function flood(first, each)
    local steps = { { "send", HEAD .. first } }
    for i = 1, 40 do
      steps[i + 1] = { "send", (each):rep(math.floor(2 ^ 20 / #each)) }
    end
    server:default { steps = steps }
  end

  local function poll_for(track, seconds)
    local began = core.now()
    while track.endings == 0 and core.now() < began + seconds do
      client:poll(NOTHING)
      core.sleep(0.002)
    end
    assert.equal(1, track.endings)
    return core.now() - began
  end

  it("ends when its time is up although there is always more", function()
    client:close()
    client = new_client{ timeout = { total = 0.4 } }
    flood(text("1 "), ": nothing\n\n")
    local track = start()
    local took = poll_for(track, 3)
    assert.equal("total_timeout", track.err.code)
    assert.is_true(took >= 0.4 and took < 2, took)
    client:close()
    client = new_client{ timeout = { first_token = 0.4 } }
    flood("", ": nothing\n\n")
    track = start()
    took = poll_for(track, 3)
    assert.equal("first_token_timeout", track.err.code)
    assert.is_true(took >= 0.4 and took < 2, took)
  end)

  it("is whole at its end, whatever comes behind that", function()
    flood(text("1 ") .. END, ": nothing\n\n")
    local track = start()
    local took = poll_for(track, 3)
    assert.is_nil(track.err)
    assert.equal("1 ", track.reply.content)
    assert.is_true(took < 2, took)
  end)

  it("hands a large text over in several polls when handlers are slow", function()
    hold(HEAD .. text(("x"):rep(300000)) .. END)
    local most, count = 0, 0
    local track = start(nil, { on_delta = function(piece)
      count = count + #piece
      local until_time = core.now() + 0.001
      repeat until core.now() > until_time
    end })
    let_arrive(1)
    local before
    while track.endings == 0 do
      before = count
      client:poll { budget = 0.0003 }
      most = math.max(most, count - before)
    end
    assert.equal(300000, count)
    assert.equal(65536, most)
    assert.equal(300000, #track.reply.content)
  end)

  it("tells a handler that has raised no more", function()
    hold(HEAD .. text(("x"):rep(300000)) .. END)
    local calls = 0
    local track = start(nil, { on_delta = function()
      calls = calls + 1
      error("no more")
    end })
    assert.has_error(function()
      let_arrive(1)
      poll_to_the_end({ track }, 1000)
    end, nil)
    while track.endings == 0 do
      client:poll(NOTHING)
    end
    assert.equal(1, calls)
    assert.equal(1, track.endings)
  end)

  it("is heard before its time is up", function()
    client:close()
    client = new_client { timeout = { idle = 0.3 } }
    server:default { steps = { { "send", HEAD .. text("a") }, { "hold" },
      { "send", text("b") .. END }, { "close" } } }
    local tracks = start_many(12)
    let_arrive(12)
    core.sleep(0.4)
    poll_to_the_end(tracks, 100)
    for _, track in ipairs(tracks) do
      assert.is_nil(track.err)
      assert.equal("ab", track.reply.content)
    end
  end)

  it("ends what has run out of time while there is always something to be read", function()
    client:close()
    client = new_client { timeout = { idle = 0.3 * SLOW } }
    server:script { { "send", HEAD .. text("a") }, { "hold" }, { "stall" } }
    local silent = start()
    local deadline = core.now() + 5 * SLOW
    while #silent.pieces == 0 and core.now() < deadline do
      client:poll(0.01)
    end
    feed(1000)
    local tracks = start_many(6)
    let_arrive(7)
    while silent.endings == 0 and core.now() < deadline do
      client:poll(NOTHING)
      server:release()
      core.sleep(0.004)
    end
    assert.equal("idle_timeout", silent.err.code)
    for _, track in ipairs(tracks) do
      assert.equal(0, track.endings)
    end
  end)

  it("sends one after the other again", function()
    client:close()
    client = new_client { max_retries = 1 }
    for _ = 1, 6 do
      server:reply { status = 503, headers = { ["Retry-After"] = "0" }, body = "{}" }
    end
    local tracks = start_many(6)
    poll_to_the_end(tracks, 1000, function()
      core.sleep(0.002)
    end)
    for _, track in ipairs(tracks) do
      assert.equal(1, track.endings)
      assert.equal("ok", track.reply.content)
    end
    assert.equal(12, #server:requests())
  end)

  it("keeps its place when connections go", function()
    hold(HEAD, text("a"), text("b"), END)
    local tracks = start_many(10)
    let_arrive(10)
    for _ = 1, 3 do
      client:poll(NOTHING)
    end
    local cancelled = {}
    for _, track in ipairs(tracks) do
      if track.endings == 0 and #track.pieces == 0 and #cancelled < 5 then
        track.request:cancel()
        cancelled[#cancelled + 1] = track
      end
    end
    assert.equal(5, #cancelled)
    -- these may get the numbers of the sockets that went
    server:default()
    local late = start_many(5)
    poll_to_the_end(late, 2000)
    poll_to_the_end(tracks, 200)
    local whole = 0
    for _, track in ipairs(tracks) do
      assert.equal(1, track.endings)
      if track.err then
        assert.equal("cancelled", track.err.code)
      else
        whole = whole + 1
        assert.equal("ab", table.concat(track.pieces))
      end
    end
    -- one was read already when it was cancelled
    assert.is_true(whole == 5 or whole == 6, whole)
    for _, track in ipairs(late) do
      assert.equal(1, track.endings)
      assert.equal("ok", track.reply.content)
    end
  end)

  it("tells all endings when it is the last one of its client", function()
    server:script { { "hold" }, { "send", HEAD .. text("a") }, { "stall" } }
    hold(HEAD, text("a"), END)
    local closing = start(nil, { on_delta = function() client:close() end })
    local tracks = start_many(6)
    let_arrive(7)
    local deadline = core.now() + 5
    while closing.endings == 0 and core.now() < deadline do
      client:poll(NOTHING)
    end
    for _, track in ipairs(tracks) do
      assert.equal(1, track.endings)
    end
    assert.equal("closed", closing.err.code)
  end)

  it("is shared between clients", function()
    feed(30)
    local other = new_client()
    local mine, theirs = start_many(3), start_many(3, other)
    let_arrive(6)
    for _ = 1, 30 do
      opperchat.poll(NOTHING)
      assert.is_true(spread(mine) <= 2 and spread(theirs) <= 2)
      server:release()
      core.sleep(0.005)
    end
    for i = 1, 3 do
      assert.is_true(#mine[i].pieces >= 3, #mine[i].pieces)
      assert.is_true(#theirs[i].pieces >= 3, #theirs[i].pieces)
    end
    other:close()
  end)
end)

describe("a poll without options", function()
  -- Longer than it may take.
  local function busy()
    local stop = core.now() + 0.001
    repeat until core.now() >= stop
  end

  -- How many handlers one call calls at most, when 12 have news.
  local function told_by(poll)
    hold(HEAD, text("a"), END)
    local told, most = 0, 0
    local tracks = start_many(12, nil, { on_delta = function()
      told = told + 1
      busy()
    end })
    let_arrive(12)
    local deadline = core.now() + 5
    while told < 12 and core.now() < deadline do
      local before = told
      poll()
      most = math.max(most, told - before)
    end
    poll_to_the_end(tracks, 100)
    assert.equal(12, told)
    return most
  end

  it("stops in time, once a frame", function()
    assert.equal(1, told_by(opperchat.poll))
    assert.equal(1, told_by(function() client:poll() end))
    assert.equal(1, told_by(function() client:poll(0) end))
    assert.equal(1, told_by(function() opperchat.poll{ seconds = 0 } end))
  end)

  it("has no limit when it may wait, or when it is told so", function()
    assert.equal(12, told_by(function() opperchat.poll(0.5) end))
    assert.equal(12, told_by(function() client:poll{ seconds = 0.5 } end))
    assert.equal(12, told_by(function() client:poll{ budget = false } end))
    assert.equal(12, told_by(function() opperchat.poll{ budget = math.huge } end))
  end)

  it("waits beside its budget", function()
    assert.equal(1, told_by(function() client:poll{ seconds = 0.5, budget = 0.0005 } end))
    server:script { { "sleep", 0.1 }, { "send", HEAD .. text("ok") .. END }, { "close" } }
    local track, began = start(), core.now()
    local deadline = core.now() + 5
    local polls = 0
    while track.endings == 0 and core.now() < deadline do
      client:poll { seconds = 1, budget = 0.0005 }
      polls = polls + 1
    end
    assert.equal("ok", track.reply.content)
    assert.is_true(core.now() - began >= 0.1 and polls < 20, polls)
  end)
end)
