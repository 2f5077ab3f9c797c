-- What functions take and return, and what handlers are called with, against
-- lua/opperchat/types.lua. Each function and method is replaced by one that looks
-- at its arguments and results; then a program uses all of them in all ways.
-- Whatever is annotated has to be seen: each alternative of each type.

local annotations = require "spec.support.annotations"
local core = require "opperchat.core"
local draft_module = require "opperchat.policy.draft"
local kept = require "spec.support.kept"
local opperchat = require "opperchat"

-- Which add their methods when they are loaded.
for _, name in ipairs{ "conversation", "models", "oneshot", "doctor", "keeping", "outlook",
  "sending", "steps", "run", "compaction" } do
  require("opperchat." .. name)
end

local unpack = table.unpack or unpack -- luacheck: ignore

local by_name = annotations.by_name

-- What cannot be seen here, and where it is.
local ELSEWHERE = {
  ["Client.pollfd: result 1: nil"] = "on systems without such a descriptor",
  ["Client.close: result 1: nil"] = "needs a full disk: spec/tape_spec.lua",
  ["Client.close: result 2: opperchat.Error"] = "needs a full disk: spec/tape_spec.lua",
}
local CLASSES_ELSEWHERE = {
  ["nvim"] = "needs Neovim: spec/nvim_plugin_spec.lua",
  ["nvim.Options"] = "needs Neovim: spec/nvim_plugin_spec.lua",
  ["loop.Nvim"] = "needs Neovim: spec/nvim_spec.lua",
  ["loop.Luv"] = "needs luv: spec/loop_luv_spec.lua",
  ["loop.Cqueues"] = "needs cqueues: spec/loop_cqueues_spec.lua",
  ["loop.Options"] = "needs a loop: spec/loop_luv_spec.lua",
}

-- What was seen, and what is wrong, in words.
local seen, problems = {}, {}

