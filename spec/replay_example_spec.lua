-- examples/replay.lua and its tape: with no key, no server and no network.

local function interpreter()
  local i = 0
  while arg[i - 1] do
    i = i - 1
  end
  return arg[i]
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo exit=$?"))
  local text = pipe:read("*a")
  pipe:close()
  return text:match("^(.*)exit=(%d+)\n$")
end

describe("examples/replay.lua", function()
  it("plays its tape", function()
    local text, status = output_of("unset OPPER_API_KEY; OPPER_BASE_URL=http://127.0.0.1:1/v1 "
      .. interpreter() .. " examples/replay.lua")
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
