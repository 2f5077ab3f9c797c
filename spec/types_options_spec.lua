-- The types of options in lua/opperchat/types.lua against what is taken and what
-- is refused, by really giving values of all sorts.

local annotations = require "spec.support.annotations"
local config = require "opperchat.nvim.config"
local opperchat = require "opperchat"
local types = dofile("docs/generator/types.lua")

local by_name = annotations.by_name

local function nothing() end

local client = opperchat.client{ base_url = "http://127.0.0.1:9/v1", api_key = "k" }

-- One of each, and lists of some. A value of a type that is not annotated has to
-- be refused.
local VALUES = {
  "text", 1.5, 3, true, false, nothing, coroutine.create(nothing), client,
  opperchat.conversation{}, io.stdout, opperchat.secret{ env = "KEY" }, {}, { "text" },
  { 1.5 }, { true }, { {} }, { nothing }, { name = "text" }, { name = 1.5 }, { name = true },
  { name = {} }, { [7] = 1 },
  { role = "user", content = "Hi" }, { { role = "user", content = "Hi" } },
  { type = "text", text = "Hi" }, { { type = "text", text = "Hi" } },
}

-- Values of the annotated types that can be given where these cannot: a text that
-- has to be a URL, a table that has to have certain fields.
local EXAMPLES = {
  ["ClientOptions.base_url"] = { "http://127.0.0.1:9/v1" },
  ["ClientOptions.proxy"] = { "http://127.0.0.1:9" },
  ["ClientOptions.timeout"] = { { connect = 1 } },
  ["ClientOptions.debug"] = { 1, 2 },
  ["ClientOptions.replay_speed"] = { "instant" },
  ["ClientOptions.replay_match"] = { "exact", "order" },
  ["HeaderOptions.guard"] = { { input = "pii" } },
  ["Guard.action"] = { "flag", "block", "redact" },
  ["BodyOptions.tools"] = { { { name = "f" } } },
  ["ReceivingOptions.schema"] = { { a = "string" } },
  ["ConversationOptions.policy"] = { { name = "own", apply = nothing } },
  ["ConversationOptions.system"] = {
    opperchat.image("https://example.com/a.png"), opperchat.file("https://example.com/a.pdf"),
    { type = "input_audio", input_audio = { data = "QQ==", format = "wav" } },
  },
  ["ConversationOptions.journal"] = { os.tmpname() .. ".jsonl" },
  ["JsonOptions.schema"] = { { a = "string" } },
  ["MediaOptions.type"] = { "image/png" },
  ["ImageOptions.detail"] = { "auto", "low", "high" },
  ["FitOptions.target"] = { 0.5 },
  ["ShrinkOptions.at"] = { 0.5 },
  ["OlderOptions.at"] = { 0.5 },
  ["OlderOptions.target"] = { 0.5 },
  ["SummarizeOptions.role"] = { "assistant", "system", "developer", "user" },
  ["RememberOptions.role"] = { "assistant", "system", "developer", "user" },
  ["OlderOptions.options"] = { { temperature = 0 } },
  ["RememberOptions.schema"] = { { a = "string" } },
  ["nvim.Options.window"] = { "split", "vsplit", "float", "current" },
  ["nvim.Options.size"] = { 0.5 },
  ["nvim.Options.client"] = { { api_key = "k" } },
  ["nvim.Options.conversation"] = { { temperature = 0 } },
  ["nvim.Options.policy"] = { opperchat.policy.keep{ turns = 1 } },
  ["nvim.Options.keymaps"] = { { ask = "<leader>o" } },
  ["nvim.Options.buffer_keymaps"] = { { send = "<CR>" } },
}
EXAMPLES["JsonOptions.instructions"] = EXAMPLES["ConversationOptions.system"]

-- What is in these tables is looked at when it is used.
local IS_TAKEN_ANYHOW = {
  ["OlderOptions.options"] = "its options are checked with the request",
  ["nvim.Options.client"] = "another client's options are checked with the first question",
  ["nvim.Options.conversation"] = "its options are checked with the first question",
}

