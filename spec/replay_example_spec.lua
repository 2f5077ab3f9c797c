-- examples/replay.lua and its tape: with no key, no server and no network.

local shell = require "spec.support.shell"

describe("examples/replay.lua", function()
  it("plays its tape", function()
    local text, status = shell.run("unset OPPER_API_KEY; OPPER_BASE_URL=http://127.0.0.1:1/v1 "
      .. shell.interpreter() .. " examples/replay.lua")
    assert.equal("0", status, text)
    assert.equal("I'm sorry, the museum is closed on Mondays. On every other day it is open from "
      .. "10 to 18.\n[2 requests, 11 tokens]\n", text)
  end)

  it("has a tape that can be shown to anybody", function()
    local file = assert(io.open("examples/replay.jsonl"))
    local text = file:read("*a")
    file:close()
    for _, word in ipairs { "authorization", "127.0.0.1", "cookie", "Bearer" } do
      assert.falsy(text:lower():find(word:lower(), 1, true), word)
    end
  end)
end)
