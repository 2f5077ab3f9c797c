-- The defaults that lua/opperchat/types.lua names in round brackets: an option
-- that is left out comes to the same as its default, and to something else than
-- another value.

local annotations = require "spec.support.annotations"
local config = require "opperchat.nvim.config"
local core = require "opperchat.core"
local draft_module = require "opperchat.policy.draft"
local json = require "opperchat.json"
local kept = require "spec.support.kept"
local answers = require "spec.support.completion"
local opperchat = require "opperchat"

local by_name = annotations.by_name

kept.for_tests()

local unpack = table.unpack or unpack -- luacheck: ignore

local function nothing() end

-- Calls `call` with a function of the core that keeps what it is given first.
local function spied(name, position, call)
  local original, seen = core[name], {}
  core[name] = function(...)
    seen[#seen + 1] = select(position, ...)
    return original(...)
  end
  local worked, err = pcall(call)
  core[name] = original
  assert(worked, err)
  return seen
end

local function text_of(value)
  if type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  for name, item in pairs(value) do
    parts[#parts + 1] = tostring(name) .. "=" .. text_of(item)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function completion(content)
  return { body = answers.body(content) }
end

local CALL = { body = answers.body({
  role = "assistant", tool_calls = { answers.call("call_1") },
}, { finish_reason = "tool_calls" }) }

local MODELS = { body = { object = "list", data = { { id = "m", object = "model" } } } }

local function new_chat(given)
  given = given or {}
  given.client, given.model = kept.client, "m"
  return opperchat.conversation(given)
end

local function count_requests()
  return #kept.server:requests()
end

-- All that a client is made of.
local function client_with(given)
  local made = spied("client", 1, function()
    local self = opperchat.client(given)
    local state = core.state(self)
    given.made = text_of(state.settings) .. state.retry_budget
    self:close()
  end)
  made[1].base_url, made[1].skip_verify = nil, made[1].skip_verify or false
  return text_of(made[1]) .. given.made
end

local function client_option(option, value)
  local given = { base_url = kept.server.url, api_key = "k" }
  if option:find("^replay") then
    given.replay = kept.tape
  end
  given[option] = value
  return client_with(given)
end

local function policy_of(name)
  return function(option, value)
    return text_of(opperchat.policy[name]{
      turns = name == "keep" and 1 or nil, [option] = value,
    })
  end
end

local function media_option(of, part)
  return function(option, value)
    return text_of(of("a", { [option] = value })[part])
  end
end

-- What comes of a value, as something to be compared, by class and option. In the
-- place of an option "any": for all of them.
local OBSERVED = {
  ClientOptions = { any = client_option },
  Timeouts = { any = function(option, value)
    return client_option("timeout", { [option] = value })
  end },
  KeepOptions = { any = policy_of "keep" },
  FitOptions = { any = policy_of "fit" },
  ShrinkOptions = { any = policy_of "shrink" },
  OlderOptions = { any = function(option, value)
    return policy_of "summarize"(option, value) .. policy_of "remember"(option, value)
  end },
  SummarizeOptions = { any = policy_of "summarize" },
  RememberOptions = { any = policy_of "remember" },
  MediaOptions = { any = function(option, value)
    return media_option(opperchat.image, "image_url")(option, value)
      .. media_option(opperchat.file, "file")(option, value)
      .. media_option(opperchat.audio, "input_audio")(option, value)
  end },
  ["nvim.Options"] = { any = function(option, value)
    return text_of(config.resolve{ [option] = value })
  end },
  ["nvim.Keymaps"] = { any = function(option, value)
    -- false and none are the same to who sets them
    return text_of(config.resolve{ keymaps = { [option] = value or nil } })
  end },
  ["nvim.BufferKeymaps"] = { any = function(option, value)
    return text_of(config.resolve{ buffer_keymaps = { [option] = value } })
  end },
  ReceivingOptions = {
    include_usage = function(_, value)
      new_chat{ include_usage = value }:send("Hi", { stream = true })
      return kept.server:requests()[1].body
    end,
    keep_partial = function(_, value)
      kept.break_off("It was")
      local chat = new_chat{ keep_partial = value }
      chat:send("Hi", { stream = true })
      return chat:export()
    end,
    schema_retries = function(_, value)
      kept.server:default(completion "no JSON")
      new_chat{ schema = { a = "string" }, schema_retries = value }:send("Hi")
      return count_requests()
    end,
  },
  ConversationOptions = {
    sync = function(_, value)
      local chat = new_chat{ journal = kept.path(), sync = value }
      local synced = text_of(core.state(chat).journal.sync)
      chat:close()
      return synced
    end,
  },
  RunOptions = {
    max_steps = function(_, value)
      local count = 0
      -- the same call again and again would end it earlier
      for i = 1, 15 do
        local text = json.encode(CALL.body):gsub("{}", '{\\"n\\":' .. i .. "}")
        kept.server:reply{ body = text, headers = { ["Content-Type"] = "application/json" } }
      end
      local chat = new_chat()
      chat:tool{ name = "f", parameters = { n = "integer" }, run = function()
        count = count + 1
        return count
      end }
      chat:run("Hi", { max_steps = value })
      return count_requests()
    end,
  },
  ModelsOptions = {
    refresh = function(_, value)
      kept.server:default(MODELS)
      kept.client:models{ refresh = true }
      kept.client:models{ refresh = value }
      return count_requests()
    end,
    max_age = function(_, value)
      local list = {}
      kept.server:default(MODELS)
      assert(kept.client:models{ refresh = true })
      for _, age in ipairs{ -1, 0.5, 30, 299, 299.9, 300.1, 301, 1e4 } do
        core.state(kept.client).models.at = core.now() - age
        local before = count_requests()
        kept.client:models{ max_age = value }
        list[#list + 1] = count_requests() - before
      end
      return text_of(list)
    end,
  },
  DoctorOptions = {
    timeout = function(_, value)
      return text_of(spied("setup", 2, function()
        kept.client:doctor{ write = false, stream = false, timeout = value }
      end))
    end,
    any = function(option, value)
      kept.client:doctor{ write = false, [option] = value }
      local paths = {}
      for i, request in ipairs(kept.server:requests()) do
        paths[i] = request.method .. (request.json and text_of(request.json) or "")
      end
      return text_of(paths)
    end,
  },
  PollOptions = {
    seconds = function(_, value)
      return text_of(spied("advance", 2, function()
        kept.client:poll{ seconds = value }
      end))
    end,
    budget = function(_, value)
      return text_of(spied("advance", 3, function()
        kept.client:poll{ budget = value }
      end))
    end,
  },
  SpliceOptions = {
    repair = function(_, value)
      return tostring(pcall(function()
        opperchat.conversation{}:splice(1, 0, { { role = "tool", tool_call_id = "x",
          content = "4" } }, { repair = value })
      end))
    end,
  },
  HistoryOptions = {
    closed = function(_, value)
      return text_of(opperchat.history.check({ { role = "user", content = "Hi" },
        { role = "assistant", tool_calls = { { id = "a", type = "function",
          ["function"] = { name = "f", arguments = "{}" } } } } }, { closed = value }))
    end,
  },
}

local function with_turns(count)
  local chat = opperchat.conversation{}
  for i = 1, count do
    chat:append("user", "q" .. i):append("assistant", "a" .. i)
  end
  return chat
end

-- The same of parameters of functions.
local PARAMETERS = {
  ["opperchat.poll.given"] = function(value)
    return text_of(spied("advance", 2, function()
      local request = assert(new_chat():start("Hi"))
      opperchat.poll(value)
      request:wait()
    end)[1])
  end,
  ["Client.poll.given"] = function(value)
    return text_of(spied("advance", 2, function()
      kept.client:poll(value)
    end))
  end,
  ["Conversation.undo.n"] = function(value)
    return with_turns(4):undo(value):export()
  end,
  ["Conversation.messages.i"] = function(value)
    return text_of(with_turns(4):messages(value))
  end,
  ["Conversation.messages.j"] = function(value)
    return text_of(with_turns(4):messages(2, value))
  end,
  ["Conversation.pin.on"] = function(value)
    return with_turns(1):pin(1, value):export() .. tostring(
      with_turns(1):pin(1, value):messages()[1].pinned)
  end,
  ["Draft.budget.share"] = function(value)
    local draft = draft_module.new(opperchat.conversation{}, { client = kept.client })
    draft.window, draft.reserve = 1000, 0
    return draft:budget(nil, value)
  end,
}

local NOT_OBSERVED = {
  ["nvim.AskOptions.new"] = "needs Neovim: spec/nvim_plugin_spec.lua",
  ["nvim.stop.all"] = "needs Neovim: spec/nvim_plugin_spec.lua",
}

-- A value of the same type that is not this one.
local function another(value, place)
  if type(value) == "boolean" then
    return not value
  elseif type(value) == "number" then
    return value > 0 and value < 1 and value / 2 or value + 1
  elseif value == "exact" then
    return "order"
  elseif value == "instant" then
    return 2
  elseif value == "split" then
    return "float"
  elseif value == "assistant" then
    return "user"
  elseif value == "system" then
    return "developer"
  elseif type(value) == "string" then
    return "another"
  elseif place:find("budget") then
    return 1e-6
  end
  return place:find("Keymaps") and "x" or 7
end

local function check(place, value, observe)
  local seen = {}
  for i, given in ipairs{ { nil }, { value }, { another(value, place) } } do
    kept.server:reset()
    core.state(kept.client).models = nil
    seen[i] = observe(given[1])
  end
  assert.equal(seen[1], seen[2], place .. ": its default is not " .. tostring(value))
  assert.truthy(seen[1] ~= seen[3], place .. ": nothing is seen of it")
end

describe("defaults are as annotated:", function()
  local stderr

  setup(function()
    kept.tape = kept.path("tape")
    opperchat.client{ base_url = kept.server.url, api_key = "k", record = kept.tape }:close()
    -- insecure_skip_verify warns there
    stderr = io.stderr
    io.stderr = { write = nothing, flush = nothing } -- luacheck: ignore 122
  end)

  teardown(function()
    io.stderr = stderr -- luacheck: ignore 122
  end)

  for name, class in pairs(by_name) do
    local short = name:gsub("^opperchat%.", "")
    for _, field in ipairs(class.fields) do
      local is_said, value = annotations.default(field.text)
      local place = short .. "." .. field.name
      if is_said and field.is_optional and not NOT_OBSERVED[place] then
        it(place, function()
          local observe = OBSERVED[short] and (OBSERVED[short][field.name] or OBSERVED[short].any)
          assert.truthy(observe, "nobody looks at it here")
          check(place, value, function(given)
            return observe(field.name, given)
          end)
        end)
      end
    end
    for _, fn in ipairs(class.functions) do
      for _, param in ipairs(fn.params) do
        local is_said, value = annotations.default(param.text)
        local place = ("%s.%s.%s"):format(short, fn.name, param.name)
        if is_said and param.is_optional and not NOT_OBSERVED[place] then
          it(place, function()
            check(place, value, assert(PARAMETERS[place], "nobody looks at it here"))
          end)
        end
      end
    end
  end

  it("all that is looked at is said", function()
    for short, options in pairs(OBSERVED) do
      for option in pairs(options) do
        for _, field in ipairs(option ~= "any" and by_name["opperchat." .. short].fields or {}) do
          assert.truthy(field.name ~= option or annotations.default(field.text),
            short .. "." .. option .. ": its default")
        end
      end
    end
    for place in pairs(PARAMETERS) do
      local short, name, option = place:match("^(.*)%.([%w_]+)%.([%w_]+)$")
      local class = by_name["opperchat." .. short] or by_name[short]
      for _, fn in ipairs(class.functions) do
        for _, param in ipairs(fn.name == name and fn.params or {}) do
          assert.truthy(param.name ~= option or annotations.default(param.text), place)
        end
      end
    end
  end)
end)

-- Values stand in brackets, where they are compared; words say the rest.
describe("what is left out", function()
  local WORDS = {
    ["a random UUID"] = function()
      local one, other = new_chat(), new_chat()
      kept.server:reset()
      one:send("Hi")
      other:send("Hi")
      local first, second = unpack(kept.server:requests(), 1, 2)
      assert.truthy(first.headers["x-opper-trace-id"]:find("^%x+%-%x+%-%x+%-%x+%-%x+$"))
      assert.truthy(first.headers["x-opper-trace-id"] ~= second.headers["x-opper-trace-id"])
    end,
  }

  WORDS["85 % of the context window"] = function()
    local draft = draft_module.new(opperchat.conversation{}, { client = kept.client })
    draft.window, draft.reserve = 1000, 0
    assert.equal(850, draft:budget())
  end

  it("is not said in other words", function()
    for name, class in pairs(by_name) do
      local entries = {}
      for _, field in ipairs(class.fields) do
        entries[field.name] = field.text
      end
      for _, fn in ipairs(class.functions) do
        for _, param in ipairs(fn.params) do
          entries[fn.name .. "." .. param.name] = param.text
        end
      end
      for entry, text in pairs(entries) do
        local place = name .. "." .. entry .. ": "
        assert.is_nil(text:find("when left out", 1, true), place .. "\"left out: ...\"")
        local word = text:match("left out: ([^%s;,]+)")
        local is_value = word ~= nil and (word:find("^[%d\"-]") or word == "true"
          or word == "false")
        assert.is_true(not is_value or WORDS[text:match("left out: (.*)$")] ~= nil,
          place .. "a default stands in round brackets")
      end
    end
  end)

  it("comes to what is said", function()
    for _, observe in pairs(WORDS) do
      observe()
    end
  end)

  it("is said of trace ids", function()
    for _, class in ipairs{ "ConversationOptions", "JsonOptions" } do
      for _, field in ipairs(by_name["opperchat." .. class].fields) do
        if field.name == "trace_id" then
          assert.truthy(WORDS[field.text:match("^left out: (.*)$")], class)
        end
      end
    end
  end)
end)
