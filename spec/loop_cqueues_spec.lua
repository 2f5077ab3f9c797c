-- Requests under a controller of cqueues.

local Server = require "spec.support.server"
local opperchat = require "opperchat"
local has_cqueues, cqueues = pcall(require, "cqueues")

if not has_cqueues then
  describe("opperchat.loop.cqueues", function()
    pending("needs cqueues for this Lua (" .. _VERSION .. ")")
  end)
  return
end

local loop = require "opperchat.loop.cqueues"

local function delta(text)
  return 'data: {"choices":[{"index":0,"delta":{"content":"' .. text .. '"}}]}\n\n'
end

local function answer(words)
  local chunks = {}
  for i = 1, words do
    chunks[i] = delta("w" .. i .. " ")
  end
  chunks[#chunks + 1] = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
  chunks[#chunks + 1] = "data: [DONE]\n\n"
  return chunks
end

-- Runs a controller until it is empty; returns how long that took.
local function run(cq)
  local started = cqueues.monotime()
  local ok, message = cq:loop(20)
  assert.is_true(ok, message)
  assert.is_true(cq:empty(), "the controller went on")
  return cqueues.monotime() - started
end

describe("opperchat.loop.cqueues", function()
  local server = Server.for_tests()
  local client, cq, detach

  before_each(function()
    client = opperchat.client{ base_url = server.url }
    cq = cqueues.new()
  end)

  after_each(function()
    if detach then
      detach()
      detach = nil
    end
    client:close()
  end)

  local function conversation(options)
    options = options or {}
    options.client = options.client or client
    options.model = "m"
    return opperchat.conversation(options)
  end

  it("streams while other coroutines go on, and lets the loop end", function()
    detach = loop.attach(client, cq)
    server:stream(answer(20), { pause = 0.02 })
    local chat, pieces, reply = conversation(), 0, nil
    assert(chat:start("Hi", {
      on_delta = function()
        pieces = pieces + 1
      end,
      on_done = function(result)
        reply = result
      end,
    }))
    local last, max_gap, ticks = cqueues.monotime(), 0, 0
    cq:wrap(function()
      while not reply do
        cqueues.sleep(0.01)
        local now = cqueues.monotime()
        max_gap, last, ticks = math.max(max_gap, now - last), now, ticks + 1
      end
    end)
    local took = run(cq)
    assert.equal("w20 ", reply.content:sub(-4))
    assert.truthy(pieces >= 5, pieces)
    assert.truthy(took > 0.2 and took < 5, took)
    assert.truthy(ticks >= 10, ticks)
    assert.truthy(max_gap < 0.15, max_gap)
  end)

  it("uses no processor time while a model thinks", function()
    detach = loop.attach(client, cq)
    server:reply{ delay = 1, body = { choices = { {
      index = 0, finish_reason = "stop", message = { role = "assistant", content = "ok" },
    } } } }
    local chat = conversation()
    assert(chat:start("Hi", { stream = false }))
    local before = os.clock()
    assert.truthy(run(cq) > 0.9)
    if not os.getenv("OPPERCHAT_SLOW") then
      assert.truthy(os.clock() - before < 0.1, os.clock() - before)
    end
    assert.equal("ok", chat:last().content)
  end)

  it("has one attachment for a client, however often it is attached", function()
    detach = loop.attach(client, cq)
    assert.equal(detach, loop.attach(client, cq))
    local other = cqueues.new()
    local ok, message = pcall(loop.attach, client, other)
    assert.is_false(ok)
    assert.truthy(message:find("attached to another controller of cqueues already", 1, true))
    local request = assert(conversation():start("Hi"))
    detach()
    detach()
    run(cq)
    assert.equal(1, client:active())
    detach = loop.attach(client, other)
    run(other)
    assert.equal("done", request:state())
  end)

  it("drives all clients, also those that are made within it", function()
    detach = loop.attach(cq)
    assert.equal(detach, loop.attach(cq))
    local contents = {}
    cq:wrap(function()
      cqueues.sleep(0.02)
      opperchat.go(function()
        local other = opperchat.client{ base_url = server.url }
        contents[1] = conversation{ client = other }:send("Hi").content
        opperchat.sleep(0.02)
        contents[2] = conversation():send("Hi").content
        other:close()
      end)
    end)
    assert.truthy(run(cq) < 5)
    assert.same({ "ok", "ok" }, contents)
  end)

  it("moves on to another controller when the first is closed", function()
    loop.attach(cq)
    assert(conversation():start("Hi"))
    cq:close()
    local other = cqueues.new()
    detach = loop.attach(other)
    run(other)
    assert.equal(0, client:active())
  end)

  it("hands errors of handlers on and goes on", function()
    local told = {}
    detach = loop.attach(client, cq, {
      on_error = function(err)
        told[#told + 1] = err
      end,
    })
    server:stream(answer(3), { pause = 0.02 })
    server:stream(answer(3), { pause = 0.02 })
    local second = conversation()
    assert(conversation():start("Hi", {
      on_delta = function()
        error("out of my depth")
      end,
    }))
    assert(second:start("Hi"))
    run(cq)
    local text = table.concat(told, "\n")
    assert.truthy(text:find("loop_cqueues_spec.lua:%d+: out of my depth"), text)
    assert.equal(0, client:active())
    assert.equal("w1 w2 w3 ", second:last().content)
  end)

  it("notices deadlines and cancels without news from the network", function()
    client:close()
    client = opperchat.client{ base_url = server.url, timeout = { first_token = 0.2 } }
    detach = loop.attach(client, cq)
    server:script{ { "stall" } }
    server:script{ { "stall" } }
    local failures = {}
    local function keep(_, err)
      failures[#failures + 1] = err.kind
    end
    assert(conversation():start("Hi", { on_done = keep }))
    local took = run(cq)
    assert.truthy(took > 0.15 and took < 5, took)
    local request = assert(conversation():start("Hi", { on_done = keep }))
    cq:wrap(function()
      cqueues.sleep(0.03)
      request:cancel()
    end)
    assert.truthy(run(cq) < 5)
    assert.same({ "timeout", "cancelled" }, failures)
  end)

  it("lets go of the descriptor before the client closes it", function()
    for round = 1, 3 do
      local own = opperchat.client{ base_url = server.url }
      loop.attach(own, cq)
      server:reset():script{ { "stall" } }
      local failure
      assert(conversation{ client = own }:start("Hi", {
        on_done = function(_, err)
          failure = err
        end,
      }))
      cq:step(0.05)
      if round == 2 then
        cq:wrap(function()
          own:close()
        end)
      else
        own:close()
      end
      run(cq)
      assert.equal("cancelled", failure.kind)
    end
    -- the number of the descriptor serves another client
    detach = loop.attach(client, cq)
    server:reset()
    local chat = conversation()
    assert(chat:start("Hi"))
    run(cq)
    assert.equal(2, #chat)
  end)

  it("is driven by hand through pollfd, events and timeout as well", function()
    local chat = conversation()
    assert(chat:start("Hi"))
    cq:wrap(function()
      while client:poll() > 0 do
        cqueues.poll(client)
      end
    end)
    run(cq)
    assert.equal(2, #chat)
    -- cqueues keeps a descriptor in mind; this one is closed next
    cq:cancel(client:pollfd())
  end)

  it("refuses what it cannot do", function()
    for _, given in ipairs{ "x", false } do
      local ok, message = pcall(function()
        loop.attach(client, given)
      end)
      assert.is_false(ok)
      assert.truthy(message:find("loop_cqueues_spec.lua:%d+: attach: controller of cq"), message)
    end
    assert.is_false(pcall(loop.attach))
    cq:close()
    assert.is_false(pcall(loop.attach, client, cq))
  end)
end)
