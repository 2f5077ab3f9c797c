-- The command `opperchat` in a pipe: what a script sees of it. In a terminal it
-- is in command_terminal_spec.lua.

local cjson = require("cjson").new()
local socket = require "socket"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local completion = require "spec.support.completion"

local quote = shell.quote
local root = shell.output_of("pwd"):gsub("\n$", "")

-- Seconds to wait for a process; checkers of memory are slow.
local LIMIT = (os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS")) and 120 or 20

describe("opperchat", function()
  local server = Server.for_tests()
  local folder

  before_each(function()
    folder = shell.new_folder()
  end)

  after_each(function()
    shell.remove_folder(folder)
  end)

  local program = quote(shell.interpreter()) .. " " .. quote(root .. "/bin/opperchat") .. " "

  -- What a command line prints and ends with: stdout, stderr, exit code.
  local function run(line, settings)
    settings = settings or {}
    local environment = with({
      HOME = folder, OPPER_BASE_URL = server.url, OPPERCHAT_MODEL = "test/model", NO_COLOR = false,
      OPPERCHAT_DEBUG = false, OPPER_API_KEY = false, XDG_DATA_HOME = false,
      XDG_CONFIG_HOME = false,
    }, settings.env)
    local words = {}
    for name, value in pairs(environment) do
      words[#words + 1] = value and "export " .. name .. "=" .. quote(value) .. ";"
        or "unset " .. name .. ";"
    end
    local input = shell.write_file(folder .. "/input", settings.input or "")
    local status = shell.output_of(table.concat(words, " ")
      .. " env --default-signal=INT,QUIT sh -c "
      .. quote(line:gsub("^opperchat ?", function() return program end)) .. " <" .. input .. " >"
      .. folder .. "/stdout 2>" .. folder .. "/stderr; echo $?")
    return shell.read_file(folder .. "/stdout"), shell.read_file(folder .. "/stderr"),
      tonumber(status)
  end

  -- Pieces of the next answer.
  local function answer(...)
    local pieces = { ... }
    for i, piece in ipairs(pieces) do
      pieces[i] = cjson.encode(piece):sub(2, -2)
    end
    server:stream(sse.answer((table.unpack or unpack)(pieces))) -- luacheck: ignore 113 143
  end

  -- The body of the last request.
  local function sent()
    return server:last_request().json
  end

  -- Runs a program in the place of a shell, with the signals as a terminal has them:
  -- the number of the signal that ended it, and what it said.
  local function signal_of(line, environment)
    local words = { "exec env --default-signal=INT,QUIT" }
    for name, value in pairs(environment) do
      words[#words + 1] = quote(name .. "=" .. value)
    end
    local result, how, number = os.execute(table.concat(words, " ") .. " " .. line
      .. " </dev/null >" .. folder .. "/stdout 2>" .. folder .. "/stderr")
    if type(result) == "number" then -- Lua 5.1: what wait() says
      how, number = result % 128 > 0 and "signal" or "exit", result % 128
    end
    return how == "signal" and number or nil, shell.read_file(folder .. "/stderr")
  end

  -- Starts `opperchat hello` as a script does that goes on, and waits for its request.
  local function start_in_background()
    -- a shell without job control has SIGINT ignored by what stands before `&`
    -- (and shell.succeeds would take a preloaded sanitizer away from it)
    local started = os.execute("export HOME=" .. folder .. " OPPER_BASE_URL=" .. server.url
      .. " OPPERCHAT_MODEL=m; ( " .. program .. "hello >" .. folder .. "/out 2>&1 & echo $! >"
      .. folder .. "/pid; wait $!; echo $? >" .. folder .. "/code ) >/dev/null 2>&1 & :")
    assert(started == true or started == 0)
    local deadline = socket.gettime() + LIMIT
    while server:status().held == 0 and socket.gettime() < deadline do
      socket.sleep(0.02)
    end
    assert.equal(1, server:status().held)
  end

  -- What that ended with.
  local function wait_for_code()
    local deadline, text = socket.gettime() + LIMIT
    repeat
      socket.sleep(0.02)
      local file = io.open(folder .. "/code")
      text = file and file:read("*a") or ""
      if file then
        file:close()
      end
    until text ~= "" or socket.gettime() > deadline
    return text
  end

  local function succeeds(line, settings)
    local out, err, code = run(line, settings)
    assert.equal(0, code, err)
    return out, err
  end

  describe("asks", function()
    it("the words as one question and prints the answer, with one newline at its end", function()
      answer("\n\nA list", " of numbers.", "\n\n")
      local out, err = succeeds("opperchat What is a vector?")
      assert.equal("A list of numbers.\n", out)
      assert.equal("", err)
      local body = sent()
      assert.equal("test/model", body.model)
      assert.is_true(body.stream)
      assert.same({ { role = "user", content = "What is a vector?" } }, body.messages)
    end)

    it("what is piped in, before the question or alone", function()
      answer("ok")
      succeeds("opperchat 'what is wrong?'", { input = "line 1\nerror\n" })
      assert.equal("line 1\nerror\n\nwhat is wrong?", sent().messages[1].content)
      answer("ok")
      succeeds("opperchat", { input = "the question\n" })
      assert.equal("the question", sent().messages[1].content)
    end)

    it("options of all kinds", function()
      answer("ok")
      succeeds("opperchat -o temperature=0.5 -otop_p=1 -o stop='[\"a\"]' -o extra.top_k=5 "
        .. "-o user=42 -s 'Be brief.' -mother/model -- -5 is what?")
      local body = sent()
      assert.equal("other/model", body.model)
      assert.equal(0.5, body.temperature)
      assert.equal(1, body.top_p)
      assert.same({ "a" }, body.stop)
      assert.equal(5, body.top_k)
      assert.equal("42", body.user)
      assert.same({
        { role = "system", content = "Be brief." }, { role = "user", content = "-5 is what?" },
      }, body.messages)
    end)

    it("without a stream", function()
      server:reply{ body = completion.body("whole") }
      assert.equal("whole\n", (succeeds("opperchat --no-stream hello")))
      assert.is_nil(sent().stream)
    end)

    it("for the tokens, on stderr", function()
      server:stream{ sse.text("ok"), sse.finish(), sse.usage_chunk, sse.done }
      local out, err = succeeds("opperchat --usage hello")
      assert.equal("ok\n", out)
      assert.equal("9 tokens asked (4 cached), 2 answered, $0.500000\n", err)
    end)

    it("leaves control characters as they are in a pipe", function()
      answer("\27[31mred\7")
      assert.equal("\27[31mred\7\n", (succeeds("opperchat hello")))
    end)

    it("a model of the server when nobody names one", function()
      local none = { env = { OPPERCHAT_MODEL = false } }
      server:reply{ body = { object = "list", data = { { id = "only" } } } }
      answer("ok")
      succeeds("opperchat hello", none)
      assert.equal("only", sent().model)
      server:reply{ body = { object = "list", data = { { id = "a" }, { id = "b" } } } }
      local _, err, code = run("opperchat hello", none)
      assert.equal(2, code)
      assert.equal("opperchat: which model? Say -m NAME or set OPPERCHAT_MODEL. "
        .. "This server has a, b\n", err)
    end)
  end)

  describe("attaches", function()
    local PNG = "\137PNG\r\n\26\n" .. ("\0"):rep(40)

    it("texts, images, PDFs and URLs", function()
      shell.write_file(folder .. "/err.log", "it broke\n")
      shell.write_file(folder .. "/a.png", PNG)
      shell.write_file(folder .. "/b", "%PDF-1.4\n%%EOF\n")
      answer("ok")
      succeeds("cd " .. folder .. "; " .. program .. "-a err.log -a a.png --attach=b "
        .. "-a https://example.com/x.JPG?y -a https://example.com/z.pdf 'What is this?'")
      local parts = sent().messages[1].content
      assert.equal("err.log:\n```\nit broke\n```\n\nWhat is this?", parts[1].text)
      assert.truthy(parts[2].image_url.url:find("^data:image/png;base64,iVBOR"))
      assert.equal("b", parts[3].file.filename)
      assert.truthy(parts[3].file.file_data:find("^data:application/pdf;base64,"))
      assert.equal("https://example.com/x.JPG?y", parts[4].image_url.url)
      assert.equal("https://example.com/z.pdf", parts[5].file.file_data)
    end)

    it("a picture out of a pipe", function()
      answer("ok")
      succeeds("opperchat 'What is this?'", { input = PNG })
      local parts = sent().messages[1].content
      assert.equal("What is this?", parts[1].text)
      assert.truthy(parts[2].image_url.url:find("^data:image/png;base64,iVBOR"))
    end)

    it("nothing that it cannot read, and asks nothing then", function()
      shell.write_file(folder .. "/noise", "\1\255\254 noise")
      for _, path in ipairs { "/missing", "/noise", "" } do
        local out, err, code = run("opperchat -a " .. folder .. path .. " hello")
        assert.equal("", out)
        assert.equal(2, code)
        assert.truthy(err:find("^opperchat: %-a " .. folder .. path .. ": [^\n]+\n$"), err)
      end
      local _, err, code = run("opperchat hello", { input = "\1\255\254" })
      assert.equal(2, code)
      assert.truthy(err:find("^opperchat: stdin: neither [^\n]+\n$"), err)
      assert.equal(0, #server:requests())
    end)

    it("no more than it takes, and does not read on", function()
      local source = "head -c 60000000 /dev/zero; echo $? >" .. folder .. "/writer"
      for _, head in ipairs { "", "printf '\\211PNG\\r\\n\\032\\n'; " } do
        for _, words in ipairs { "hello", "-a - hello", "-a /dev/stdin hello" } do
          local _, err, code = run("{ " .. head .. source .. "; } | " .. program .. words)
          assert.equal(2, code, err)
          assert.truthy(err:find("stdin: more than 32 MiB\n", 1, true), err)
          -- by SIGPIPE, or an error where that is ignored
          assert.not_equal("0\n", shell.read_file(folder .. "/writer"))
        end
      end
      assert.equal(0, #server:requests())
    end)

    it("texts that begin as pictures and music do", function()
      for _, text in ipairs {
        "ID3 is a decision tree", "GIF89a is an old image format", "GIF8",
        "ID3 é" .. ("x"):rep(4089) .. "é", -- a character on the edge of what is looked at
        "RIFF and WAVE are words", "RIFF-lesWAVE", "ID3 " .. ("é"):rep(20000),
      } do
        answer("ok")
        succeeds("opperchat", { input = text })
        assert.equal(text, sent().messages[1].content)
        answer("ok")
        succeeds("opperchat -a " .. shell.write_file(folder .. "/text", text) .. " hello")
        assert.equal(folder .. "/text:\n```\n" .. text .. "\n```\n\nhello",
          sent().messages[1].content)
      end
      for _, bytes in ipairs {
        "GIF89a\1\0\1\0\0\0\0;", "ID3\3\0\0\0\0\0\0", "RIFF\36\0\0\0WAVEfmt \16\0\0\0",
        "GIF89a    \247 \255\255",
      } do
        answer("ok")
        succeeds("opperchat -a " .. shell.write_file(folder .. "/bytes", bytes) .. " hello",
          { input = bytes })
        local content = sent().messages[1].content
        assert.equal("hello", content[1].text)
        assert.not_equal("text", content[2].type)
        assert.equal(content[2].type, content[3].type)
      end
      answer("ok")
      succeeds("opperchat -a - hello", { input = "%PDF-1.4\nall of it text\n%%EOF\n" })
      assert.equal("file", sent().messages[1].content[2].type)
    end)

    it("what is piped in as a file, when that is said", function()
      answer("ok")
      succeeds("opperchat -a - 'What is wrong?'", { input = "line 1\n" })
      assert.equal("stdin:\n```\nline 1\n```\n\nWhat is wrong?", sent().messages[1].content)
      local asked = #server:requests()
      for words, expected in pairs {
        ["-a - hello"] = "-a -: nothing is piped in",
        ["-i -a -"] = "stdin has the lines of the chat",
      } do
        local _, err, code = run("opperchat " .. words)
        assert.equal(2, code)
        assert.truthy(err:find(expected, 1, true), err)
      end
      assert.equal(asked, #server:requests())
    end)
  end)

  describe("with --schema", function()
    it("prints JSON and nothing else", function()
      answer('```json\n{"age": 36, ', '"name": "Ada"}\n```')
      local out = succeeds("opperchat --schema 'name, age int, email?: an address' 'Who?'")
      assert.same({ age = 36, name = "Ada" }, cjson.decode(out))
      assert.equal('{"age": 36, "name": "Ada"}\n', out)
      local schema = sent().response_format.json_schema.schema
      assert.same({ type = "integer" }, schema.properties.age)
      assert.same({ type = "string", description = "an address" }, schema.properties.email)
      table.sort(schema.required)
      assert.same({ "age", "name" }, schema.required)
    end)

    it("takes JSON, and files with it", function()
      local json = '{"type":"object","properties":{"tags":{"type":"array",'
        .. '"items":{"type":"string"}}},"required":["tags"]}'
      shell.write_file(folder .. "/tags.json", json)
      for _, given in ipairs { json, folder .. "/tags.json", "tags string[]" } do
        answer('{"tags":["a"]}')
        assert.equal('{"tags":["a"]}\n', (succeeds("opperchat --schema " .. quote(given) .. " x")))
        assert.same({ type = "array", items = { type = "string" } },
          sent().response_format.json_schema.schema.properties.tags)
      end
    end)

    it("asks so once, and goes on with the chat as before", function()
      answer('{"name":"Ada"}')
      succeeds("opperchat --schema name Who?")
      answer("In words.")
      assert.equal("In words.\n", (succeeds("opperchat -c And now?")))
      assert.is_nil(sent().response_format)
      assert.equal(3, #sent().messages)
      answer('{"age":36}')
      assert.equal('{"age":36}\n', (succeeds("opperchat -c --schema 'age int' 'How old?'")))
      answer("Yes.")
      assert.equal("Yes.\n", (succeeds("opperchat -c Really?")))
      assert.equal(7, #sent().messages)
    end)

    it("prints nothing that does not fit", function()
      answer('{"age": "old"}')
      local out, err, code = run("opperchat --schema 'age int' 'Who?'")
      assert.equal("", out)
      assert.equal(1, code)
      assert.truthy(err:find("^opperchat: schema error %(mismatch%): [^\n]+\n$"), err)
    end)
  end)

  describe("keeps chats", function()
    it("and goes on with them in another process", function()
      answer("Mars.")
      succeeds("opperchat -s 'Be brief.' -o temperature=0 Name a planet.")
      answer("Two.")
      succeeds("opperchat -c And its moons?", { env = { OPPERCHAT_MODEL = "something/else" } })
      local body = sent()
      assert.equal("test/model", body.model)
      assert.equal(0, body.temperature)
      local said = {}
      for i, message in ipairs(body.messages) do
        said[i] = message.content
      end
      assert.same({ "Be brief.", "Name a planet.", "Mars.", "And its moons?" }, said)

      answer("It is not kept.")
      succeeds("opperchat --no-save Something else")
      local list = succeeds("opperchat --list")
      local id, model, words = list:match("^(%x+)  %d+%-%d%d%-%d%d %d%d:%d%d  (%S+) +([^\n]*)\n$")
      assert.equal("test/model", model, list)
      assert.equal("Name a planet.", words)

      assert.equal("## System\n\nBe brief.\n\n## You\n\nName a planet.\n\n## Model\n\nMars.\n\n"
        .. "## You\n\nAnd its moons?\n\n## Model\n\nTwo.\n",
        (succeeds("opperchat --show " .. id:sub(1, 4))))
      answer("ok")
      succeeds("opperchat -m new/model -s Rhyme. --chat " .. id .. " Their names?")
      body = sent()
      assert.equal("new/model", body.model)
      assert.equal(6, #body.messages)
      assert.equal("Rhyme.", body.messages[1].content)
    end)

    it("in files that only their owner can read", function()
      answer("ok")
      succeeds("umask 0; " .. program .. "hello")
      local chats = folder .. "/.local/share/opperchat/chats"
      assert.equal("700 700 700\n", (shell.output_of("cd " .. folder .. "/.local; stat -c %a share "
        .. "share/opperchat share/opperchat/chats"):gsub("\n", " "):gsub(" $", "\n")))
      assert.equal("600\n", shell.output_of("stat -c %a " .. chats .. "/*"))
      answer("ok")
      succeeds("opperchat hello", { env = { XDG_DATA_HOME = folder .. "/data" } })
      assert.truthy(shell.output_of("ls " .. folder .. "/data/opperchat/chats")
        :find("^%d+%-%x+%.jsonl\n$"))
    end)

    it("only when there was an answer", function()
      server:reply{ status = 400, body = { error = { code = "bad", message = "no" } } }
      local _, _, code = run("opperchat hello")
      assert.equal(1, code)
      assert.equal("", shell.output_of("ls " .. folder .. "/.local/share/opperchat/chats"))
      assert.equal("", (succeeds("opperchat --list")))
      local _, err, other_code = run("opperchat -c hello")
      assert.equal(2, other_code)
      assert.equal("opperchat: there is no chat to go on with\n", err)
    end)

    it("when something was said, and leaves no file behind when it is killed before", function()
      server:script{ { "hold" } }
      start_in_background()
      assert(shell.succeeds("kill -KILL $(cat " .. folder .. "/pid)"))
      assert.equal("137\n", wait_for_code())
      assert.equal(0, #shell.output_of("ls " .. folder .. "/.local/share/opperchat/chats"))
    end)

    it("and closes their folder to others, when it is ours", function()
      local chats = folder .. "/.local/share/opperchat/chats"
      assert(shell.succeeds("mkdir -p " .. chats .. " && chmod 755 " .. chats))
      answer("ok")
      succeeds("opperchat hello")
      assert.equal("700\n", shell.output_of("stat -c %a " .. chats))
      assert.equal("755\n", shell.output_of("umask 022; mkdir " .. folder .. "/x; stat -c %a "
        .. folder .. "/x"))
    end)

    it("and saves them in files that only their owner can read", function()
      answer("ok")
      local saved = {}
      for i, name in ipairs { "x.md", "x.json", "x.jsonl", "x" } do
        saved[i] = "/save " .. folder .. "/" .. name
      end
      succeeds("umask 0; " .. program .. "-i", { input = "hello\n" .. table.concat(saved, "\n") })
      for _, name in ipairs { "x.md", "x.json", "x.jsonl", "x" } do
        assert.equal("600\n", shell.output_of("stat -c %a " .. folder .. "/" .. name), name)
        assert.truthy(shell.read_file(folder .. "/" .. name):find("hello", 1, true), name)
      end
    end)

    it("and is not led astray by what a full disk leaves", function()
      answer("ok")
      -- no file may get any bytes; a pipe may
      local out, err, code = run("{ trap '' XFSZ; ulimit -f 0; " .. program
        .. "hello 2>&1; } | cat")
      assert.equal(0, code, err)
      assert.truthy(out:find("^ok\nopperchat: this chat is not kept: [^\n]+\n$"), out)
      local chats = folder .. "/.local/share/opperchat/chats"
      assert.equal("", shell.output_of("ls " .. chats))
      answer("one")
      succeeds("opperchat first")
      shell.write_file(chats .. "/20990101-abcdef.jsonl", "")
      assert(shell.succeeds("touch -d 2099-01-01 " .. chats .. "/20990101-abcdef.jsonl"))
      answer("two")
      succeeds("opperchat -c second")
      assert.equal(3, #sent().messages)
      assert.is_nil((succeeds("opperchat --list")):find("abcdef", 1, true))
    end)

    it("and says when another program has one open", function()
      answer("ok")
      succeeds("opperchat hello")
      local path = shell.output_of("ls " .. folder .. "/.local/share/opperchat/chats/*")
        :gsub("\n", "")
      local opened = assert(require("opperchat").load(path, { journal = path }))
      local _, err, code = run("opperchat -c and")
      opened:close()
      assert.equal(1, code)
      assert.equal("opperchat: this chat is open in another program\n", err)
    end)

    it("and answers when they cannot be kept", function()
      answer("ok")
      local _, newline_err, newline_code = run("opperchat hello",
        { env = { XDG_DATA_HOME = folder .. "/a\nb" } })
      assert.equal(0, newline_code)
      assert.truthy(newline_err:find("^opperchat: this chat is not kept: [^\n]+\n$"), newline_err)
      shell.write_file(folder .. "/file", "")
      answer("ok")
      local out, err, code = run("opperchat hello", { env = { XDG_DATA_HOME = folder .. "/file" } })
      assert.equal("ok\n", out)
      assert.equal(0, code)
      assert.truthy(err:find("^opperchat: this chat is not kept: [^\n]+\n$"), err)
    end)
  end)

  describe("ends", function()
    it("with 1 and one line when the server or the network fails", function()
      server:reply{ status = 401, body = { error = { code = "unauthorized",
        message = "bad\27]0;key\nhere" } } }
      local out, err, code = run("opperchat hello")
      assert.equal("", out)
      assert.equal(1, code)
      assert.equal("opperchat: api error (unauthorized, HTTP 401): bad^[]0;key here\n", err)
      out, err, code = run("opperchat --base-url http://127.0.0.1:1/v1 hello")
      assert.equal("", out)
      assert.equal(1, code)
      assert.truthy(err:find("^opperchat: network error %(connection_refused%)[^\n]+\n$"), err)
      out, err, code = run("opperchat hello", { env = { OPPER_BASE_URL = false } })
      assert.equal("", out)
      assert.equal(1, code)
      assert.equal("opperchat: no API key: set OPPER_API_KEY, or name a file that has it with "
        .. "--key-file\n", err)
    end)

    it("with 1 before a chat begins that has no key", function()
      local out, err, code = run("opperchat -i", { env = { OPPER_BASE_URL = false },
        input = "one\ntwo\n" })
      assert.equal("", out)
      assert.equal(1, code)
      assert.equal("opperchat: no API key: set OPPER_API_KEY, or name a file that has it with "
        .. "--key-file\n", err)
    end)

    it("with 1 in the middle of an answer, which stays", function()
      server:stream{ sse.text("half an answer") }
      local out, err, code = run("opperchat hello")
      assert.equal("half an answer\n", out)
      assert.equal(1, code)
      assert.truthy(err:find("^opperchat: truncated error [^\n]+\n$"), err)
    end)

    it("with words for an answer that is empty, and for no reason", function()
      server:reply{ body = { choices = { { index = 0, finish_reason = cjson.null,
        message = { role = "assistant", content = "" } } } } }
      local _, err = run("opperchat --no-stream hello")
      assert.equal("opperchat: the answer is empty\n", err)
    end)

    it("with 2 when what was typed makes no sense", function()
      for line, expected in pairs{
        [""] = "what is the question",
        ["--sistem x hello"] = "unknown option '%-%-sistem' %(did you mean '%-%-system'%?%)",
        ["-z hello"] = "unknown option '%-z'",
        ["hello --model"] = "%-%-model wants NAME",
        ["--usage=yes hello"] = "%-%-usage takes no value",
        ["--list hello"] = "asks no question",
        ["-c --chat 12 hello"] = "two chats",
        ["--chat 12 hello"] = "no chat '12'",
        ["-o temprature=1 x"] = "no such parameter 'temprature' %(did you mean 'temperature'%?%)",
        ["-o temperature=hot x"] = "option 'temperature': number expected",
        ["--schema 'age intt' x"] = "'intt' is no type",
        ["--schema '{\"a\":' x"] = "no JSON",
        ["--base-url nonsense x"] = "%-%-base%-url",
        ["--key-file /nonexistent/key x"] = "there is no such file",
      } do
        local out, err, code = run("opperchat " .. line)
        assert.equal(2, code, line .. ": " .. err)
        assert.equal("", out)
        assert.truthy(err:find("^opperchat: [^\n]*" .. expected .. "[^\n]*\n$"), err)
      end
      assert.equal(0, #server:requests())
    end)

    it("without the places in its own files", function()
      shell.write_file(folder .. "/a\nb", "")
      local _, err, code = run("opperchat --chat '" .. folder .. "/a\nb' hello")
      assert.equal(2, code)
      assert.truthy(err:find("^opperchat: option 'journal': control character[^\n]*\n$"), err)
    end)

    it("quietly when nobody reads on", function()
      local chunks = {}
      for i = 1, 2000 do
        chunks[i] = sse.text("line " .. i .. "\\n")
      end
      server:default{ chunks = chunks, pause = 0.001 }
      -- the shell says how the command has ended
      local out, err = run("{ " .. program .. "--no-save hello; echo $? >" .. folder
        .. "/code; } | head -1")
      assert.equal("line 1\n", out)
      assert.equal("", err)
      assert.equal("141\n", shell.read_file(folder .. "/code"))
      -- a parent that ignores SIGPIPE passes that on
      out, err = run("trap '' PIPE; { " .. program .. "--no-save hello; echo $? >" .. folder
        .. "/code; } | head -1")
      assert.equal("line 1\n", out)
      assert.equal("", err)
      assert.equal("141\n", shell.read_file(folder .. "/code"))
    end)

    it("with 1 when the disk is full", function()
      answer("ok")
      local _, err, code = run("opperchat hello >/dev/full")
      assert.equal(1, code)
      assert.truthy(err:find("^opperchat: cannot write the answer: [^\n]+\n$"), err)
    end)

    it("by the signal when it is interrupted while it starts", function()
      -- what Ctrl-C does while a module is looked for: the interpreter's own handler raises
      local init = "table.insert(package.searchers or package.loaders, 2, function(name) "
        .. "if name == '%s' and not PRESSED then PRESSED = true "
        .. "local pipe = io.popen('kill -INT $PPID') pipe:read('*a') pipe:close() end end)"
      for _, name in ipairs { "opperchat.core", "opperchat.command", "opperchat.command.help" } do
        local number, err = signal_of(program .. "hello", { LUA_INIT = init:format(name),
          HOME = folder, OPPER_BASE_URL = server.url, OPPERCHAT_MODEL = "test/model" })
        assert.equal(2, number, name .. ": " .. err)
        assert.equal("", err)
      end
      assert.equal(0, #server:requests())
    end)

    it("as the Lua that it was handed over to ends", function()
      -- sources that are built for one Lua alone, which is a shell script here
      local own = folder .. "/sources"
      local other = shell.interpreter():find("5.2", 1, true) and "lua5.3" or "lua5.2"
      local build = own .. "/build/" .. other .. "/opperchat"
      local lua = own .. "/lua/opperchat/command"
      assert(shell.succeeds(("mkdir -p %s/bin %s %s && cp bin/opperchat %s/bin && : >%s/init.lua"
        .. " && : >%s/core.so"):format(own, lua, build, own, lua, build)))
      local line = quote(shell.interpreter()) .. " " .. own .. "/bin/opperchat hello"
      local environment = { LUA_PATH = ";;", LUA_CPATH = folder .. "/none/?.so",
        PATH = folder .. ":" .. os.getenv("PATH") }
      local function ends(script)
        shell.write_file(folder .. "/" .. other, "#!/bin/sh\n" .. script .. "\n")
        assert(shell.succeeds("chmod +x " .. folder .. "/" .. other))
        local number = signal_of(line, environment)
        local _, _, code = run("exec " .. line, { env = environment })
        return { code, number }
      end
      assert.same({ 7 }, ends("exit 7"))
      assert.same({ 0 }, ends("exit 0"))
      assert.same({ 130, 2 }, ends("kill -INT $$"))
      assert.same({ 143 }, ends("kill -TERM $$"))
    end)

    it("not by a SIGINT that is ignored, as in the background of a script", function()
      server:script{ { "hold" }, { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
        .. "\r\n\r\n" .. sse.text("still here") .. sse.finish() .. sse.done }, { "close" } }
      start_in_background()
      assert(shell.succeeds("kill -INT $(cat " .. folder .. "/pid)"))
      server:release()
      assert.equal("0\n", wait_for_code())
      assert.equal("still here\n", shell.read_file(folder .. "/out"))
    end)

    it("with 1 when stdout is closed, and writes into nothing else", function()
      answer("the answer")
      local _, err, code = run("opperchat hello >&-")
      assert.equal(1, code)
      assert.truthy(err:find("^opperchat: cannot write the answer: [^\n]+\n$"), err)
      for _, closed in ipairs { "<&-", "<&- 2>&-" } do
        answer("the answer")
        local out, other_err, other_code = run("opperchat hello " .. closed)
        assert.equal("the answer\n", out)
        assert.equal("", other_err)
        assert.equal(0, other_code)
      end
      answer("the answer")
      _, _, code = run("opperchat hello <&- >&- 2>&-")
      assert.equal(1, code)
      local kept = shell.output_of("cat " .. folder .. "/.local/share/opperchat/chats/*")
      local lines = 0
      for line in kept:gmatch("[^\n]+") do
        assert.truthy(pcall(cjson.decode, line), line)
        lines = lines + 1
      end
      assert.truthy(lines >= 4, kept)
    end)

    it("by the signal when it is interrupted", function()
      server:script{
        { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
          .. sse.text("first words") }, { "hold" },
      }
      local pid_file = folder .. "/pid"
      local started = "( until grep -q words " .. folder .. "/out; do sleep 0.05; done; "
        .. "kill -INT $(cat " .. pid_file .. ") ) & "
      -- a shell ignores SIGINT for what it starts in the background: `exec` in the front
      local _, _, code = run(": >" .. folder .. "/out; " .. started .. "sh -c 'echo $$ >"
        .. pid_file .. "; exec " .. program:gsub("'", "") .. "hello >" .. folder .. "/out'")
      assert.equal(130, code)
      assert.equal("first words\n", shell.read_file(folder .. "/out"))
      assert.equal("", (succeeds("opperchat --list")))
    end)
  end)

  describe("tells", function()
    it("its version, and how it is used", function()
      assert.equal("opperchat " .. require("opperchat").version .. "\n",
        (succeeds("opperchat --version")))
      local text = succeeds("opperchat -h")
      for name, option in pairs(require("opperchat.command.arguments").known()) do
        assert.truthy(text:find("--" .. name, 1, true), name)
        if option.short then
          assert.truthy(text:find("-" .. option.short .. ", --" .. name, 1, true), name)
        end
      end
      for line in text:gmatch("[^\n]+") do
        assert.truthy(#line <= 80, line)
      end
    end)

    it("chats in lines that fit a terminal, cut between characters", function()
      answer("ok")
      succeeds("opperchat " .. quote(("x"):rep(199) .. "é and more"))
      local list = succeeds("opperchat --list")
      assert.truthy(list:find("x\n$"), list)
      local safe_text = require "opperchat.command.safe_text"
      for text, expected in pairs {
        ["日本語"] = { "", "…", "…", "日…", "日…", "日本…", "日本語" },
        ["abcd"] = { "", "…", "a…", "ab…", "abcd" },
        ["e\204\129é!"] = { "", "…", "e\204\129…", "e\204\129é!" },
      } do
        for i, cut in ipairs(expected) do
          assert.equal(cut, safe_text.cut(text, i - 1), text .. " in " .. i - 1)
        end
        assert.equal(text, safe_text.cut(text, math.huge))
      end
    end)

    it("which models there are", function()
      server:reply{ body = { object = "list", data = { { id = "b/two" }, { id = "a/one" } } } }
      assert.equal("a/one\nb/two\n", (succeeds("opperchat --models")))
      server:reply{ body = { object = "list", data = { { id = "b/two" }, { id = "a/one" } } } }
      assert.equal("b/two\n", (succeeds("opperchat --models TWO")))
    end)

    it("what is wrong", function()
      local out, _, code = run("opperchat --doctor --base-url http://127.0.0.1:1/v1")
      assert.equal(1, code)
      assert.truthy(out:find("fail  connection", 1, true), out)
    end)

    it("what goes over the wire, without the key", function()
      answer("ok")
      local out, err = succeeds("opperchat --debug hello",
        { env = { OPPER_API_KEY = "op-secret-1" } })
      assert.equal("ok\n", out)
      assert.truthy(err:find("opperchat #1 > POST", 1, true), err)
      assert.is_nil(err:find("op-secret-1", 1, true))
    end)
  end)

  describe("is set up", function()
    it("by a file and the environment, which goes before it", function()
      assert(shell.succeeds("mkdir -p " .. folder .. "/.config/opperchat"))
      shell.write_file(folder .. "/key", "op-from-file\n")
      local config = folder .. "/.config/opperchat/config"
      shell.write_file(config, "# mine\nmodel = file/model\nsystem = Be brief.\n"
        .. "option = temperature=0\nkey-file = ~/key\nno-save\n")
      answer("ok")
      succeeds("opperchat hello", { env = { OPPERCHAT_MODEL = false } })
      assert.equal("Bearer op-from-file", server:last_request().headers.authorization)
      assert.equal("file/model", sent().model)
      assert.equal("Be brief.", sent().messages[1].content)
      assert.equal(0, sent().temperature)
      assert.equal("", (succeeds("opperchat --list")))
      answer("ok")
      succeeds("opperchat -o temperature=1 hello")
      assert.equal("test/model", sent().model)
      assert.equal(1, sent().temperature)
      shell.write_file(config, "modell = x\n")
      local _, err, code = run("opperchat hello")
      assert.equal(2, code)
      assert.equal("opperchat: " .. config .. ": line 1: no such setting 'modell'\n", err)
    end)

    it("in the sources, though LUA_CPATH is another Lua's", function()
      answer("ok")
      assert.equal("ok\n", (succeeds("opperchat hello", {
        env = { LUA_PATH = false, LUA_CPATH = folder .. "/build/lua9/?.so;;" },
      })))
    end)

    it("in the sources, from any folder and through a link", function()
      answer("ok")
      assert(shell.succeeds("ln -s " .. quote(root .. "/bin/opperchat") .. " " .. folder .. "/ask"))
      local out = succeeds("cd /; " .. quote(shell.interpreter()) .. " " .. folder .. "/ask hello",
        { env = { LUA_PATH = false, LUA_CPATH = false } })
      assert.equal("ok\n", out)
    end)
  end)

  describe("docs/command.md", function()
    local page = shell.read_file(root .. "/docs/command.md")
    local blocks = {}
    for block in page:gmatch("\n```sh\n(.-)\n```") do
      blocks[#blocks + 1] = block
    end

    it("begins with an example, and has more", function()
      assert.truthy(page:find("^# [^\n]+\n\n```sh\nopperchat "))
      assert.truthy(#blocks >= 5)
    end)

    for number, block in ipairs(blocks) do
      it("has commands that work in block " .. number, function()
        assert(shell.succeeds("cd " .. folder .. " && mkdir -p bin docs/images && cp " .. root
          .. "/README.md . && cp " .. root .. "/docs/images/neovim.png docs/images"))
        shell.write_file(folder .. "/bin/opperchat", "#!/bin/sh\nexec " .. program .. '"$@"\n')
        assert(shell.succeeds("chmod +x " .. folder .. "/bin/opperchat"))
        server:default{ chunks = sse.answer("ok") }
        if block:find("degrees float", 1, true) then
          answer('{"city":"Oslo","degrees":4,"sky":"rain"}')
          answer('{"tags":["bicycle"]}')
        end
        local _, count = ("\n" .. block):gsub("opperchat ", "")
        local out, err = succeeds("set -e; cd " .. folder .. "; PATH=" .. folder
          .. "/bin:$PATH\n" .. block)
        assert.is_nil(err:find("usage", 1, true), err)
        if block:find("127.0.0.1:1", 1, true) then
          assert.equal("it said 1\n", out)
        else
          local asked = #server:requests() + (block:find("%-%-list") and 1 or 0)
          assert.equal(count, asked, err)
          assert.equal("", err)
        end
      end)
    end

    it("and the help name every option and every command of a chat", function()
      local help = require "opperchat.command.help"
      for name, option in pairs(require("opperchat.command.arguments").known()) do
        assert.truthy(page:find("`--" .. name:gsub("%-", "%%-") .. "[ `]"), name)
        if option.short then
          assert.truthy(page:find("`-" .. option.short .. "`", 1, true), name)
        end
        if option.config then
          assert.truthy(page:find("There may stand [^.]*`" .. name:gsub("%-", "%%-") .. "`"), name)
        end
      end
      for _, name in ipairs(require("opperchat.command.commands").names()) do
        if name ~= "exit" then
          assert.truthy(page:find("| `/" .. name .. "[ `]"), name)
          assert.truthy(help.CHAT:find("\n?/" .. name .. " "), name)
        end
      end
    end)
  end)

  it("holds a chat through a pipe", function()
    server:default{ chunks = sse.answer("ok") }
    local out, err = succeeds("opperchat -i", {
      input = 'one \\\ntwo\n"""\nthree\n\nfour"""\n/undo\n/system Be brief.\nfive\n/nonsense\n',
    })
    assert.equal("ok\nok\nok\n", out)
    assert.truthy(err:find("taken back: three four", 1, true), err)
    assert.truthy(err:find("unknown command /nonsense", 1, true), err)
    local requests = server:requests()
    assert.equal("one \ntwo", requests[1].json.messages[1].content)
    assert.equal("three\n\nfour", requests[2].json.messages[3].content)
    local last = requests[3].json.messages
    assert.equal("Be brief.", last[1].content)
    assert.equal("five", last[4].content)
  end)

  it("takes nothing that has several lines for a command of a chat", function()
    server:default{ chunks = sse.answer("ok") }
    local _, err = succeeds("opperchat -i", {
      input = '"""/undo\nis what?"""\n"""/quit"""\n"""\n  /help"""\n/quit\\\nnow\n/model \1\n',
    })
    local requests = server:requests()
    local asked = {}
    for i, request in ipairs(requests) do
      asked[i] = request.json.messages[#request.json.messages].content
    end
    assert.same({ "/undo\nis what?", "/quit", "  /help", "/quit\nnow" }, asked)
    assert.truthy(err:find("model", 1, true), err)
  end)

  it("does not wait for a name while it can be interrupted", function()
    -- a server that says nothing at all: Ctrl-C ends that wait as well
    server:script{ { "hold" } }
    local begun = socket.gettime()
    local _, _, code = run("timeout --preserve-status -s INT 0.7 " .. program .. "hello")
    assert.equal(130, code)
    assert.truthy(socket.gettime() - begun < 15)
  end)
end)
