--- What an adapter of a host's loop promises, whichever loop it is: tests for the
--- block that this is called in.
--
--   loop_contract(server, {
--     new_client = function(options) ... end,      closed behind the test
--     attach = function(client, options) ... end,  detached behind the test
--     run = function() ... end,             runs the loop until it has nothing to do: seconds
--     now = function() ... end,             seconds
--     after = function(seconds, fn) ... end,       calls it once, in the loop
--     every = function(seconds, fn) ... end,       the same again and again; what ends that
--   })

local assert = require "luassert"
local busted = require "busted"
local completion = require "spec.support.completion"
local opperchat = require "opperchat"
local sse = require "spec.support.sse"

return function(server, host)
  local it = busted.it

  local function converse(client)
    return opperchat.conversation{ client = client, model = "m" }
  end

  it("streams while the loop goes on, and lets it end", function()
    local client = host.new_client()
    host.attach(client)
    server:stream(sse.answer(sse.words(20)), { pause = 0.02 })
    local chat, pieces, ended, stop = converse(client), 0, 0, nil
    assert(chat:start("Hi", {
      on_delta = function()
        pieces = pieces + 1
      end,
      on_done = function(reply, err)
        assert.is_nil(err)
        assert.equal("w20 ", reply.content:sub(-4))
        ended = ended + 1
        stop()
      end,
    }))
    local last, max_gap, ticks = host.now(), 0, 0
    stop = host.every(0.01, function()
      local now = host.now()
      max_gap, last, ticks = math.max(max_gap, now - last), now, ticks + 1
    end)
    local took = host.run()
    assert.equal(1, ended)
    assert.equal(2, #chat)
    assert.truthy(pieces >= 5, pieces)
    assert.truthy(took > 0.2 and took < 5, took)
    assert.truthy(ticks >= 10, ticks)
    assert.truthy(max_gap < 0.15, max_gap)
  end)

  it("uses no processor time while a model thinks", function()
    local client = host.new_client()
    host.attach(client)
    server:reply{ delay = 1, body = completion.body("ok") }
    local chat = converse(client)
    assert(chat:start("Hi", { stream = false }))
    local before = os.clock()
    local took = host.run()
    assert.truthy(took > 0.9, took)
    if not os.getenv("OPPERCHAT_SLOW") then
      assert.truthy(os.clock() - before < 0.1, os.clock() - before)
    end
    assert.equal("ok", chat:last().content)
  end)

  it("hands errors of handlers and tasks on and goes on", function()
    local told = {}
    local client = host.new_client()
    host.attach(client, { on_error = function(err) told[#told + 1] = err end })
    server:stream(sse.answer(sse.words(3)), { pause = 0.02 })
    server:stream(sse.answer(sse.words(3)), { pause = 0.02 })
    local first, second = converse(client), converse(client)
    assert(first:start("Hi", { on_delta = function() error("out of my depth") end }))
    assert(second:start("Hi"))
    opperchat.go(function()
      opperchat.sleep(0.05)
      error("overslept")
    end)
    host.run()
    local text = table.concat(told, "\n")
    assert.truthy(text:find("loop_contract.lua:%d+: out of my depth"), text)
    assert.truthy(text:find("loop_contract.lua:%d+: overslept"), text)
    assert.equal(0, client:active())
    assert.equal("w1 w2 w3 ", second:last().content)
  end)

  it("waits for a task that sleeps between two requests", function()
    local client = host.new_client()
    host.attach(client)
    local chat, second = converse(client), nil
    opperchat.go(function()
      assert(chat:send("Hi", { stream = false }))
      opperchat.sleep(0.05)
      second = assert(chat:send("Again", { stream = false })).content
    end)
    host.run()
    assert.equal("ok", second)
  end)

  it("notices deadlines and cancels without news from the network", function()
    local client = host.new_client{ timeout = { first_token = 0.2 } }
    host.attach(client)
    server:script{ { "stall" } }
    server:script{ { "stall" } }
    local failures = {}
    local function keep(_, err)
      failures[#failures + 1] = err.kind
    end
    assert(converse(client):start("Hi", { on_done = keep }))
    local took = host.run()
    assert.truthy(took > 0.15 and took < 5, took)
    local request = assert(converse(client):start("Hi", { on_done = keep }))
    host.after(0.03, function()
      request:cancel()
    end)
    assert.truthy(host.run() < 5)
    assert.same({ "timeout", "cancelled" }, failures)
  end)
end