-- The option's own name and what is said of it, of the class that has it.
local function owner_of(class, option)
  for _, field in ipairs(by_name[class].fields) do
    if field.name == option then
      return class
    end
  end
  for _, parent in ipairs(by_name[class].parents) do
    local found = owner_of(parent, option)
    if found then
      return found
    end
  end
end

-- Makes a table of options into a call with one of them.
local function with(fixed, call)
  return function(option, value)
    local given = {}
    for name, item in pairs(fixed) do
      given[name] = item
    end
    given[option] = value
    return call(given)
  end
end

local function new_chat()
  return opperchat.conversation{ client = client, model = "m" }
end

local function closing(call)
  return function(given)
    local made, err = call(given)
    if type(made) == "userdata" and made ~= client then
      made:close()
    elseif made == nil and err then
      error(tostring(err))
    end
  end
end

local recorded = os.tmpname()

-- A client's options, those of tapes beside a tape.
local function new_client(option, value)
  local given = { base_url = "http://127.0.0.1:9/v1", api_key = "k" }
  given[option] = value
  if option == "replay_speed" or option == "replay_match" then
    given.replay = recorded
  elseif option == "client_key" then
    given.client_cert = "a.pem"
  elseif option == "record" then
    given.record = value == "text" and os.tmpname() .. ".tape" or value
  elseif option == "replay" then
    given.replay = value == "text" and recorded or value
  end
  opperchat.client(given):close()
  if option == "record" then
    os.remove(given.record)
  end
end

-- Asks for a request: what is refused is raised, and what is not may fail.
local function starting(name)
  return function(given)
    local chat = new_chat()
    local worked, problem = pcall(function()
      -- in a task, which is left alone when it begins to wait
      opperchat.go(function()
        chat[name](chat, "Hi", given)
      end)
    end)
    pcall(chat.cancel, chat)
    chat:close()
    if not worked then
      error(problem, 0)
    end
  end
end

local function in_task(call)
  return function(given)
    opperchat.go(call, given)
  end
end

-- How the options of each class are given. In the place of a class: why not.
local CALLS = {
  ClientOptions = new_client,
  Timeouts = function(option, value)
    new_client("timeout", { [option] = value })
  end,
  Guard = function(option, value)
    new_client("guard", { [option] = value })
  end,
  ConversationOptions = with({}, closing(opperchat.conversation)),
  SendOptions = with({}, starting "send"),
  RunOptions = with({}, starting "run"),
  JsonOptions = with({ schema = { a = "string" }, input = "Hi" }, in_task(function(given)
    client:json(given)
  end)),
  ModelsOptions = with({}, in_task(function(given)
    client:models(given)
  end)),
  DoctorOptions = with({ write = false, timeout = 0.01, client = client }, opperchat.doctor),
  PollOptions = with({}, function(given)
    opperchat.poll(given)
    client:poll(given)
  end),
  SpliceOptions = with({}, function(given)
    opperchat.conversation{}:splice(1, 0, {}, given)
  end),
  HistoryOptions = with({}, function(given)
    opperchat.history.check({}, given)
    opperchat.history.repair({}, given)
  end),
  SecretOptions = with({}, opperchat.secret),
  MediaOptions = with({}, function(given)
    opperchat.audio("a.wav", given.type and type(given.type) == "string"
      and { type = given.type:gsub("^image", "audio") } or given)
  end),
  ImageOptions = with({}, function(given)
    opperchat.image("a.png", given)
  end),
  ImageData = with({ data = "x" }, opperchat.image),
  FileOptions = with({}, function(given)
    opperchat.file("a.pdf", given)
  end),
  FileData = with({ data = "x" }, opperchat.file),
  AudioData = with({ data = "x" }, function(given)
    given.type = type(given.type) == "string" and given.type:gsub("^image", "audio") or given.type
    opperchat.audio(given)
  end),
  KeepOptions = with({ turns = 1 }, opperchat.policy.keep),
  FitOptions = with({}, opperchat.policy.fit),
  ShrinkOptions = with({}, opperchat.policy.shrink),
  SummarizeOptions = with({}, opperchat.policy.summarize),
  RememberOptions = with({}, opperchat.policy.remember),
  Tool = with({ name = "f" }, function(given)
    opperchat.conversation{}:tool(given)
  end),
  ["nvim.Options"] = with({}, function(given)
    local resolved, problem = config.resolve(given)
    if not resolved then
      error(problem, 0)
    end
  end),
  ["nvim.Keymaps"] = function(option, value)
    assert(config.resolve{ keymaps = { [option] = value } })
  end,
  ["nvim.BufferKeymaps"] = function(option, value)
    assert(config.resolve{ buffer_keymaps = { [option] = value } })
  end,
}

