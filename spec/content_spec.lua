local content = require "opperchat.content"
local json = require "opperchat.json"

local PICTURE = { type = "image_url", image_url = { url = "https://example.com/cat.jpg" } }
local PICTURE_TEXT =
  "{\"image_url\":{\"url\":\"https://example.com/cat.jpg\"},\"type\":\"image_url\"}"

describe("content.encode", function()
  local function gives(text, value)
    local written, message = content.encode(value)
    assert.is_nil(message)
    assert.are.equal(text, written)
  end

  local function refuses(message, value, what)
    local written, text = content.encode(value, what)
    assert.is_nil(written)
    assert.are.equal(message, text)
  end

  it("writes strings", function()
    gives("\"Hi \\\"you\\\"\"", "Hi \"you\"")
    gives("\"\"", "")
  end)

  it("writes a part as a list of one", function()
    gives("[{\"text\":\"Hi\",\"type\":\"text\"}]", { type = "text", text = "Hi" })
    gives("[" .. PICTURE_TEXT .. "]", PICTURE)
  end)

  it("writes lists of strings and parts", function()
    gives("[{\"text\":\"What is this?\",\"type\":\"text\"}," .. PICTURE_TEXT .. "]",
      { "What is this?", PICTURE })
    gives("[{\"text\":\"Hi\",\"type\":\"text\"}]", json.array { "Hi" })
  end)

  it("passes types it does not know", function()
    gives("[{\"a\":[1],\"type\":\"hologram\"}]", { { type = "hologram", a = { 1 } } })
  end)

  it("writes null", function()
    gives("null", json.null)
  end)

  it("refuses everything else", function()
    local expected = "string, part or list of them expected, got "
    refuses("prompt: " .. expected .. "nil", nil)
    refuses("prompt: " .. expected .. "number", 42)
    refuses("content: " .. expected .. "boolean", true, "content")
    refuses("prompt: " .. expected .. "an empty table", {})
    refuses("prompt: " .. expected .. "a list with a hole in it", { "a", nil, "c" })
    refuses("prompt: " .. expected .. "a table without a string 'type'", { text = "Hi" })
    refuses("prompt: " .. expected .. "a table without a string 'type'", { "Hi", text = "Hi" })
    refuses("prompt[2]: string or part expected, got number", { "a", 2 })
    refuses("prompt[1]: string or part expected, got null", { json.null })
    refuses("prompt[1]: string or part expected, got a table without a string 'type'", { { "a" } })
    refuses("prompt[1]: string or part expected, got a table without a string 'type'",
      { { type = 1 } })
    refuses("prompt[1].text: string expected, got nil", { { type = "text" } })
    refuses("prompt.text: string expected, got number", { type = "text", text = 1 })
  end)

  it("names the place of what cannot be written", function()
    refuses("prompt: not valid UTF-8 at byte 2", "a\255")
    refuses("prompt[2].text: not valid UTF-8 at byte 1", { "a", "\255" })
    refuses("content[1].image_url.url: a function cannot be written as JSON",
      { { type = "image_url", image_url = { url = print } } }, "content")
    refuses("prompt.x: a function cannot be written as JSON", { type = "x", x = print })
  end)
end)

describe("content.text", function()
  it("joins what is text", function()
    assert.are.equal("Hi", content.text("Hi"))
    assert.are.equal("Hi", content.text { type = "text", text = "Hi" })
    assert.are.equal("Hi you", content.text { "Hi", PICTURE, { type = "text", text = " you" } })
  end)

  it("gives nothing for what has no text", function()
    for _, value in ipairs { {}, PICTURE, { PICTURE, 1, { type = "text" } }, 1, false,
      { type = "text" }, json.null } do
      assert.are.equal("", content.text(value))
    end
    assert.are.equal("", content.text(nil))
  end)
end)
