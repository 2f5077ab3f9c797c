-- The command `opperchat` in a real terminal: the chat, Ctrl-C, the spinner, and
-- what a model cannot do to a terminal.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local tmux = require "spec.support.tmux"
local with = require "spec.support.with"

if not tmux.is_there() then
  describe("opperchat in a terminal", function()
    pending("needs tmux")
  end)
  return
end

local quote = shell.quote
local root = shell.output_of("pwd"):gsub("\n$", "")
local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
local END = sse.finish() .. sse.done

describe("opperchat in a terminal", function()
  local server = Server.for_tests()
  local folder, terminal

  before_each(function()
    folder = shell.new_folder()
  end)

  after_each(function()
    terminal:stop()
    shell.remove_folder(folder)
  end)

  local program = quote(shell.interpreter()) .. " " .. quote(root .. "/bin/opperchat") .. " "

  local function start(words, environment, columns)
    local settings = with({
      HOME = folder, OPPER_BASE_URL = server.url, OPPERCHAT_MODEL = "test/model",
      XDG_DATA_HOME = false, XDG_CONFIG_HOME = false, NO_COLOR = false, OPPER_API_KEY = false,
      LC_ALL = "C.UTF-8",
    }, environment)
    local line = (" " .. words):gsub(" opperchat%f[ ;%z]", function() return " " .. program end)
    terminal = tmux.start(line, settings, columns)
    return terminal
  end

  -- An answer that stops in its middle until the server is released.
  local function half(first, second)
    server:script{ { "send", HEAD .. sse.text(first) }, { "hold" },
      { "send", sse.text(second or " the rest") .. END }, { "close" } }
  end

  local function answer(...)
    server:stream(sse.answer(...))
  end

  local function sent()
    return server:last_request().json.messages
  end

  it("streams, and turns a spinner until the first word", function()
    server:script{ { "send", HEAD }, { "hold" }, { "send", sse.text("first") }, { "hold" },
      { "send", sse.text(" second") .. END }, { "close" } }
    start("opperchat hello")
    terminal:wait_for("waiting")
    server:release()
    local screen = terminal:wait_for("first")
    assert.is_nil(screen:find("waiting", 1, true), screen)
    assert.is_nil(screen:find("second", 1, true), screen)
    server:release()
    assert.equal("first second\n[ended 0]\n", terminal:wait_for("[ended 0]"))
  end)

  it("shows a plain answer where the terminal can do no more", function()
    server:script{ { "send", HEAD }, { "hold" }, { "send", sse.text("plain") .. END }, { "close" } }
    start("opperchat -i hello 2>" .. folder .. "/err", { TERM = "dumb" })
    while server:status().held == 0 do
      shell.succeeds("sleep 0.05")
    end
    server:release()
    terminal:wait_for("plain")
    terminal:keys("C-d")
    terminal:wait_for("[ended 0]")
    assert.is_nil(shell.read_file(folder .. "/err"):find("\27", 1, true))
  end)

  it("does not let an answer drive the terminal", function()
    answer("a\\u001b[2J\\u001b]0;title\\u0007b", "\\u009bc\\rd\\u202ee\\tf",
      "\\ud83d", "\\ude00 é")
    start("opperchat hello")
    local screen = terminal:wait_for("[ended 0]")
    assert.equal("a^[[2J^[]0;title^Gb<U+009B>c^Md<U+202E>e", (screen:match("^(%S+)")), screen)
    assert.truthy(screen:find("é", 1, true), screen)
  end)

  it("has no prompt for a question that cannot be sent without a key", function()
    start("opperchat", { OPPER_BASE_URL = false }, 120)
    local screen = terminal:wait_for("[ended 1]")
    assert.truthy(screen:find("^opperchat: no API key: set OPPER_API_KEY"), screen)
    assert.is_nil(screen:find("\n>", 1, true), screen)
  end)

  it("holds a chat: Ctrl-C stops the answer and nothing else, again and again", function()
    start("opperchat")
    terminal:wait_for("/help")
    terminal:wait_for("\n>")
    for round = 1, 3 do
      half("begun " .. round)
      terminal:type("question " .. round)
      terminal:wait_for("begun " .. round)
      terminal:keys("C-c")
      terminal:wait_for("[stopped]", round)
    end
    answer("and done")
    terminal:type("go on")
    terminal:wait_for("and done")
    -- what had arrived is part of the chat
    local messages = sent()
    assert.equal("question 3", messages[5].content)
    assert.equal("begun 3", messages[6].content)
    assert.equal("go on", messages[7].content)
    terminal:keys("C-d")
    local screen = terminal:wait_for("[ended 0]")
    assert.truthy(screen:find("kept as %x+: opperchat %-c goes on"), screen)

    answer("still known")
    terminal:stop()
    start("opperchat -c")
    terminal:wait_for("test/model, going on after 4 turns")
    terminal:type("Do you remember?")
    terminal:wait_for("still known")
    assert.equal(9, #sent())
  end)

  it("stops before the first word, and asks again with /retry", function()
    server:script{ { "send", HEAD }, { "hold" } }
    start("opperchat")
    terminal:wait_for("\n>")
    terminal:type("the question")
    terminal:wait_for("waiting")
    terminal:keys("C-c")
    terminal:wait_for("[stopped]")
    answer("first answer")
    terminal:type("/retry")
    terminal:wait_for("first answer")
    answer("second answer")
    terminal:type("/retry")
    terminal:wait_for("second answer")
    assert.equal(1, #sent())
    assert.equal("the question", sent()[1].content)
    -- one that fails leaves the answer there was
    server:reply{ status = 400, body = { error = { code = "bad", message = "refused" } } }
    terminal:type("/retry")
    terminal:wait_for("refused")
    answer("ok")
    terminal:type("next")
    terminal:wait_for("ok")
    assert.equal("second answer", sent()[2].content)
  end)

  it("forgets a line at Ctrl-C and leaves at the second", function()
    start("opperchat")
    terminal:wait_for("\n>")
    terminal:keys("h", "a", "l", "f", "C-c")
    terminal:wait_for("\n>", 2)
    answer("ok then")
    terminal:type("whole")
    terminal:wait_for("ok then")
    assert.equal("whole", sent()[1].content)
    terminal:wait_for("\n>", 3)
    -- greeted with "Ctrl-D leaves"
    terminal:keys("C-c")
    terminal:wait_for("Ctrl-C again, or Ctrl-D, leaves")
    terminal:wait_for("\n>", 4)
    -- what was typed in between is what the next one is for
    terminal:keys("a", "b", "c", "C-c")
    terminal:wait_for("\n>", 5)
    terminal:type('"""')
    terminal:type("x")
    terminal:wait_for("\n.", 2)
    terminal:keys("C-c")
    terminal:wait_for("\n>", 6)
    terminal:keys("C-c")
    terminal:wait_for("Ctrl-C again, or Ctrl-D, leaves", 2)
    terminal:keys("C-c")
    terminal:wait_for("[ended 130]")
  end)

  it("leaves the terminal as it was", function()
    start("stty -a >" .. folder .. "/before; opperchat; stty -a >" .. folder .. "/after")
    terminal:wait_for("\n>")
    terminal:keys("a", "C-c")
    terminal:wait_for("\n>", 2)
    terminal:keys("C-d")
    terminal:wait_for("[ended 0]")
    assert.equal(shell.read_file(folder .. "/before"), shell.read_file(folder .. "/after"))
  end)

  it("keeps the spinner in one line, however narrow the terminal is", function()
    server:script{ { "send", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n"
      .. "Content-Length: 0\r\n\r\n" }, { "close" } }
    start("opperchat hello", nil, 12)
    terminal:wait_for("HTTP 503…")
    -- it turns for a while
    shell.succeeds("sleep 0.5")
    local screen = terminal:screen()
    local _, lines = screen:gsub("[^\n]+", "")
    assert.equal(1, lines, screen)
    terminal:keys("C-c")
    terminal:wait_for("[ended 130]")
  end)

  it("knows its commands", function()
    shell.write_file(folder .. "/notes.txt", "remember the milk")
    start("opperchat -s 'Be brief.'")
    terminal:wait_for("\n>")
    answer("one")
    terminal:type("first question")
    terminal:wait_for("one")
    terminal:type("/model other/model")
    terminal:wait_for("model: other/model")
    terminal:type("/attach ~/notes.txt")
    terminal:wait_for("goes along with the next question")
    answer("two")
    terminal:type("second question")
    terminal:wait_for("two")
    local body = server:last_request().json
    assert.equal("other/model", body.model)
    assert.truthy(body.messages[4].content:find("remember the milk", 1, true))

    server:script{ { "hold" } }
    terminal:type("/compact")
    terminal:wait_for("summing up")
    terminal:keys("C-c")
    terminal:wait_for("[stopped]")
    answer("Earlier: one.")
    terminal:type("/compact")
    terminal:wait_for("tokens are")
    terminal:type("/save ~/chat.md")
    terminal:wait_for("saved as")
    local text = shell.read_file(folder .. "/chat.md")
    assert.truthy(text:find("## System\n\nBe brief.\n\n## Model\n\nEarlier: ", 1, true), text)
    assert.truthy(text:find("second question\n\n## Model\n\ntwo\n", 1, true), text)
    terminal:type("/save ~/chat.md")
    terminal:wait_for("is there already")

    terminal:type("/usage")
    terminal:wait_for("requests")
    terminal:type("/list")
    terminal:wait_for("other/model", 3)
    terminal:type("/undo")
    terminal:wait_for("taken back: ")
    terminal:type("/undo")
    terminal:wait_for("nothing to take back")
    terminal:type("/hlep")
    terminal:wait_for("did you mean /help?")
    answer("three")
    terminal:type("third question")
    terminal:wait_for("three")
    terminal:type("/quit")
    terminal:wait_for("[ended 0]")

    -- the model is the one it was given last
    answer("four")
    terminal:stop()
    start("opperchat -c fourth question")
    terminal:wait_for("[ended 0]")
    body = server:last_request().json
    assert.equal("other/model", body.model)
    assert.equal("fourth question", body.messages[#body.messages].content)
    assert.equal("three", body.messages[#body.messages - 1].content)
  end)

  it("takes questions of several lines", function()
    start("opperchat")
    terminal:wait_for("\n>")
    answer("one")
    terminal:type('"""')
    terminal:type("first line")
    terminal:type('second line"""')
    terminal:wait_for("one")
    assert.equal("first line\nsecond line", sent()[1].content)
    answer("two")
    terminal:type([[third \]])
    terminal:type("fourth")
    terminal:wait_for("two")
    assert.equal("third \nfourth", sent()[3].content)
    answer("three")
    terminal:type(" /etc is what?")
    terminal:wait_for("three")
    assert.equal("/etc is what?", sent()[5].content)
  end)

  it("leaves no file behind when nothing was said", function()
    start("opperchat")
    terminal:wait_for("\n>")
    terminal:keys("C-d")
    terminal:wait_for("[ended 0]")
    assert.equal("", shell.output_of("ls " .. folder .. "/.local/share/opperchat/chats"))
  end)

  it("ends at once with 130 when one question is interrupted", function()
    half("begun")
    start("opperchat hello")
    terminal:wait_for("begun")
    terminal:keys("C-c")
    terminal:wait_for("[ended 130]")
  end)
end)