local NOT_CALLED = {
  BodyOptions = "of conversations and sends", HeaderOptions = "of clients and conversations",
  ReceivingOptions = "of conversations and sends", SharedOptions = "of both",
  OlderOptions = "of summarize and remember",
  AskOptions = "given to draft.ask, which passes them on to a send: spec/policy_spec.lua",
  ["loop.Options"] = "needs a loop: spec/loop_luv_spec.lua, spec/loop_cqueues_spec.lua",
  ["nvim.AskOptions"] = "needs Neovim: spec/nvim_plugin_spec.lua",
}

-- What of the examples and of all values is of an annotated type.
local function shown(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for name, item in pairs(value) do
    parts[#parts + 1] = tostring(name) .. " = " .. tostring(item)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function check_option(class, name, entry, call)
  local place = class .. "." .. name
  local own = owner_of("opperchat." .. class, name):gsub("^opperchat%.", "") .. "." .. name
  local expanded = annotations.expand(entry.type)
  local is_seen, problems = {}, {}
  local function try(value, is_example)
    local is_annotated = not annotations.find_problem(value, entry.type, place)
    if is_example then
      assert.is_true(is_annotated, place .. ": " .. shown(value))
    end
    local is_taken, problem = pcall(call, name, value)
    if is_taken and not is_annotated and not IS_TAKEN_ANYHOW[own] then
      problems[#problems + 1] = ("%s takes %s, which is not %s"):format(place, shown(value),
        entry.type)
    elseif is_example and not is_taken then
      problems[#problems + 1] = ("%s refuses %s: %s"):format(place, shown(value), problem)
    end
    for _, one in ipairs(expanded) do
      -- an integer is no sign that fractions are taken
      local is_telling = one ~= "number" or type(value) == "number" and value % 1 ~= 0
      is_seen[one] = is_seen[one] or is_taken and is_telling
        and not annotations.find_problem(value, one, place)
    end
  end
  for _, value in ipairs(EXAMPLES[own] or {}) do
    try(value, true)
  end
  for i = 1, #VALUES do
    try(VALUES[i], false)
  end
  for _, one in ipairs(expanded) do
    if not is_seen[one] then
      problems[#problems + 1] = place .. " takes no " .. one
    end
  end
  assert.equal("", table.concat(problems, "\n"))
end

describe("options are of the types that are annotated:", function()
  local stderr

  setup(function()
    local recorder = opperchat.client{ base_url = "http://127.0.0.1:9/v1", api_key = "k",
      record = recorded .. ".tape" }
    recorder:close()
    os.remove(recorded)
    recorded = recorded .. ".tape"
    -- insecure_skip_verify warns there
    stderr = io.stderr
    io.stderr = { write = nothing, flush = nothing } -- luacheck: ignore 122
  end)

  teardown(function()
    io.stderr = stderr -- luacheck: ignore 122
    os.remove(recorded)
    os.remove(EXAMPLES["ConversationOptions.journal"][1])
    client:close()
  end)

  for class, call in pairs(CALLS) do
    it(class, function()
      local count = 0
      for name, entry in pairs(types.members(by_name, "opperchat." .. class)) do
        if not name:find("^%[") then
          count = count + 1
          check_option(class, name, entry, call)
        end
      end
      assert.truthy(count > 0)
    end)
  end

  it("no class of options is left out", function()
    for name in pairs(by_name) do
      local class = name:gsub("^opperchat%.", "")
      if class:find("Options$") then
        assert.truthy(CALLS[class] or NOT_CALLED[class], class)
      end
    end
  end)
end)
