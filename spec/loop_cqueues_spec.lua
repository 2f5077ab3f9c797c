-- Requests under a controller of cqueues.

local Server = require "spec.support.server"
local loop_contract = require "spec.support.loop_contract"
local opperchat = require "opperchat"
local has_cqueues, cqueues = pcall(require, "cqueues")

if not has_cqueues then
  describe("opperchat.loop.cqueues", function()
    pending("needs cqueues for this Lua (" .. _VERSION .. ")")
  end)
  return
end

local loop = require "opperchat.loop.cqueues"

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
      detach = loop.attach(own, cq, options)
    end,
    run = function()
      return run(cq)
    end,
    now = cqueues.monotime,
    after = function(seconds, fn)
      cq:wrap(function()
        cqueues.sleep(seconds)
        fn()
      end)
    end,
    every = function(seconds, fn)
      local is_over
      cq:wrap(function()
        while not is_over do
          cqueues.sleep(seconds)
          fn()
        end
      end)
      return function()
        is_over = true
      end
    end,
  })

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
