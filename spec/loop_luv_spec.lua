-- Requests under luv's loop.

local Server = require "spec.support.server"
local loop_contract = require "spec.support.loop_contract"
local sse = require "spec.support.sse"
local opperchat = require "opperchat"
local has_luv, uv = pcall(require, "luv")

if not has_luv then
  describe("opperchat.loop.luv", function()
    pending("needs luv for this Lua (" .. _VERSION .. ")")
  end)
  return
end

local loop = require "opperchat.loop.luv"

local function now()
  return uv.hrtime() / 1e9
end

-- Runs the loop until it has nothing left to do; returns how long that took.
local function run_loop()
  local started, is_late = now(), false
  local watchdog = uv.new_timer()
  watchdog:start(20000, 0, function()
    is_late = true
    uv.stop()
  end)
  watchdog:unref()
  uv.run()
  watchdog:close()
  uv.run("nowait")
  assert.is_false(is_late, "the loop went on")
  return now() - started
end

describe("opperchat.loop.luv", function()
  local server = Server.for_tests()
  local client, detach

  before_each(function()
    client = opperchat.client{ base_url = server.url }
  end)

  after_each(function()
    if detach then
      detach()
      detach = nil
    end
    client:close()
    run_loop()
  end)

  -- The client of the test, in place of the one before.
  local function use(options)
    options = options or {}
    options.base_url = server.url
    client:close()
    client = opperchat.client(options)
    return client
  end

  local function conversation(options)
    options = options or {}
    options.client = options.client or client
    options.model = "m"
    return opperchat.conversation(options)
  end

  loop_contract(server, {
    new_client = use,
    attach = function(own, options)
      detach = loop.attach(own, options)
    end,
    run = run_loop,
    now = now,
    after = function(seconds, fn)
      local timer = uv.new_timer()
      timer:start(seconds * 1000, 0, function()
        timer:close()
        fn()
      end)
    end,
    every = function(seconds, fn)
      local timer = uv.new_timer()
      timer:start(seconds * 1000, seconds * 1000, fn)
      return function()
        timer:close()
      end
    end,
  })

  it("does not keep the loop alive without a request", function()
    detach = loop.attach(client)
    assert.truthy(run_loop() < 0.5)
    local chat = conversation()
    for _ = 1, 3 do
      assert(chat:start("Hi"))
      run_loop()
      assert.equal(0, client:active())
      assert.is_false(uv.loop_alive())
    end
    assert.equal(6, #chat)
  end)

  it("has one attachment for a client, however often it is attached", function()
    detach = loop.attach(client)
    assert.equal(detach, loop.attach(client))
    assert.equal(detach, loop.attach(client))
    local chat = conversation()
    local request = assert(chat:start("Hi"))
    detach()
    detach()
    -- nobody drives it any more
    run_loop()
    assert.equal(1, client:active())
    -- a stale detach does not touch the next attachment
    local stale = detach
    detach = loop.attach(client)
    stale()
    run_loop()
    assert.equal("done", request:state())
  end)

  it("drives clients that are made later", function()
    detach = loop.attach()
    assert.equal(detach, loop.attach())
    local other = opperchat.client{ base_url = server.url }
    local one, two = conversation(), conversation{ client = other }
    assert(one:start("Hi"))
    assert(two:start("Hi"))
    run_loop()
    assert.equal(2, #one)
    assert.equal(2, #two)
    detach()
    assert(one:start("Hi"))
    run_loop()
    assert.equal(1, client:active())
    other:close()
  end)

  it("does not keep idle clients from being collected", function()
    detach = loop.attach()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local other = opperchat.client{ base_url = server.url }
      local chat = conversation{ client = other }
      assert(chat:start("Hi"))
      run_loop()
      assert.equal(2, #chat)
      weak[1] = other
    end
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.is_nil(weak[1])
    -- a descriptor with the same number works
    local chat = conversation{ client = opperchat.client{ base_url = server.url } }
    assert(chat:start("Hi"))
    run_loop()
    assert.equal(2, #chat)
  end)

  it("waits for tasks, also without any client", function()
    detach = loop.attach()
    local steps = {}
    local task = opperchat.go(function()
      opperchat.sleep(0.05)
      steps[#steps + 1] = "slept"
      local chat = conversation()
      steps[#steps + 1] = chat:send("Hi").content
      -- the deadline does not keep the loop alive once the answer is here
      steps[#steps + 1] = chat:start("Again"):wait(30).content
    end)
    local took = run_loop()
    assert.same({ "slept", "ok", "ok" }, steps)
    assert.equal("done", task.state)
    assert.truthy(took < 5, took)
  end)

  it("is in time again after somebody has waited without it", function()
    detach = loop.attach(use{ timeout = { first_token = 0.3 } })
    server:script{ { "stall" } }
    local slow, failure = conversation(), nil
    assert(slow:start("Hi", {
      on_done = function(_, err)
        failure = err
      end,
    }))
    -- the first one gets the first answer
    while #server:requests() == 0 do
      uv.run("nowait")
    end
    assert.equal("ok", conversation():send("Hi").content)
    assert.truthy(run_loop() < 5)
    assert.equal("timeout", failure.kind)
  end)

  it("lets go of the descriptor before the client closes it", function()
    detach = loop.attach(client)
    server:script{ { "stall" } }
    local failure
    assert(conversation():start("Hi", {
      on_done = function(_, err)
        failure = err
      end,
    }))
    uv.run("nowait")
    client:close()
    assert.equal("cancelled", failure.kind)
    run_loop()
    assert.is_false(uv.loop_alive())
    detach()
    server:reset()

    -- and from within a handler
    client = opperchat.client{ base_url = server.url }
    detach = loop.attach(client)
    server:stream(sse.answer(sse.words(5)), { pause = 0.02 })
    local ended = 0
    assert(conversation():start("Hi", {
      on_delta = function()
        client:close()
      end,
      on_done = function()
        ended = ended + 1
      end,
    }))
    run_loop()
    assert.equal(1, ended)
  end)

  it("goes on after a handler has run the loop", function()
    local told = {}
    detach = loop.attach(client, { on_error = function(err) told[#told + 1] = tostring(err) end })
    server:stream(sse.answer(sse.words(10)), { pause = 0.02 })
    local chat = conversation()
    assert(chat:start("Hi", {
      on_delta = function()
        local timer, is_over = uv.new_timer(), false
        timer:start(50, 0, function()
          is_over = true
          timer:close()
        end)
        repeat
          uv.run("once")
        until is_over
      end,
    }))
    run_loop()
    assert.same({}, told)
    assert.equal(table.concat(sse.words(10)), chat:last().content)
  end)

  it("starts the next request from within a handler", function()
    detach = loop.attach(client)
    local chat, count = conversation(), 0
    local function again()
      count = count + 1
      if count <= 3 then
        assert(chat:start("Hi " .. count, { on_done = again }))
      end
    end
    again()
    run_loop()
    assert.equal(6, #chat)
  end)

  it("refuses what it cannot do", function()
    assert.has_error(function()
      loop.attach({})
    end)
    local ok, message = pcall(function()
      loop.attach(client, { on_eror = print })
    end)
    assert.is_false(ok)
    assert.truthy(message:find("loop_luv_spec.lua:%d+: attach: unknown option 'on_eror'"), message)
    client:close()
    assert.has_error(function()
      loop.attach(client)
    end)
  end)
end)
