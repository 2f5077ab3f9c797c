-- What a review of policies and of keeping found, so that it stays mended.
local chats = require "spec.support.chats"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local shell = require "spec.support.shell"

local policy = opperchat.policy

chats.for_tests()

local folder = shell.new_folder()

teardown(function()
  shell.remove_folder(folder)
end)

-- What the server answers next, with what it says it took.
local function answer(text, usage)
  chats.answer(text, { usage = usage })
end

local paths = 0

local function new_path()
  paths = paths + 1
  return folder .. "/" .. paths
end

local function write(path, ...)
  shell.write_file(path, table.concat({ ... }, "\n") .. "\n")
end

-- What the file says the conversation is.
local function stored(path)
  local list = assert(opperchat.load(path))
  return list:export()
end

describe("a turn is in its journal", function()
  it("though the function that counts tokens raises", function()
    local path = new_path()
    local chat = assert(chats.new { journal = path, policy = policy.keep { turns = 5 } })
    opperchat.tokens.count = function(text)
      assert(not text:find("BOOM"), "cannot count this")
      return #text
    end
    answer("BOOM", { prompt_tokens = 9, completion_tokens = 1, total_tokens = 10 })
    local worked, err = pcall(chat.send, chat, "hi")
    assert.is_false(worked)
    assert.truthy(tostring(err):find("cannot count this"))
    assert.equal(2, #chat)
    assert.equal(chat:export(), stored(path))
  end)

  it("though costs add up to infinity", function()
    local path = new_path()
    local chat = assert(chats.new { journal = path })
    for _ = 1, 3 do
      answer("ok", { prompt_tokens = 9, completion_tokens = 1, total_tokens = 10, cost = 1e308 })
      assert(chat:send("hi"))
    end
    assert.equal(6, #chat)
    assert.equal(chat:export(), stored(path))
    assert.truthy(chat:usage().cost < 1 / 0)
  end)
end)

describe("a refusal without a number", function()
  local TOO_LONG = { status = 400, body = json.encode { error = {
    code = "context_length_exceeded", message = "prompt is too long" } } }

  it("of something short teaches nothing", function()
    local chat = chats.new { model = "m", context_window = 128000, policy = policy.fit {} }
    chats.server:reply(TOO_LONG)
    assert.is_nil((chat:send("x")))
    chats.answer("ok")
    assert(chat:fork():send("Hello, how are you?"))
  end)

  it("gives way to what the program says, and to what the model takes", function()
    local long = ("word "):rep(2000)
    local chat = chats.new { model = "m", context_window = 128000, policy = policy.fit {} }
    chats.server:reply(TOO_LONG)
    assert.is_nil((chat:send(long)))
    assert.equal(128000, chat:forecast().window)

    local other = chats.new { model = "n", policy = policy.keep { turns = 9 } }
    chats.server:reply(TOO_LONG)
    assert.is_nil((other:send(long)))
    local guess = other:forecast().window
    assert.truthy(guess and guess < 2100)
    -- a request over the guess is sent all the same, and teaches better
    local fitted = chats.new { model = "n", policy = policy.fit {} }
    answer("ok", { prompt_tokens = 2500, completion_tokens = 1, total_tokens = 2501 })
    assert(fitted:send(long))
    assert.is_nil(fitted:forecast().window)
  end)
end)

describe("a function as a policy", function()
  it("cannot leave a hole in the list", function()
    for _, fn in ipairs {
      function(m) return { m[1], m[2], nil, m[4], m[#m] } end,
      function(m) m[2] = nil return m end,
    } do
      local chat = chats.new { policy = fn }
      chat:append("system", "s"):append("user", "a"):append("assistant", "b")
      local before = chat:export()
      local worked, err = pcall(chat.send, chat, "PROMPT")
      assert.is_false(worked)
      assert.truthy(tostring(err):find("hole in it", 1, true), tostring(err))
      assert.equal(before, chat:export())
    end
    assert.equal(0, #chats.server:requests())
  end)

  it("cannot take the prompt away", function()
    local told
    local chat = chats.new {
      policy = function(m) table.remove(m) return m end,
      on_compact = function(_, err) told = err end,
    }
    chat:append("user", "a"):append("assistant", "b")
    chats.answer("ok")
    assert(chat:send("PROMPT"))
    assert.equal("policy_failed", told.code)
    assert.equal("PROMPT", chat:messages(-2, -2)[1].content)
    assert.truthy(chats.server:last_request().body:find("PROMPT", 1, true))
  end)
end)

describe("a summary", function()
  it("that makes no room is refused", function()
    local told
    local chat = chats.new { policy = policy.summarize { tokens = 1000, turns = 1 },
      on_compact = function(_, err) told = err end }
    chats.count_bytes()
    for i = 1, 4 do
      chat:append("user", i .. ("q"):rep(120)):append("assistant", ("a"):rep(120))
    end
    local before = chat:export()
    chats.answer(("s"):rep(740))
    local report, err = chat:compact()
    assert.is_nil(report)
    assert.equal("bad_summary", err.code)
    assert.truthy(err.message:find("too long"), err.message)
    assert.equal(err, told)
    assert.equal(before, chat:export())
  end)

  it("goes with clear, and so do facts", function()
    local chat = chats.new { policy = policy.remember { tokens = 500, turns = 1,
      schema = { name = "string" } } }
    chat:append("system", "s")
    for i = 1, 3 do
      chat:append("user", "question " .. i):append("assistant", "answer")
    end
    chats.answer('{"name":"Ada"}')
    assert(chat:compact())
    assert.truthy(chat:export():find("Ada", 1, true))
    chat:clear()
    assert.equal('[{"role":"system","content":"s"}]', chat:export())
  end)
end)

describe("turns and files", function()
  it("are counted from the first turn on", function()
    local chat = chats.new()
    chat:append("assistant", "greeting"):append("user", "q1"):append("assistant", "a1")
    chat:append("user", "q2"):append("assistant", "a2")
    assert.equal("q1", select(2, chat:fork_at(-2)).content)
    for _, turn in ipairs { -3, -4, 0, 3 } do
      assert.is_false((pcall(chat.fork_at, chat, turn)), turn)
    end
  end)

  it("save knows the journal under any name", function()
    local path = new_path()
    local chat = assert(chats.new { journal = path })
    chat:append("user", "x")
    local link = new_path()
    shell.must("ln -s " .. path .. " " .. link)
    for _, other in ipairs { path, link, folder .. "/./" .. path:match("[^/]+$") } do
      local worked, err = pcall(chat.save, chat, other)
      assert.is_false(worked, other)
      assert.truthy(tostring(err):find("up to date", 1, true))
    end
    assert(chat:append("assistant", "y"))
  end)

  it("options of a file that make no sense are an error of the file", function()
    for _, options in ipairs { '{"tools":[{"x":1}]}', '{"schema":{"type":"nonsense"}}' } do
      local path = new_path()
      write(path, '{"opperchat":1,"trace_id":"t","options":' .. options .. "}",
        '{"append":[{"role":"user","content":"x"}]}')
      local chat, err = opperchat.load(path)
      assert.is_nil(chat)
      assert.equal("store bad_line", err.kind .. " " .. err.code)
      for _ = 1, 2 do
        -- and the journal is free again
        chat, err = opperchat.conversation { journal = path }
        assert.is_nil(chat)
        assert.equal("bad_line", err.code)
      end
    end
  end)

  it("a function that counts may be taken away, and counts for each model", function()
    local chat = chats.new { model = "small" }
    chat:append("user", "hello")
    opperchat.tokens.count = function(_, model) return model == "big" and 1000 or 1 end
    local small = chat:tokens()
    local big = chat:fork { model = "big" }:tokens()
    assert.equal(999, big - small)
    opperchat.tokens.count = nil
    assert.equal("estimated", select(2, chat:tokens()))
    opperchat.tokens.count = 5
    assert.is_false((pcall(chat.tokens, chat)))
  end)
end)
