-- examples/tools.lua, as it is typed, and the pretend model that calls its
-- tools.

local opperchat = require "opperchat"
local shell = require "spec.support.shell"
local offline = dofile("examples/support/offline.lua")

describe("examples/tools.lua", function()
  local PROGRAM = shell.interpreter() .. " examples/tools.lua "

  it("plays a game by itself", function()
    local text, status = shell.run("unset OPPER_API_KEY OPPER_BASE_URL; " .. PROGRAM
      .. "</dev/null")
    assert.equal("0", status, text)
    local at = 1
    for _, line in ipairs{
      "[1: red_door open: it is locked, and a brass key would fit]",
      "[1: oak_chest open: Inside lies a brass key. You take it.]",
      "[2: red_door open: The brass key turns, and the door swings open.]",
      "[1: iron_chest open: not allowed: the player is afraid of it]",
      "Inside lies a silver key.", "You are free. ",
    } do
      local _, last = text:find(line, at, true)
      assert.truthy(last, line .. "\n" .. text)
      at = last
    end
  end)

  it("fails with one line when nobody is there", function()
    local text, status = shell.run("OPPER_BASE_URL=http://127.0.0.1:1/v1 " .. PROGRAM
      .. "</dev/null")
    assert.equal("1", status)
    assert.truthy(text:find("\ntools: network error [^\n]+\n$"), text)
  end)
end)

describe("the offline server with tools", function()
  local server, client

  setup(function()
    server = offline.start()
    client = opperchat.client{ base_url = server.url, api_key = "" }
  end)

  teardown(function()
    client:close()
    server:stop()
  end)

  local function play(question, options)
    local asked = {}
    local function tool(name, parameters)
      return { name = name, parameters = parameters, run = function(arguments)
        asked[#asked + 1] = { name, arguments }
        return { done = #asked }
      end }
    end
    local chat = opperchat.conversation{ client = client, model = "m", tools = {
      tool("weather", { city = "string" }), tool("set_volume", { level = "integer" }),
      tool("lamp", { state = { "on", "off" } }), { type = "opper:web_search" },
    } }
    return assert(chat:run(question, options)), asked
  end

  for _, is_stream in ipairs{ false, true } do
    it("calls them by name" .. (is_stream and ", streamed" or ", plain"), function()
      local given = { stream = is_stream }
      local reply, asked = play("What's the weather in Oslo?", given)
      assert.same({ { "weather", { city = "Oslo" } } }, asked)
      assert.equal("done: 1", reply.content)
      reply, asked = play("Set volume 7, then turn the lamp off and the lamp on", given)
      assert.same({ { "set_volume", { level = 7 } }, { "lamp", { state = "off" } },
        { "lamp", { state = "on" } } }, asked)
      assert.equal(3, reply.steps)
      reply, asked = play("What's a vector?", given)
      assert.equal(0, #asked)
      assert.truthy(reply.content:find("list of numbers", 1, true))
      reply, asked = play("The weather in Oslo?", { tool_choice = "none", stream = is_stream })
      assert.equal(0, #asked)
      assert.truthy(reply.content)
    end)
  end
end)
