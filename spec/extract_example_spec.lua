-- examples/extract.lua, and what it needs to run offline.

local json = require "opperchat.json"
local schema = require "opperchat.schema"
local shell = require "spec.support.shell"
local pdf = dofile("examples/support/pdf.lua")
local reader = dofile("examples/support/pretend_reader.lua")

local function output_of(command)
  return shell.run("unset OPPER_API_KEY OPPER_BASE_URL; " .. command)
end

local FACTS = [[
kind      invoice
number    2041
date      2024-03-05
seller    Harbour Bicycles
buyer     Ada Okonkwo
currency  EUR
total     82.90
paid      false
items
  description           quantity  price
  Brake cable, 1.6 mm          4   3.75
  Chain, 116 links             1  24.90
  Inner tube (28 inch)         2   6.50
  Labour, half an hour         1  30.00
The items add up to 82.90, as the document says.
]]

describe("examples/extract.lua", function()
  local PROGRAM = shell.interpreter() .. " examples/extract.lua "

  it("takes the facts from a PDF", function()
    local text, status = output_of(PROGRAM)
    assert.equal("0", status, text)
    assert.equal("examples/documents/invoice.pdf\n" .. FACTS, text:match("\n[^\n]*\n(.*)$"))
    -- what it makes of anything else is no model's doing
    assert.truthy(text:match("\n([^\n]*)"):find("no model", 1, true), text)
  end)

  it("takes the same from a text", function()
    local text, status = output_of(PROGRAM .. "examples/documents/invoice.txt")
    assert.equal("0", status, text)
    assert.equal("examples/documents/invoice.txt\n" .. FACTS, text:match("\n[^\n]*\n(.*)$"))
  end)

  it("fails with one line", function()
    local text, status = output_of(PROGRAM .. "spec/no-such-file")
    assert.equal("1", status)
    assert.truthy(text:find("extract: spec/no-such-file: No such file or directory\n", 1, true),
      text)
    text, status = output_of("OPPER_BASE_URL=http://127.0.0.1:1/v1 " .. PROGRAM)
    assert.equal("1", status)
    assert.truthy(text:find("^extract: network error [^\n]+\n$"), text)
  end)
end)

describe("the writer of PDFs", function()
  it("has made the one that is there", function()
    assert.equal(pdf.make(shell.read_file("examples/documents/invoice.txt")),
      shell.read_file("examples/documents/invoice.pdf"))
  end)

  it("reads what it has written", function()
    local lines = {}
    for i = 1, 130 do
      lines[i] = i % 7 == 0 and "" or "line (" .. i .. ") \\ café ') '"
    end
    local text = table.concat(lines, "\n")
    local bytes = pdf.make(text .. "\n")
    assert.equal(text, pdf.text(bytes))
    assert.truthy(bytes:find("/Count 3 >>", 1, true))
    assert.equal("", pdf.text("%PDF-1.7\n1 0 obj\nstream\nx\156\nendstream\n"))
  end)

  it("says rightly where its objects are", function()
    local bytes = pdf.make(("some text\n"):rep(61))
    local start = tonumber(bytes:match("startxref\n(%d+)\n%%%%EOF\n$"))
    assert.equal("xref\n", bytes:sub(start + 1, start + 5))
    local count = 0
    for offset in bytes:gmatch("\n(%d%d%d%d%d%d%d%d%d%d) 00000 n ") do
      count = count + 1
      assert.equal(count .. " 0 obj\n", bytes:match("^%d+ 0 obj\n", tonumber(offset) + 1))
    end
    assert.equal(tonumber(bytes:match("/Size (%d+)")), count + 1)
    for length, content in bytes:gmatch("/Length (%d+) >>\nstream\n(.-)endstream") do
      assert.equal(tonumber(length), #content)
    end
  end)
end)

describe("the pretend model's reader", function()
  local function fill(text, given)
    local wanted = assert(schema.expand(given))
    local value, problem = json.decode(reader.fill(text, wanted))
    assert.is_nil(problem)
    local fits, message = schema.check(value, wanted)
    assert.truthy(fits, message)
    return value
  end

  it("finds what is there", function()
    local text = shell.read_file("examples/documents/invoice.txt")
    local facts = fill(text, {
      due_date = "string", dueDate = "string?", total = "integer", paid = "boolean",
      seller = "string", currency = { "USD", "EUR" },
    })
    assert.same({
      due_date = "2024-04-04", dueDate = "2024-04-04", total = 82, paid = false,
      seller = "Harbour Bicycles", currency = "EUR",
    }, facts)
    assert.same({ "a", "b c" }, fill("Tags: a, b c", { tags = { "string" } }).tags)
    assert.equal(12345.5, fill("Sum: EUR 12,345.50", { sum = "number" }).sum)
    assert.equal("a \"quoted\" one", fill("Note: a \"quoted\" one", { note = "string" }).note)
  end)

  it("fits the schema when there is nothing", function()
    local value = fill("", {
      name = "string", age = "integer", size = "number", is_new = "boolean", tags = { "string" },
      rows = { { a = "string", b = "number" } }, place = { city = "string" }, other = "string?",
      kind = { "one", "two" }, whole = "object", nothing = "null", list = "array",
      constant = { const = "c" }, maybe = { type = { "string", "null" } },
    })
    assert.is_nil(value.other)
    assert.equal("two", value.kind)
    assert.equal("", value.place.city)
  end)
end)