local function see(place, value, text, is_optional)
  if is_optional and value == nil then
    seen[place .. ": nil"] = true
    return
  end
  local problem = annotations.find_problem(value, text, place)
  if problem then
    problems[#problems + 1] = problem
  end
  for _, one in ipairs(annotations.expand(text)) do
    if not annotations.find_problem(value, one, place) then
      seen[place .. ": " .. one] = true
    end
  end
end

local function see_all(place, what, entries, values, count)
  for i, entry in ipairs(entries) do
    if entry.name == "..." then
      return
    end
    see(("%s: %s %s"):format(place, what, what == "result" and i or entry.name), values[i],
      entry.type, entry.is_optional)
  end
  for i = #entries + 1, count do
    if values[i] ~= nil then
      problems[#problems + 1] = ("%s: %s %d: not annotated"):format(place, what, i)
    end
  end
end

-- How to get rid of all of it again.
local undo = {}

local function watch(into, short, fn, shift)
  local original = assert(into[fn.name], fn.name)
  local place = short .. "." .. fn.name
  local function finish(arguments, ...)
    see_all(place, "parameter", fn.params, arguments, arguments.n)
    see_all(place, "result", fn.returns, { ... }, select("#", ...))
    return ...
  end
  into[fn.name] = function(...)
    if debug.getinfo(2, "S").source:find("lua/opperchat/", 1, true) then
      -- among themselves they may say more
      return original(...)
    end
    local arguments = { n = select("#", ...) - shift, select(1 + shift, ...) }
    return finish(arguments, original(...))
  end
  undo[#undo + 1] = function()
    into[fn.name] = original
  end
end

local function watch_class(short, into)
  for _, fn in ipairs(by_name[short == "opperchat" and short or "opperchat." .. short].functions) do
    watch(into, short, fn, fn.is_method and 1 or 0)
  end
end

-- A handler that looks at what it is called with; `answer` is what it returns.
local function handler(class, name, answer)
  for _, field in ipairs(by_name["opperchat." .. class].fields) do
    if field.name == name then
      for _, one in ipairs(annotations.expand(field.type)) do
        if one:find("^fun%(") then
          local place = class .. "." .. name
          local params = annotations.signature(one)
          return function(...)
            local count = select("#", ...)
            seen[place .. ": called"] = true
            see_all(place, "parameter", params, { ... }, count)
            if type(answer) == "function" then
              return answer(...)
            end
            return answer
          end
        end
      end
    end
  end
  error(class .. "." .. name)
end

-- Calls a function that is a field, and looks at what it returns.
local function result_of(class, name, fn, ...)
  for _, field in ipairs(by_name["opperchat." .. class].fields) do
    if field.name == name then
      local place = class .. "." .. name
      local results = { fn(...) }
      seen[place .. ": called"] = true
      for i, of in ipairs(select(2, annotations.signature(field.type))) do
        see(("%s: result %d"):format(place, i), results[i], of)
      end
      return unpack(results)
    end
  end
  error(class .. "." .. name)
end

-- ---------------------------------------------------------------------------
-- The program
-- ---------------------------------------------------------------------------

local CALL = { role = "assistant", tool_calls = { kept.call("call_1", "f", '{"a":"b"}') } }
local ORPHAN = { role = "tool", tool_call_id = "lost", content = "4" }
local USER = { role = "user", content = "Hi" }

local MODELS = { body = { object = "list", data = { { id = "m", object = "model" } } } }

local function fail(status)
  kept.server:reply{ status = status or 400, body = "no" }
end

local function new_chat(given)
  return opperchat.conversation(kept.options(given))
end

local SCENES = {}

function SCENES.editing()
  local chat = new_chat{ system = "Be brief." }
  chat:append("user", "Hi"):append("assistant", "Hello")
  chat:append(USER):append("assistant", { "a", { type = "text", text = "b" } })
  chat:append("user", opperchat.image("https://example.com/a.png"), { name = "me" })
  chat:append("assistant", "Nice.")
  chat:append("user", { type = "input_audio", input_audio = { data = "QQ==", format = "wav" } })
  chat:append("assistant", "Loud.")
  chat:append("user", opperchat.file("https://example.com/a.pdf"))
  chat:append("developer", { type = "text", text = "x" }):append("system", "y")
  chat:splice(2, 2, { USER })
  chat:splice(-1, -1)
  chat:splice(2, 1, { ORPHAN }, { repair = true })
  chat:pin(2):pin(2, false)
  chat:undo():undo(1)
  chat:messages(1, 2)
  chat:messages()
  chat:last()
  chat:fork()
  chat:fork{ temperature = 1 }:fork_at(1)
  chat:fork_at(-1, { temperature = 0 })
  chat:export()
  chat:usage()
  chat:clear()
  chat:append("user", "Hi"):append(CALL)
  chat:append("tool", "4", { tool_call_id = "call_1" })
  chat:cancel()
  opperchat.type(chat)
  chat:close()
  new_chat():last()
end

function SCENES.journals()
  local chat, path = kept.new()
  chat:append("user", "Hi")
  local again, report = new_chat{ journal = path .. "/no/such/folder" }
  assert(not again and report)
  chat:close()
  again = new_chat{ journal = path }
  os.remove(path)
  again:append("user", "Hi")
  again:splice(1, 1)
  again:splice(1, 0, { ORPHAN }, { repair = true })
  again:splice(1, 1, { { role = "user", content = "Ho" } }, { repair = true })
  again:pin(1)
  again:undo()
  again:clear()
  again:tool{ name = "f" }
  again:close()
end

function SCENES.files()
  local path = kept.path("saved")
  local chat = new_chat{ messages = { USER } }
  chat:save(path)
  chat:save(path .. "/no/such/file")
  opperchat.load(path)
  opperchat.load(path, { client = kept.client })
  opperchat.load(path .. "x")
  opperchat.import('[{"role":"user","content":"Hi"}]')
  opperchat.import({ USER, ORPHAN }, { client = kept.client })
  opperchat.import("no JSON")
end

function SCENES.requests()
  -- a client that nothing has been said to yet
  local fresh = opperchat.client{ base_url = kept.server.url }
  new_chat{ client = fresh }:tokens()
  fresh:close()
  local chat = new_chat()
  chat:preview()
  chat:preview("Hi", { temperature = 0 })
  chat:forecast()
  chat:forecast("Hi", { temperature = 0 })
  kept.answer("One.")
  chat:send("Hi", {
    on_event = handler("SendOptions", "on_event"), on_delta = handler("SendOptions", "on_delta"),
    on_done = handler("SendOptions", "on_done"),
  })
  chat:tokens()
  chat:append("user", "And?")
  chat:tokens()
  kept.answer("Two.")
  chat:send()
  kept.answer("Three.")
  chat:retry()
  fail()
  chat:retry{ temperature = 0 }
  fail()
  chat:send({ type = "text", text = "Hi" }, { on_done = handler("SendOptions", "on_done") })
  chat:send{ "Hi", { type = "text", text = "Ho" } }
  for text in chat:stream("Hi") do
    assert(type(text) == "string")
  end
  chat:stream({ "Hi" }, { temperature = 0 }):cancel()
  chat:append("user", "Hi"):stream():wait()
  chat:append("user", "Hi"):start():wait()
  local nobody = opperchat.client{ base_url = "https://api.opper.ai/v3/compat", api_key = "" }
  new_chat{ client = nobody }:start("Hi")
  nobody:close()
  result_of("Reply", "raw", chat:fork():send("Hi").raw)
end

function SCENES.states()
  local chat = new_chat()
  kept.server:script{ { "sleep", 0.05 }, { "send", "HTTP/1.1 200 OK\r\n"
    .. "Content-Type: text/event-stream\r\n\r\n"
    .. 'data: {"choices":[{"index":0,"delta":{"content":"It was"}}]}\n\n' }, { "hold" } }
  local request = chat:start("Hi", { stream = true })
  request:state()
  kept.client:timeout()
  while request:content() == "" do
    opperchat.poll{ seconds = 0.01 }
    kept.client:poll(0.01)
  end
  request:wait(0.01)
  request:state()
  opperchat.type(request)
  request:cancel()
  request:wait()
  request:state()
  kept.server:release()
  fail()
  request = chat:start("Hi")
  request:wait()
  request:state()
  request = chat:start("Hi", { temperature = 0 })
  request:wait()
  request:state()
  -- one that is sent again
  local other = opperchat.client{
    base_url = kept.server.url, max_retries = 1,
    api_key = handler("ClientOptions", "api_key", "k"),
    on_retry = handler("ClientOptions", "on_retry"),
    on_request = handler("ClientOptions", "on_request"),
    debug = handler("ClientOptions", "debug"),
  }
  kept.server:reply{ status = 503, body = "no", headers = { ["Retry-After-Ms"] = "50" } }
  request = new_chat{ client = other }:start("Hi", {
    on_retry = handler("SendOptions", "on_retry"),
  })
  while request:state() ~= "waiting" do
    other:poll{ seconds = 0.01 }
  end
  request:wait()
  fail(401)
  kept.server:reply{ status = 503, body = "no", headers = { ["Retry-After-Ms"] = "1" } }
  new_chat{ client = other }:send("Hi")
  kept.server:reply(MODELS)
  other:models()
  other:close()
  opperchat.type(other)
end

function SCENES.tools()
  local chat = new_chat()
  chat:tool{
    name = "f", parameters = { a = "string" }, run = handler("Tool", "run", "done"),
    confirm = handler("Tool", "confirm", true),
  }
  kept.answer(CALL)
  kept.answer("ok")
  chat:run("Hi", {
    on_tool = handler("RunOptions", "on_tool"), confirm = handler("RunOptions", "confirm", true),
  })
  chat:tool{ name = "f", parameters = { a = "string" }, run = handler("Tool", "run", "done") }
  kept.answer(CALL)
  chat:run("Hi", { confirm = handler("RunOptions", "confirm", true) })
  fail()
  chat:run({ "Hi", opperchat.image("https://example.com/a.png") })
  kept.answer(CALL)
  chat:send{ type = "text", text = "Hi" }
  kept.answer("ok")
  chat:run()
  for _, content in ipairs{ { type = "text", text = "Hi" }, opperchat.image("https://e.com/a.png"),
    opperchat.file("https://e.com/a.pdf"),
    { type = "input_audio", input_audio = { data = "QQ==", format = "wav" } } } do
    for _, name in ipairs{ "send", "run", "start", "stream", "preview", "forecast" } do
      local fork = chat:fork()
      local result = fork[name](fork, content)
      if opperchat.type(result) == "request" then
        result:wait()
      end
      fork[name](fork, { "Hi", content })
      fork:cancel()
    end
  end
end

function SCENES.clients()
  local client = kept.client
  opperchat.client():close()
  client:active()
  client:pollfd()
  client:events()
  client:timeout()
  client:poll()
  opperchat.poll()
  opperchat.poll(0)
  fail()
  client:models()
  fail()
  client:model("m")
  kept.server:reply(MODELS)
  client:models("m")
  client:models(handler("ModelsOptions", "filter", true))
  client:models{ filter = handler("ModelsOptions", "filter", true) }
  client:model("m")
  client:model("n")
  kept.answer('{"a":"b"}')
  client:json{ schema = { a = "string" }, input = "Hi" }
  fail()
  client:json{ schema = { a = "string" }, input = "Hi" }
  client:doctor{ write = handler("DoctorOptions", "write"), stream = false }
  opperchat.doctor{ write = false, stream = false, client = client }
  local stdout = io.stdout
  io.stdout = { write = function() end, flush = function() end } -- luacheck: ignore 122
  local worked, err = pcall(function()
    client:doctor()
    opperchat.doctor()
  end)
  io.stdout = stdout -- luacheck: ignore 122
  assert(worked, err)
  local path = kept.path("tape")
  local recorder = opperchat.client{ base_url = kept.server.url, api_key = "k", record = path }
  new_chat{ client = recorder }:send("Hi")
  recorder:close()
  local player = opperchat.client{ base_url = kept.server.url, replay = path }
  player:replay_left()
  player:close()
  opperchat.type(kept.client)
end

function SCENES.tasks()
  local task = opperchat.go(function(...)
    opperchat.sleep(0.01)
    return ...
  end, 1, 2)
  task:wait(0.001)
  task:wait()
end

function SCENES.parts()
  opperchat.image("a.png")
  opperchat.image({ data = "x" }, { detail = "low" })
  opperchat.file("a.pdf")
  opperchat.file({ data = "x" }, { name = "a.pdf" })
  opperchat.audio("a.wav")
  opperchat.audio({ data = "x" }, { type = "audio/wav" })
  opperchat.array()
  opperchat.array{}
  opperchat.secret{ env = "KEY" }
  opperchat.type(1)
  opperchat.conversation()
end

function SCENES.lists()
  local history = opperchat.history
  history.split{ USER }
  history.check{ USER }
  history.check({ ORPHAN }, { closed = true })
  history.repair{ ORPHAN }
  history.repair({ USER }, { closed = true })
end

local function long_chat(given)
  local chat = new_chat(given)
  for i = 1, 8 do
    chat:append("user", ("question %d "):format(i):rep(40))
    chat:append("assistant", ("answer %d "):format(i):rep(40))
  end
  return chat:append("user", "And?")
end

local function use_draft(_, draft)
  draft:tokens()
  draft:budget()
  draft:budget(1000)
  draft:budget(nil, 0.5)
  local turns = draft:turns()
  draft:last_of(turns, 1)
  draft:message(1)
  draft:drop(turns, { [1] = true })
  draft:replace(1, 0, { USER })
  kept.answer("Yes.")
  result_of("Draft", "ask", draft.ask, { USER })
  fail()
  result_of("Draft", "ask", draft.ask, { USER }, { model = "n" })
  for _, flag in ipairs{ "pinned", "summary", "facts" } do
    draft:replace(1, 1, { USER }, flag)
  end
  return true
end

function SCENES.policies()
  local policy = opperchat.policy
  long_chat{ policy = policy.keep{ turns = 1 }, on_drop = handler("ConversationOptions", "on_drop"),
    on_compact = handler("ConversationOptions", "on_compact") }:compact()
  long_chat{ policy = policy.fit() }:compact()
  long_chat{ policy = policy.fit{ tokens = 100 } }
  long_chat{ policy = policy.shrink() }
  long_chat{ policy = policy.shrink{ tokens = 100 } }
  long_chat{ policy = policy.pipeline{ policy.keep{ turns = 1 }, function() end } }
  fail()
  long_chat{ policy = policy.summarize(),
    on_compact = handler("ConversationOptions", "on_compact") }:compact()
  kept.answer("So far.")
  long_chat{ policy = policy.summarize{ tokens = 100 } }:compact()
  policy.remember()
  kept.answer('{"facts":["a"]}')
  long_chat{ policy = policy.remember{ tokens = 100,
    merge = handler("RememberOptions", "merge", function(_, found) return found end) } }:compact()
  long_chat{ context_window = 4000,
    policy = { name = "own", apply = handler("Policy", "apply", use_draft) } }:compact()
  long_chat{ policy = { name = "own", apply = handler("Policy", "apply", use_draft) } }:compact()
end

function SCENES.counting()
  local own = opperchat.tokens.count
  opperchat.tokens.count = handler("Tokens", "count", function(text) return #text end)
  -- a client that no server has told better yet
  local fresh = opperchat.client{ base_url = kept.server.url }
  long_chat{ client = fresh }:tokens()
  fresh:close()
  opperchat.tokens.count = own
end

-- ---------------------------------------------------------------------------

describe("functions and handlers are as annotated:", function()
  kept.for_tests()

  setup(function()
    watch_class("opperchat", opperchat)
    watch_class("Client", core.methods("client"))
    watch_class("Conversation", core.methods("conversation"))
    watch_class("Request", core.methods("request"))
    watch_class("Task", getmetatable(opperchat.go(function() end)).__index)
    watch_class("Draft",
      getmetatable(draft_module.new(opperchat.conversation{}, {})).__index)
    watch_class("Policies", opperchat.policy)
    watch_class("History", opperchat.history)
  end)

  teardown(function()
    for i = #undo, 1, -1 do
      undo[i]()
    end
  end)

  local names = {}
  for name in pairs(SCENES) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local scene = SCENES[name]
    it(name, function()
      problems = {}
      scene()
      assert.equal("", table.concat(problems, "\n"))
    end)
  end

  it("all that is annotated was seen", function()
    local missing = {}
    local function want(place)
      if not seen[place] and not ELSEWHERE[place] then
        missing[#missing + 1] = place
      end
    end
    for name, class in pairs(by_name) do
      local short = name:gsub("^opperchat%.", "")
      for _, fn in ipairs(CLASSES_ELSEWHERE[short] and {} or class.functions) do
        for what, entries in pairs{ parameter = fn.params, result = fn.returns } do
          for i, entry in ipairs(entries) do
            local place = ("%s.%s: %s %s: "):format(short, fn.name, what,
              what == "result" and i or entry.name)
            for _, one in ipairs(entry.name == "..." and {} or annotations.expand(entry.type)) do
              want(place .. one)
            end
            if entry.is_optional then
              want(place .. "nil")
            end
          end
        end
      end
      for _, field in ipairs(CLASSES_ELSEWHERE[short] and {} or class.fields) do
        if field.type:find("fun%(") then
          want(short .. "." .. field.name .. ": called")
        end
      end
    end
    table.sort(missing)
    assert.equal("", table.concat(missing, "\n"))
  end)
end)
