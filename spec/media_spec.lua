-- Images, files and audio: what is sent for real files, and what is not.

local Server = require "spec.support.server"
local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local shell = require "spec.support.shell"
local raises = require "spec.support.raises"

-- Files ---------------------------------------------------------------------

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- A second opinion, slow and plain.
local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 18, 0, -6 do
      local at = math.floor(bits / 2 ^ shift) % 64 + 1
      out[#out + 1] = ALPHABET:sub(at, at)
    end
    if not c then
      out[#out] = "="
    end
    if not b then
      out[#out - 1] = "="
    end
  end
  return table.concat(out)
end

-- Numbers of 32 bits without the operators of 5.3.
local function xor(a, b)
  local result, bit = 0, 1
  while a > 0 or b > 0 do
    if a % 2 ~= b % 2 then
      result = result + bit
    end
    a, b, bit = math.floor(a / 2), math.floor(b / 2), bit * 2
  end
  return result
end

local function crc32(bytes)
  local crc = 0xffffffff
  for i = 1, #bytes do
    crc = xor(crc, bytes:byte(i))
    for _ = 1, 8 do
      local low = crc % 2
      crc = math.floor(crc / 2)
      if low == 1 then
        crc = xor(crc, 0xedb88320)
      end
    end
  end
  return crc
end

local function adler32(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local function big(value, size)
  local out = {}
  for i = size, 1, -1 do
    out[i] = string.char(math.floor(value) % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end

local function little(value, size)
  return big(value, size):reverse()
end

-- A picture that every viewer shows: a gradient, in one stored block.
local function png(width, height)
  local function chunk(kind, bytes)
    return big(#bytes, 4) .. kind .. bytes .. big(crc32(kind .. bytes), 4)
  end
  local rows = {}
  for y = 1, height do
    local row = { "\0" }
    for x = 1, width do
      row[#row + 1] = string.char(x * 7 % 256, y * 11 % 256, 128)
    end
    rows[y] = table.concat(row)
  end
  local raw = table.concat(rows)
  local zlib = "\120\1" .. "\1" .. little(#raw, 2) .. little(65535 - #raw, 2) .. raw
    .. big(adler32(raw), 4)
  return "\137PNG\r\n\26\n" .. chunk("IHDR", big(width, 4) .. big(height, 4) .. "\8\2\0\0\0")
    .. chunk("IDAT", zlib) .. chunk("IEND", "")
end

local function pdf()
  local parts, offsets, length = { "%PDF-1.4\n" }, {}, 9
  for i, object in ipairs{
    "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>",
  } do
    local text = i .. " 0 obj" .. object .. "endobj\n"
    offsets[i], parts[#parts + 1] = length, text
    length = length + #text
  end
  parts[#parts + 1] = "xref\n0 4\n0000000000 65535 f \n"
  for _, offset in ipairs(offsets) do
    parts[#parts + 1] = ("%010d 00000 n \n"):format(offset)
  end
  parts[#parts + 1] = "trailer<</Size 4/Root 1 0 R>>\nstartxref\n" .. length .. "\n%%EOF\n"
  return table.concat(parts)
end

local PNG, PDF = png(20, 10), pdf()
local JPEG = "\255\216\255\224\0\16JFIF\0\1\1\0\0\1\0\1\0\0\255\217"
local GIF = "GIF89a\1\0\1\0\128\0\0\0\0\0\255\255\255,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
local WEBP = "RIFF\26\0\0\0WEBPVP8L\13\0\0\0/\0\0\0\16\7\16\17\17\136\136\254\7\0"
local WAV = "RIFF\38\0\0\0WAVEfmt \16\0\0\0\1\0\1\0\64\31\0\0\64\31\0\0\1\0\8\0data\2\0\0\0\128\128"
local MP3 = "\255\251\144\100" .. ("\0"):rep(413)
local MP3_ID3 = "ID3\4\0\0\0\0\0\10TIT2\0\0\0\0\0\0" .. MP3

local folder
local must = shell.must

local function path_of(name)
  return folder .. "/" .. name
end

local function write_file(name, bytes)
  return shell.write_file(path_of(name), bytes)
end

local is_root = shell.output_of("id -u") == "0\n"

-- The specs -----------------------------------------------------------------

describe("media", function()
  local server = Server.for_tests()
  local client

  setup(function()
    folder = shell.new_folder()
    client = opperchat.client{ base_url = server.url, api_key = "test" }
  end)

  teardown(function()
    client:close()
    shell.remove_folder(folder)
  end)

  local function new_chat()
    return opperchat.conversation{ client = client, model = "m" }
  end

  -- The body as it was sent with a prompt.
  local function sent(prompt)
    assert(new_chat():send(prompt))
    local requests = server:requests()
    assert.equal(1, #requests)
    server:reset()
    return requests[1].body
  end

  local function body_of(parts)
    return '{"model":"m","messages":[{"role":"user","content":[' .. parts .. "]}]}"
  end

  local function image_part(type, bytes)
    return '{"image_url":{"url":"data:' .. type .. ";base64," .. base64(bytes)
      .. '"},"type":"image_url"}'
  end

  local function file_part(type, bytes, name)
    return '{"file":{"file_data":"data:' .. type .. ";base64," .. base64(bytes)
      .. '","filename":"' .. name .. '"},"type":"file"}'
  end

  local function audio_part(format, bytes)
    return '{"input_audio":{"data":"' .. base64(bytes) .. '","format":"' .. format
      .. '"},"type":"input_audio"}'
  end

  describe("sends", function()
    it("the base64 of the RFC", function()
      assert.equal("Zm9vYmE=", base64("fooba"))
      for i, expected in ipairs{ "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" } do
        local part = opperchat.file{ data = ("foobar"):sub(1, i), type = "text/plain", name = "f" }
        local message = new_chat():append("user", part):last()
        assert.equal("data:text/plain;base64," .. expected, message.content[1].file.file_data)
      end
    end)

    it("images by path", function()
      for type, bytes in pairs{
        ["image/png"] = PNG, ["image/jpeg"] = JPEG, ["image/gif"] = GIF, ["image/webp"] = WEBP,
      } do
        local path = write_file("picture", bytes)
        assert.equal(body_of(image_part(type, bytes)), sent(opperchat.image(path)))
      end
    end)

    it("images beside text, and several of them", function()
      local path, other = write_file("cat.png", PNG), write_file("dog.jpg", JPEG)
      assert.equal(body_of('{"text":"What is this?","type":"text"},'
        .. image_part("image/png", PNG) .. ',{"text":"And this?","type":"text"},'
        .. image_part("image/jpeg", JPEG)),
        sent{ "What is this?", opperchat.image(path), "And this?", opperchat.image(other) })
    end)

    it("the detail of an image", function()
      for _, detail in ipairs{ "auto", "low", "high" } do
        local message = new_chat()
          :append("user", opperchat.image({ data = GIF }, { detail = detail })):last()
        assert.equal(detail, message.content[1].image_url.detail)
      end
    end)

    it("URLs as they are", function()
      for _, url in ipairs{
        "https://example.com/cat.png?a=\"b\"", "HTTP://example.com", "data:image/png;base64,QQ==",
      } do
        local part = opperchat.image(url, { detail = "low" })
        assert.same({ type = "image_url", image_url = { url = url, detail = "low" } }, part)
        assert.same({ part }, new_chat():append("user", part):last().content)
      end
      assert.same({
        type = "file",
        file = { filename = "a b.pdf", file_data = "https://example.com/x/a b.pdf?v=1" },
      }, opperchat.file("https://example.com/x/a b.pdf?v=1"))
    end)

    it("files by path, with the name of the file", function()
      local path = write_file("contract.pdf", PDF)
      assert.equal(body_of(file_part("application/pdf", PDF, "contract.pdf")),
        sent(opperchat.file(path)))
      assert.equal(body_of(file_part("application/pdf", PDF, "other.pdf")),
        sent(opperchat.file(path, { name = "other.pdf" })))
    end)

    it("audio by path, with its format", function()
      for _, case in ipairs{ { "wav", WAV }, { "mp3", MP3 }, { "mp3", MP3_ID3 } } do
        local path = write_file("sound.bin", case[2])
        assert.equal(body_of(audio_part(case[1], case[2])), sent(opperchat.audio(path)))
      end
    end)

    it("bytes", function()
      assert.equal(body_of(image_part("image/png", PNG)), sent(opperchat.image{ data = PNG }))
      assert.equal(body_of(file_part("application/pdf", PDF, "file.pdf")),
        sent(opperchat.file{ data = PDF }))
      assert.equal(body_of(file_part("application/pdf", PDF, "a.pdf")),
        sent(opperchat.file{ data = PDF, name = "a.pdf" }))
      assert.equal(body_of(audio_part("wav", WAV)), sent(opperchat.audio{ data = WAV }))
    end)

    it("the declared type only where the bytes do not tell", function()
      assert.equal(body_of(image_part("image/heic", "abc")),
        sent(opperchat.image{ data = "abc", type = "image/heic" }))
      assert.equal(body_of(image_part("image/png", PNG)),
        sent(opperchat.image{ data = PNG, type = "image/jpeg" }))
      assert.equal(body_of(audio_part("ogg", "OggS")),
        sent(opperchat.audio({ data = "OggS" }, { type = "audio/ogg" })))
      local path = write_file("notes.txt", "hello")
      assert.equal(body_of(file_part("text/plain", "hello", "notes.txt")),
        sent(opperchat.file(path, { type = "text/plain" })))
    end)

    it("what the bytes are, whatever the name says", function()
      local path = write_file("really.png", JPEG)
      assert.equal(body_of(image_part("image/jpeg", JPEG)), sent(opperchat.image(path)))
      path = write_file("noname", PDF)
      assert.equal(body_of(file_part("application/pdf", PDF, "noname")), sent(opperchat.file(path)))
    end)

    it("names with blanks, quotes and letters of any script", function()
      for _, name in ipairs{ "Grü\195\159e 日本 🚀.pdf", "a b.pdf", "-n.pdf", "100%.pdf" } do
        local path = write_file(name, PDF)
        assert.equal(body_of(file_part("application/pdf", PDF, name)), sent(opperchat.file(path)))
      end
      local path = write_file('say "hi".pdf', PDF)
      local message = new_chat():append("user", opperchat.file(path)):last()
      assert.equal('say "hi".pdf', message.content[1].file.filename)
    end)

    it("names that are not UTF-8, with the odd bytes replaced", function()
      local part = opperchat.file(path_of("caf\233.pdf"))
      assert.equal("caf?.pdf", part.file.filename)
    end)

    it("files of all lengths around the pieces they are read in", function()
      for _, size in ipairs{ 49151, 49152, 49153, 98304, 150001 } do
        local bytes = ("%PDF-" .. ("0123456789abcdef\0\255"):rep(9000)):sub(1, size)
        local path = write_file("long", bytes)
        local message = new_chat():append("user", opperchat.file(path)):last()
        assert.is_true("data:application/pdf;base64," .. base64(bytes)
          == message.content[1].file.file_data, size)
      end
    end)

    it("the same again with the next prompt", function()
      local chat = new_chat()
      assert(chat:send{ "What?", opperchat.image{ data = GIF } })
      assert(chat:send("And?"))
      local bodies = server:requests()
      local first = '{"role":"user","content":[{"text":"What?","type":"text"},'
        .. image_part("image/gif", GIF) .. "]}"
      assert.truthy(bodies[1].body:find(first, 1, true))
      assert.truthy(bodies[2].body:find(first, 1, true))
    end)
  end)

  describe("in a list", function()
    it("can be appended, spliced, previewed, forked and read", function()
      local path = write_file("cat.png", PNG)
      local url = "data:image/png;base64," .. base64(PNG)
      local chat = opperchat.conversation{
        client = client, model = "m",
        system = { "Look closely.", opperchat.image(path) },
        messages = { { role = "user", content = opperchat.image(path) } },
      }
      chat:append{ role = "user", name = "ann", content = { "This?", opperchat.image(path) } }
      chat:splice(2, 2, {
        { role = "user", content = { opperchat.image(path), opperchat.image(path) } },
        { role = "assistant", content = "A cat." },
      })
      for _, list in ipairs{ chat:messages(), chat:fork():messages() } do
        assert.equal(4, #list)
        assert.equal(url, list[1].content[2].image_url.url)
        assert.equal(url, list[2].content[2].image_url.url)
        assert.equal("ann", list[4].name)
        assert.equal(url, list[4].content[2].image_url.url)
      end
      assert.truthy(chat:preview{ opperchat.image(path) }:find(url .. '"},"type":"image_url"}]}]}',
        1, true))
    end)

    it("can be put in again as they were read", function()
      local chat = new_chat()
      chat:append("user", { "x", opperchat.file{ data = PDF }, opperchat.audio{ data = WAV } })
      local other = new_chat()
      other:append(chat:last())
      assert.equal(chat:preview(), other:preview())
    end)

    it("can be the result of a tool", function()
      local chat = new_chat()
      chat:append{ role = "assistant", tool_calls = { {
        id = "c", type = "function", ["function"] = { name = "look", arguments = "{}" },
      } } }
      chat:append("tool", { opperchat.image{ data = GIF } }, { tool_call_id = "c" })
      assert.equal('{"role":"tool","content":[' .. image_part("image/gif", GIF)
        .. '],"tool_call_id":"c"}', (core.message_json(chat, -1)))
    end)

    it("are read when they go in, each time", function()
      local path = write_file("cat", GIF)
      local part = opperchat.image(path)
      local chat = new_chat():append("user", part)
      write_file("cat", PNG)
      chat:append("user", part)
      os.remove(path)
      local list = chat:messages()
      assert.truthy(list[1].content[1].image_url.url:find("^data:image/gif"))
      assert.truthy(list[2].content[1].image_url.url:find("^data:image/png"))
      assert.equal(2, #list)
    end)

    it("show themselves without their bytes", function()
      assert.equal("opperchat.image (cat.png)", tostring(opperchat.image("cat.png").image_url.url))
      assert.equal("opperchat.audio (5 bytes)",
        tostring(opperchat.audio{ data = "12345" }.input_audio))
    end)

    it("take no Lua memory for their base64 text", function()
      local path = write_file("large.pdf", "%PDF-" .. ("x"):rep(3000000))
      local chat, part = new_chat(), opperchat.file(path)
      chat:append("user", opperchat.file{ data = PDF })
      collectgarbage()
      collectgarbage("stop")
      local before = collectgarbage("count")
      chat:append("user", { "x", part })
      local taken = collectgarbage("count") - before
      collectgarbage("restart")
      assert.truthy(taken < 20, taken)
      assert.truthy(core.bytes(chat) > 4000000)
    end)
  end)

  describe("that cannot be sent", function()
    -- Every way to use a part fails, in its own way, and nothing is sent.
    local function fails(kind, code, message, part)
      local chat = new_chat()
      chat:append("user", "before")
      local function check(reply, err)
        assert.is_nil(reply)
        assert.same({ kind, code, message, false },
          { err.kind, err.code, err.message, err.retryable })
      end
      check(chat:send{ "What?", part })
      check(chat:start(part))
      check(chat:send({ part }, { stream = true }))
      local raised, err = pcall(chat.stream, chat, part)
      assert.is_false(raised)
      check(nil, err)
      check(opperchat.go(function() return chat:send(part) end):wait())

      local list = { { role = "user", content = "x" }, { role = "user", content = { part } } }
      raises("append: " .. message, function() chat:append("user", part) end)
      raises("append: " .. message, function() chat:append(list[2]) end)
      raises("messages[2]: " .. message, function() chat:splice(1, 0, list) end)
      raises("send: " .. message, function() chat:preview(part) end)
      assert.equal(1, #chat)
      assert.equal(0, #server:requests())
    end

    local IMAGES = "not a PNG, JPEG, WebP or GIF image "
      .. "(for another kind of image say type = \"image/...\")"

    it("since they are missing", function()
      local path = path_of("none.png")
      fails("store", "no_file", path .. ": no such file", opperchat.image(path))
      fails("store", "no_file", path .. "/x: no such file", opperchat.file(path .. "/x"))
    end)

    it("since they cannot be read", function()
      fails("store", "unreadable", folder .. ": a directory", opperchat.image(folder))
      fails("store", "unreadable", "/dev/null: not a regular file", opperchat.audio("/dev/null"))
      local path = write_file("secret.png", PNG)
      must("chmod 0 " .. path)
      if not is_root then
        fails("store", "unreadable", path .. ": permission denied", opperchat.image(path))
      end
      os.remove(path)
    end)

    it("since they are pipes, which are not waited for", function()
      local path = path_of("pipe")
      must("mkfifo " .. path)
      fails("store", "unreadable", path .. ": not a regular file", opperchat.file(path))
    end)

    it("since they are empty", function()
      local path = write_file("empty.png", "")
      fails("store", "empty_file", path .. ": the file is empty", opperchat.image(path))
      fails("store", "empty_file", "data: there are no bytes", opperchat.file{ data = "" })
    end)

    it("since they are too large", function()
      local path = write_file("big.pdf", PDF)
      fails("limit", "file_too_large", ("%s: %d bytes, more than the limit of %d (max_bytes)")
        :format(path, #PDF, #PDF - 1), opperchat.file(path, { max_bytes = #PDF - 1 }))
      fails("limit", "file_too_large", ("data: %d bytes, more than the limit of 10 (max_bytes)")
        :format(#PNG), opperchat.image{ data = PNG, max_bytes = 10 })
      assert.equal(1, #new_chat():append("user", opperchat.file(path, { max_bytes = #PDF })))
    end)

    it("since they are larger than 32 MiB", function()
      local path = path_of("sparse.pdf")
      must("truncate -s 33554433 " .. path)
      fails("limit", "file_too_large",
        path .. ": 33554433 bytes, more than the limit of 33554432 (max_bytes)",
        opperchat.file(path))
    end)

    it("since nobody knows what they are", function()
      local path = write_file("cat.png", "this is not a picture")
      fails("store", "unknown_type", path .. ": " .. IMAGES, opperchat.image(path))
      fails("store", "unknown_type", "data: " .. IMAGES, opperchat.image{ data = "x" })
      local _, err = new_chat():send(opperchat.audio(path))
      assert.equal("unknown_type", err.code)
      _, err = new_chat():send(opperchat.file(path))
      assert.equal("unknown_type", err.code)
    end)

    it("since they are something else", function()
      local path = write_file("cat.png", PDF)
      fails("store", "wrong_type", path .. ": a PDF document, not an image", opperchat.image(path))
      fails("store", "wrong_type", "data: a PNG image, not audio", opperchat.audio{ data = PNG })
      fails("store", "wrong_type", "data: WAV audio, not an image", opperchat.image{ data = WAV })
    end)

    it("and the next one can", function()
      local chat = new_chat()
      local _, err = chat:send(opperchat.image(path_of("none.png")))
      assert.equal("store error (no_file): " .. path_of("none.png") .. ": no such file",
        tostring(err))
      assert.equal(0, #chat)
      assert(chat:send(opperchat.image{ data = PNG }))
      assert.equal(2, #chat)
    end)

    it("outside of messages", function()
      local written, problem = pcall(json.encode, { a = opperchat.image("cat.png") })
      assert.is_false(written)
      assert.equal("a.image_url.url: an image, a file or audio can only stand in a message",
        problem)
    end)
  end)

  describe("misused", function()
    it("with a wrong source", function()
      raises("image: path, URL or {data = string} expected, got number",
        function() opperchat.image(3) end)
      raises("file: path, URL or {data = string} expected, got nil",
        function() opperchat.file() end)
      raises("audio: path, URL or {data = string} expected, got null",
        function() opperchat.audio(opperchat.null) end)
      raises("image: {data = string} expected, got a table without 'data'",
        function() opperchat.image{} end)
      raises("image: {data = string} expected, got data = number",
        function() opperchat.image{ data = 1 } end)
      raises("image: the path is empty", function() opperchat.image("") end)
      raises("image: a path cannot have a zero byte", function() opperchat.image("a\0b") end)
      raises("image: the URL is not valid UTF-8 at byte 9",
        function() opperchat.image("https://\255") end)
      raises("audio: path or {data = string} expected, got a URL, which the API does not take",
        function() opperchat.audio("https://example.com/a.wav") end)
    end)

    it("with wrong options", function()
      raises("image: table of options expected, got string",
        function() opperchat.image("a.png", "low") end)
      raises("image: unknown option 'detial' (did you mean 'detail'?)",
        function() opperchat.image("a.png", { detial = "low" }) end)
      raises("file: unknown option 'detail'",
        function() opperchat.file("a.pdf", { detail = "low" }) end)
      raises("image: unknown option 'data'",
        function() opperchat.image("a.png", { data = "x" }) end)
      raises("file: unknown option 'nam' (did you mean 'name'?)",
        function() opperchat.file{ data = "x", nam = "y" } end)
      raises("file: options have names, got [1]", function() opperchat.file("x", { "y" }) end)
      raises("image: option 'detail': \"auto\", \"low\" or \"high\" expected, got 'medium'",
        function() opperchat.image("a.png", { detail = "medium" }) end)
      raises("image: option 'max_bytes': integer >= 1 expected, got 0",
        function() opperchat.image("a.png", { max_bytes = 0 }) end)
      raises("image: option 'max_bytes': integer >= 1 expected, got string",
        function() opperchat.image("a.png", { max_bytes = "1" }) end)
      raises("file: option 'name': non-empty string expected, got ''",
        function() opperchat.file("a.pdf", { name = "" }) end)
      raises("file: option 'name': not valid UTF-8 at byte 4",
        function() opperchat.file("a.pdf", { name = "caf\233" }) end)
      raises("file: option 'type': media type such as \"image/png\" expected, got 'pdf'",
        function() opperchat.file("a.pdf", { type = "pdf" }) end)
      raises("file: option 'type': media type such as \"image/png\" expected, got 'a/b\"'",
        function() opperchat.file("a.pdf", { type = "a/b\"" }) end)
      raises("image: option 'type': \"image/...\" expected, got 'application/pdf'",
        function() opperchat.image("a", { type = "application/pdf" }) end)
      raises("audio: option 'type': \"audio/...\" expected, got 'image/png'",
        function() opperchat.audio("a", { type = "image/png" }) end)
    end)

    it("leaves what was given as it was", function()
      local source, given = { data = PNG }, { detail = "low" }
      opperchat.image(source, given)
      assert.same({ data = PNG }, source)
      assert.same({ detail = "low" }, given)
    end)
  end)

  it("makes files that other programs read", function()
    local found = os.execute("command -v file >/dev/null 2>&1")
    if found ~= true and found ~= 0 then
      pending("file(1) is not installed")
      return
    end
    for bytes, words in pairs{ [PNG] = "PNG image data, 20 x 10", [PDF] = "PDF document",
      [WAV] = "WAVE audio" } do
      local pipe = assert(io.popen("file -b " .. write_file("x", bytes)))
      local said = pipe:read("*a")
      pipe:close()
      assert.truthy(said:find(words, 1, true), said)
    end
  end)
end)
