-- examples/stream.lua, as it is typed.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"

describe("examples/stream.lua", function()
  local PROGRAM = shell.interpreter() .. " examples/stream.lua "

  it("streams an answer from the offline server", function()
    local text, status = shell.run("unset OPPER_API_KEY OPPER_BASE_URL; " .. PROGRAM
      .. "'What is a matrix?'")
    assert.equal("0", status, text)
    assert.truthy(text:find("\nA matrix is a table of numbers .*\n%[first token after %d+%.%d+ s, "
      .. "%d+ %+ %d+ tokens, %$%d%.%d+%]\n$"), text)
  end)

  it("stops at Ctrl-C", function()
    local chunks = {}
    for i = 1, 400 do
      chunks[i] = sse.text("word" .. i .. " ")
    end
    local server = Server.start()
    server:stream(chunks, { pause = 0.05 })
    local text, status = shell.run("OPPER_BASE_URL=" .. server.url
      .. " timeout --preserve-status -s INT -k 20 2 " .. PROGRAM)
    server:stop()
    assert.equal("130", status, text)
    assert.truthy(text:find("^word1 word2 .*\n%[stopped%]\n$"), text)
  end)

  it("fails with one line when nobody is there", function()
    local text, status = shell.run("OPPER_BASE_URL=http://127.0.0.1:1/v1 " .. PROGRAM)
    assert.equal("1", status)
    assert.truthy(text:find("^stream: network error [^\n]+\n$"), text)
  end)
end)
