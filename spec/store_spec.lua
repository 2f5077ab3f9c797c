local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local options = require "opperchat.options"
local store = require "opperchat.store"
local shell = require "spec.support.shell"
local raises = require "spec.support.raises"

local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC") or os.getenv("ASAN_OPTIONS")

-- Files --------------------------------------------------------------------------

local folder
local must, quote, interpreter = shell.must, shell.quote, shell.interpreter

local function path_of(name)
  return folder .. "/" .. name
end

local function write_file(name, bytes)
  return shell.write_file(path_of(name), bytes)
end

-- nil when there is none
local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- A command that runs spec/support/journal_writer.lua.
local function writer(mode, path)
  return quote(interpreter()) .. " spec/support/journal_writer.lua " .. mode .. " "
    .. quote(path) .. " 2>&1"
end

setup(function()
  folder = shell.new_folder()
end)

teardown(function()
  shell.remove_folder(folder)
end)

-- Lists --------------------------------------------------------------------------

local FLAGS = { pinned = 1, summary = 2, facts = 4 }

local contents = require("spec.support.kept").contents

local function list_of(...)
  local list = core.conversation()
  for _, text in ipairs { ... } do
    assert(core.append_json(list, text))
  end
  return list
end

local function user(text)
  return '{"role":"user","content":' .. core.quote(text) .. "}"
end

local function assistant(text)
  return '{"role":"assistant","content":' .. core.quote(text) .. "}"
end

local CALL = '{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",'
  .. '"function":{"name":"f","arguments":"{\\"a\\":1}"}}]}'
local RESULT = '{"role":"tool","content":"1","tool_call_id":"c1"}'

local function fresh()
  return { trace_id = "trace", options = { model = "m" } }
end

-- A journal that is new and at hand.
local function new_journal(name)
  local path = path_of(name)
  os.remove(path)
  local journal, list, stored = store.open(path, fresh)
  assert.truthy(journal, list)
  assert.is_nil(list)
  assert.is_nil(stored.header)
  return journal, path
end

-- An error of this kind and code, whose message has these words.
local function failed(code, words, result, err, ...)
  assert.is_nil(result)
  assert.equal(0, select("#", ...))
  assert.equal("opperchat.Error", (getmetatable(err) or {}).__name, tostring(err))
  assert.equal(code, err.code, tostring(err))
  assert.equal(code == "file_too_large" and "limit" or "store", err.kind)
  assert.is_false(err.retryable)
  assert.truthy(err.message:find(words, 1, true), err.message)
  return err
end

-- A journal of some 15 turns, with all there is, and the lists after each line
-- of it: states[1] is the one after the header.
local function long_journal(name)
  local journal, path = new_journal(name)
  local list = core.conversation()
  local states = { contents(list) }
  local function turn(edit, append, extra)
    local before = core.fork(list)
    local edited
    if edit then
      edit(list)
      edited = core.fork(list)
    end
    for _, text in ipairs(append) do
      assert(core.append_json(list, text))
    end
    assert(store.write(journal, before, edited, list, extra))
    states[#states + 1] = contents(list)
  end
  local function flag(at, which)
    return function(of)
      core.set_flag(of, at, which, true)
    end
  end
  turn(nil, { '{"role":"system","content":"s"}', user("Hi"), assistant("Hello") })
  turn(nil, { user("h\195\169 \240\159\152\128 \226\128\168"), CALL, RESULT, assistant("") })
  turn(flag(2, "pinned"), { user("\"\\\n\t\1 ]}"), assistant("\\u0041") },
    { usage = { requests = 3, cost = 0.1 } })
  turn(nil, { '{"role":"user","content":"\\ud83d\\ude00 \\u00e9","name":"\\n","x":1.50}',
    '{"role":"assistant","content":"lone \\ud83d","extra":{"a":[null,{}]}}' })
  turn(function(of) core.cut(of, #of - 2) end, { user("again"), assistant("b") })
  turn(function(of) assert(core.splice(of, 4, 4, { assistant("summary") })) end,
    { user("c"), assistant("d") })
  turn(flag(4, "summary"), { user("e") })
  turn(nil, { CALL })
  turn(nil, { RESULT, assistant("f") }, { options = { model = "n", temperature = 0.5 } })
  turn(nil, { user("g"), CALL, RESULT, CALL, RESULT, assistant("h") }, { time = "now" })
  turn(nil, {}, { usage = { requests = 10 } })
  turn(flag(6, "facts"), {})
  for i = 1, 4 do
    turn(nil, { user("turn " .. i), assistant("answer " .. i) }, { usage = { requests = 10 + i } })
  end
  store.close(journal)
  return path, states
end

-- Saved files --------------------------------------------------------------------

describe("save and load", function()
  it("keep messages, flags, options and usage", function()
    local chat = opperchat.conversation {
      model = "m", temperature = 0.1, stop = {}, seed = 7, trace_id = "tr-1", name = "n",
      tags = { a = 1.5 }, guard = { input = "x" }, logit_bias = { [50] = -1 },
      system = "s\195\169", keep_partial = true, schema_retries = 2, include_usage = false,
      metadata = { k = "v" }, tool_choice = opperchat.null,
      extra = { x = opperchat.null, y = {}, z = opperchat.array(), ["null"] = "null\\\" null",
        deep = { { opperchat.null, 1 } } },
      tools = { { name = "f", description = "d", parameters = { type = "object",
        properties = {}, required = {} }, run = function() end } },
    }
    chat:append("user", "1"):append("assistant", "2")
      :append { role = "assistant", content = "3", odd = { 1.5, {} } }
    core.set_flag(chat, 2, "pinned", true)
    local path = path_of("saved")
    assert.is_true(store.save(chat, path))
    local list, stored = store.load(path)
    assert.truthy(list, stored)
    assert.same(contents(chat), contents(list))
    assert.equal(FLAGS.pinned, contents(list)[2][2])
    assert.equal("tr-1", stored.trace_id)
    assert.same(chat:usage(), stored.usage)
    assert.truthy(stored.header.created:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
    assert.is_nil(stored.torn)
    assert.equal(#read_file(path), stored.good_bytes)
    assert.equal(stored.options.extra.x, opperchat.null)
    -- the same requests as before
    local given = core.state(chat).options
    assert.equal(options.encode(options.body(given)), options.encode(options.body(stored.options)))
    assert.same(options.headers_for(given),
      options.headers_for(stored.options, { trace_id = stored.trace_id }))
    for _, name in ipairs { "keep_partial", "schema_retries", "include_usage" } do
      assert.equal(given[name], stored.options[name])
    end
    -- and again the same file
    local again = opperchat.conversation(stored.options)
    assert.is_true(options.check(options.conversation, stored.options))
    assert.equal(again:preview(), opperchat.conversation(given):preview())
  end)

  it("write a line for each turn", function()
    local chat = opperchat.conversation { system = "s", trace_id = "t" }
    chat:append("user", "a"):append("assistant", "b"):append("user", "c")
    local path = path_of("lines")
    assert(store.save(chat, path))
    local lines = {}
    for line in read_file(path):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
    end
    assert.truthy(lines[1]:find('^{"opperchat":1,"created":"[^"]+","options":{},"trace_id":"t"}$'))
    assert.equal('{"append":[{"role":"system","content":"s"},' .. user("a") .. ","
      .. assistant("b") .. "]}", lines[2])
    assert.equal('{"append":[' .. user("c") .. "]}", lines[3])
    assert.truthy(lines[4]:find('^{"usage":{.*"requests":0.*}}$'))
    assert.equal(4, #lines)
  end)

  it("keep an empty conversation and an open call", function()
    local path = path_of("empty")
    assert(store.save(opperchat.conversation(), path))
    assert.equal(0, #assert(store.load(path)))
    local chat = opperchat.conversation()
    chat:append("user", "x"):append(json.decode(CALL))
    assert(store.save(chat, path))
    assert.same(contents(chat), contents((assert(store.load(path)))))
  end)

  it("never write a secret", function()
    local client = opperchat.client { api_key = "op-secret-key", base_url = "http://secret.test",
      headers = { ["X-Secret"] = "secret" } }
    local chat = opperchat.conversation { client = client, model = "m" }
    chat:append("user", "x")
    local path = path_of("secret")
    assert(store.save(chat, path))
    assert.is_nil(read_file(path):lower():find("secret"))
    -- whatever gets into the table of options
    local header = store.header { trace_id = "t", options = { model = "m", api_key = "op-secret",
      client = client, headers = {}, on_delta = print, policy = print } }
    assert.same({ model = "m" }, json.decode(header).options)
  end)

  it("decide about every option there is", function()
    local left_out = { client = true, system = true, messages = true, trace_id = true,
      policy = true, on_drop = true, on_compact = true, journal = true, sync = true }
    for name in pairs(options.conversation.known) do
      assert.truthy(store.SAVED[name] ~= nil ~= (left_out[name] ~= nil), name)
    end
    for name in pairs(store.SAVED) do
      assert.truthy(options.conversation.known[name], name)
    end
  end)

  it("put the new file in the place of the old one", function()
    local path = write_file("old", "old")
    must("chmod 640 " .. path .. " && ln -s old " .. path_of("link"))
    local chat = opperchat.conversation()
    chat:append("user", "x")
    assert(store.save(chat, path_of("link")))
    assert.equal(1, #assert(store.load(path)))
    local pipe = io.popen("cd " .. folder .. " && stat -c %a old && readlink link && ls -a")
    local text = pipe:read("*a")
    pipe:close()
    assert.truthy(text:find("^640\nold\n"), text)
    assert.is_nil(text:find("tmp"))
  end)

  local function temporaries()
    local pipe = assert(io.popen("ls -A " .. folder .. " | grep '^[.]opperchat-'"))
    local names = {}
    for name in pipe:lines() do
      names[#names + 1] = name
    end
    pipe:close()
    return names
  end

  it("remove what a process has left that was killed while it saved", function()
    local path = path_of("saved")
    local program = write_file("program.lua", ([[
      local opperchat, store = require "opperchat", require "opperchat.store"
      local chat = opperchat.conversation()
      for i = 1, 3000 do
        chat:append("user", ("x"):rep(100)):append("assistant", "y")
      end
      assert(store.save(chat, %q))
      print "ready"
      io.stdout:flush()
      while true do
        assert(store.save(chat, %q))
      end
    ]]):format(path, path))
    local chat = opperchat.conversation()
    chat:append("user", "x")
    local tries = 0
    repeat
      tries = tries + 1
      assert.is_true(tries < 100, "it was never killed while it saved")
      local pipe = assert(io.popen("echo $$; exec " .. quote(interpreter()) .. " " .. program))
      local pid = pipe:read("*l")
      assert.equal("ready", pipe:read("*l"))
      must("sleep 0.0" .. tries % 10)
      must("kill -9 " .. pid)
      pipe:close()
    until #temporaries() > 0
    assert.equal(6000, #assert(store.load(path)))
    -- any other save to this folder will do
    assert(store.save(chat, path_of("other")))
    assert.equal("", table.concat(temporaries(), " "))
  end)

  it("leave alone what is somebody else's", function()
    local digits = "0123456789abcdef"
    local has_flock = os.execute("command -v flock >/dev/null")
    if has_flock ~= true and has_flock ~= 0 then
      pending("no flock command")
      return
    end
    local kept = {
      ".opperchat-" .. digits:reverse() .. ".tmp",        -- a folder
      ".opperchat-" .. digits:sub(2) .. "0.tmp",          -- is being written
      ".opperchat-" .. digits:upper() .. ".tmp", ".opperchat-" .. digits .. "0.tmp",
      ".opperchat-" .. digits .. ".tmp~", ".opperchat-x.tmp",
    }
    must("mkdir " .. path_of(kept[1]))
    for i = 2, #kept do
      write_file(kept[i], "x")
    end
    local lock = assert(io.popen("flock -x " .. path_of(kept[2]) .. " sh -c 'echo locked >"
      .. path_of("said") .. "; read _'", "w"))
    local tries = 0
    while not read_file(path_of("said")) do
      tries = tries + 1
      assert.is_true(tries < 1000, "no lock")
      must("sleep 0.01")
    end
    write_file(".opperchat-" .. digits .. ".tmp", "left behind")
    local chat = opperchat.conversation()
    chat:append("user", "x")
    assert(store.save(chat, path_of("mine")))
    table.sort(kept)
    local left = temporaries()
    table.sort(left)
    assert.equal(table.concat(kept, "\n"), table.concat(left, "\n"))
    lock:write("\n")
    lock:close()
    must("rm -r " .. folder .. "/.opperchat-*")
  end)

  it("read and write numbers the same in any locale", function()
    local name = "de_DE.UTF-8"
    local made = os.execute("unset LD_PRELOAD; localedef -i de_DE -f UTF-8 "
      .. path_of(name) .. " >/dev/null 2>&1")
    if made ~= true and made ~= 0 then
      pending("no locale with a decimal comma")
      return
    end
    local program = write_file("program.lua", ([[
      assert(os.setlocale(%q, "numeric"))
      local opperchat, store = require "opperchat", require "opperchat.store"
      local chat = opperchat.conversation { temperature = 1 / 4 }
      chat:append { role = "user", content = "x", number = 3 / 2 }
      assert(store.save(chat, %q))
      local list, stored = store.load(%q)
      assert(list, stored)
      print(stored.options.temperature == 1 / 4)
    ]]):format(name, path_of("locale"), path_of("locale")))
    -- the C library loses a few bytes with each locale
    local pipe = assert(io.popen("ASAN_OPTIONS=detect_leaks=0 LOCPATH=" .. folder .. " "
      .. quote(interpreter()) .. " " .. program .. " 2>&1"))
    assert.equal("true\n", pipe:read("*a"))
    pipe:close()
    local text = read_file(path_of("locale"))
    assert.truthy(text:find('"temperature":0.25', 1, true))
    assert.truthy(text:find('"number":1.5', 1, true))
  end)

  it("say what is wrong with a file", function()
    failed("no_file", path_of("none") .. ": no such file", store.load(path_of("none")))
    failed("not_a_file", folder .. ": it is a folder", store.load(folder))
    failed("not_a_file", "/dev/full: not a regular file", store.load("/dev/full"))
    must("mkfifo " .. path_of("fifo"))
    failed("not_a_file", "not a regular file", store.load(path_of("fifo")))
    failed("empty_file", "the file is empty", store.load(write_file("x", "")))
    local err = failed("bad_line", "line 1: the file is cut off",
      store.load(write_file("x", '{"opperchat":1,"op')))
    assert.equal(1, err.line)
    err = failed("bad_line", "line 1: not a saved conversation", store.load(write_file("x", "Hi")))
    assert.equal(1, err.line)
    err = failed("bad_version", "line 1: version 2 of the format",
      store.load(write_file("x", '{"opperchat":2}\n')))
    assert.equal(1, err.line)
    err = failed("bad_line", "x: line 3: a tool result without its call", store.load(
      write_file("x", '{"opperchat":1}\n{"append":[' .. user("a") .. ']}\n{"append":['
        .. RESULT .. "]}\n")))
    assert.equal(3, err.line)
    err = failed("bad_line", "line 1: option 'temperature': number expected, got string",
      store.load(write_file("x", '{"opperchat":1,"options":{"temperature":"hot"}}\n')))
    assert.equal(1, err.line)
    err = failed("bad_line", "line 2: option 'model'", store.load(
      write_file("x", '{"opperchat":1}\n{"options":{"model":1}}\n{"time":1}\n')))
    assert.equal(2, err.line)
    failed("bad_line", "\"options\" is not an object",
      store.load(write_file("x", '{"opperchat":1,"options":null}\n')))
    failed("bad_line", "option 'trace_id'",
      store.load(write_file("x", '{"opperchat":1,"trace_id":""}\n')))
    assert.equal('{"opperchat":1,"trace_id":""}\n', read_file(path_of("x")))
  end)

  it("have a limit", function()
    local before = store.MAX_BYTES
    local path = write_file("x", '{"opperchat":1}\n')
    store.MAX_BYTES = 16
    assert.truthy(store.load(path))
    store.MAX_BYTES = 15
    local ok = pcall(failed, "file_too_large", "limit of 15 bytes", store.load(path))
    local journal_ok = pcall(failed, "file_too_large", "limit", store.open(path, fresh))
    store.MAX_BYTES = before
    assert.is_true(ok and journal_ok)
  end)

  it("say what stops a save", function()
    local chat = opperchat.conversation()
    failed("write_failed", "there is no such folder", store.save(chat, path_of("none/x")))
    failed("write_failed", "not a folder", store.save(chat, write_file("x", "old") .. "/y"))
    failed("not_a_file", "it is a folder", store.save(chat, folder))
    failed("not_a_file", "not a regular file", store.save(chat, "/dev/full"))
    assert.equal("old", read_file(path_of("x")))
    raises("save: path expected, got nil", function() store.save(chat) end)
    raises("save: the path is empty", function() store.save(chat, "") end)
    raises("save: a path cannot have a zero byte", function() store.save(chat, "a\0b") end)
    raises("load: path expected, got table", function() store.load({}) end)
    raises("journal: a path cannot have a zero byte", function() store.open("a\0b", fresh) end)
    chat:close()
    raises("conversation is closed", function() store.save(chat, "x") end)
  end)

  it("ignore what they do not know", function()
    local list, stored = store.load(write_file("x", '{"new":{"a":[1]},"opperchat":1,"options":'
      .. '{"model":"m","brand_new":1}}\r\n{"append":[' .. user("a") .. '],"new":1}\r\n'
      .. '{"usage":{"requests":1,"odd":"x"},"time":null}\n'))
    assert.equal(1, #list)
    assert.same({ model = "m" }, stored.options)
    assert.same({ requests = 1 }, stored.usage)
    assert.equal(1, stored.header.new.a[1])
    assert.is_nil(stored.trace_id)
    assert.equal(2, stored.events)
  end)

  it("are fast", function()
    local chat = opperchat.conversation()
    local text = ("some text that a user might write "):rep(6)
    for i = 1, 5000 do
      chat:append("user", i .. text):append("assistant", text)
    end
    local path = path_of("long")
    local start = os.clock()
    assert(store.save(chat, path))
    local saved = os.clock()
    local list = assert(store.load(path))
    local loaded = os.clock()
    assert.equal(10000, #list)
    if os.getenv("OPPERCHAT_FIGURES") then
      print(("10,000 messages, %d bytes: saved in %.3f s, loaded in %.3f s of CPU time"):format(
        #read_file(path), saved - start, loaded - saved))
    end
    assert.truthy(SLOW or loaded - start < 0.5)
    assert.equal(core.body(chat, "", {}), core.body(list, "", {}))
  end)
end)

-- Journals -----------------------------------------------------------------------

describe("a journal", function()
  it("is written turn by turn", function()
    local journal, path = new_journal("journal")
    local list = list_of(user("a"), assistant("b"))
    local written, bytes = store.write(journal, nil, nil, list)
    assert.is_true(written)
    assert.equal(#('{"append":[' .. user("a") .. "," .. assistant("b") .. "]}\n"), bytes)
    local before = core.fork(list)
    local edited = core.fork(list)
    core.set_flag(edited, 1, "pinned", true)
    core.assign(list, edited)
    assert(core.append_json(list, user("c")))
    assert(store.write(journal, before, edited, list,
      { usage = { requests = 2 }, options = { model = "x", client = true }, time = "t" }, true))
    assert.is_true(store.write(journal, list, nil, list))
    assert.equal('{"append":[' .. user("a") .. "," .. assistant("b") .. "]}\n"
      .. '{"splice":[1,1],"with":[' .. user("a") .. '],"append":[' .. user("c")
      .. '],"pinned":[1],"options":{"model":"x"},"time":"t","usage":{"requests":2}}\n',
      (read_file(path):gsub("^[^\n]*\n", "", 1)))
    store.close(journal)
    store.close(journal)
    local resumed, found, stored = store.open(path, error)
    assert.truthy(resumed, found)
    assert.same(contents(list), contents(found))
    assert.equal("trace", stored.trace_id)
    assert.same({ model = "x" }, stored.options)
    assert.same({ requests = 2 }, stored.usage)
    assert.equal(2, stored.events)
    assert.is_nil(stored.torn)
    failed("write_failed", "the journal is closed", store.write(journal, nil, nil, list))
    -- and goes on
    before = core.fork(found)
    assert(core.append_json(found, assistant("d")))
    assert(store.write(resumed, before, nil, found))
    store.close(resumed)
    assert.same(contents(found), contents((assert(store.load(path)))))
  end)

  it("costs the same for each turn, however long the conversation is", function()
    local journal, path = new_journal("cost")
    local list = core.conversation()
    local costs = {}
    for i = 1, 5000 do
      local before = core.fork(list)
      core.append_text(list, "user", ("%04d"):format(i))
      core.append_text(list, "assistant", "ok")
      local _, bytes = store.write(journal, before, nil, list)
      costs[i] = bytes
    end
    store.close(journal)
    assert.equal(costs[10], costs[5000])
    assert.equal(#read_file(path), #store.header(fresh()) + 1 + 5000 * costs[10])
    assert.equal(10000, #assert(store.load(path)))
  end)

  it("begins anew in a file without a whole header", function()
    local header = store.header(fresh())
    for _, text in ipairs { "", "{", '{"opper', '{"opperchat":', header:sub(1, -2) } do
      local path = write_file("x", text)
      local journal, list, stored = store.open(path, fresh)
      assert.truthy(journal, list)
      assert.is_nil(list)
      assert.same(text ~= "" and { line = 1, bytes = #text } or nil, stored.torn)
      store.close(journal)
      assert.equal(header:gsub('"created":"[^"]*"', ""),
        read_file(path):gsub("\n$", ""):gsub('"created":"[^"]*"', ""))
    end
    -- and in no file of somebody else
    for _, text in ipairs { "Dear diary", "{\"key\":\"va", "\n", "x\n", "[", "\0\0" } do
      local err = failed("bad_line", "line 1", store.open(write_file("x", text), fresh))
      assert.equal(1, err.line)
      assert.equal(text, read_file(path_of("x")))
    end
  end)

  it("cuts off what was not finished", function()
    local header = '{"opperchat":1}\n'
    local good = header .. '{"append":[' .. user("a") .. "]}\n"
    for _, tail in ipairs { '{"append":[' .. user("b"), "{", '{"append":[' .. user("b") .. "]" } do
      local path = write_file("x", good .. tail)
      local list, stored = store.load(path)
      assert.equal(1, #list)
      assert.same({ line = 3, bytes = #tail }, stored.torn)
      assert.equal(good .. tail, read_file(path))         -- reading changes nothing
      local journal, found
      journal, found, stored = store.open(path, error)
      assert.equal(1, #found)
      assert.same({ line = 3, bytes = #tail }, stored.torn)
      assert.equal(good, read_file(path))
      assert(store.write(journal, found, nil, list_of(user("b"))))
      store.close(journal)
      assert.equal(good .. '{"splice":[1,1],"with":[' .. user("b") .. "]}\n", read_file(path))
    end
    -- all there but the newline
    local path = write_file("x", good:sub(1, -2))
    local journal, list, stored = store.open(path, error)
    assert.equal(1, #list)
    assert.is_nil(stored.torn)
    assert(store.write(journal, list, nil, list, { time = "t" }))
    store.close(journal)
    assert.equal(good .. '{"time":"t"}\n', read_file(path))
  end)

  it("leaves a broken file as it is", function()
    local header = '{"opperchat":1}\n'
    local line = '{"append":[' .. user("a") .. "]}\n"
    local cases = {
      { 3, header .. line .. "{\"append\":[\n" .. line }, { 2, header .. "\n" .. line },
      { 3, header .. line .. '{"splice":[1,2]}\n' }, { 2, header .. "{}\n" },
      { 3, header .. line .. line:sub(1, -3) .. "\n" }, { 2, header .. "\0\n" },
      { 2, header .. '{"append":[' .. RESULT .. "]}" }, { 2, header .. header .. line },
      { 3, header .. '{"append":[' .. user("a") .. "," .. CALL .. "]}\n" .. line .. "{\"app" },
      { 1, '{"opperchat":1,"options":{"model":1}}\n' .. line .. "{\"app" },
    }
    for _, case in ipairs(cases) do
      local path = write_file("x", case[2])
      local err = failed("bad_line", path .. ": line " .. case[1] .. ": ", store.open(path, fresh))
      assert.equal(case[1], err.line)
      assert.equal(case[2], read_file(path))
      err = failed("bad_line", path .. ": line " .. case[1] .. ": ", store.load(path))
      assert.equal(case[1], err.line)
      err = failed("bad_line", "line " .. case[1] .. ": ",
        store.read(case[2], core.conversation()))
      assert.equal(case[1], err.line)
    end
    -- nobody holds it
    write_file("x", header)
    local journal = assert(store.open(path_of("x"), error))
    store.close(journal)
  end)

  it("survives being cut at every byte", function()
    local path, states = long_journal("cut")
    local text = read_file(path)
    local list, stored = store.load(path)
    assert.same(states[#states], contents(list))
    assert.same({ requests = 14 }, stored.usage)
    assert.same({ model = "n", temperature = 0.5 }, stored.options)
    local header_end = text:find("\n", 1, true)
    for cut = SLOW and #text - 1500 or 0, #text do
      local lines = select(2, text:sub(1, cut):gsub("\n", ""))
      if text:sub(cut + 1, cut + 1) == "\n" then
        lines = lines + 1         -- complete but for its newline
      end
      list = core.conversation()
      local found, err = store.read(text:sub(1, cut), list)
      assert.truthy(found, err)
      if cut < header_end - 1 then
        assert.is_nil(found.header)
        assert.equal(0, #list)
      else
        assert.equal(lines - 1, found.events)
        assert.same(states[lines], contents(list))
      end
      assert.equal(cut, found.good_bytes + (found.torn and found.torn.bytes or 0))
    end
  end)

  it("survives any changed byte", function()
    local text = read_file((long_journal("flip")))
    local seed, read = 7, 0
    local function random(n)
      seed = seed * 16807 % 2147483647
      return seed % n
    end
    for _ = 1, SLOW and 300 or 3000 do
      local changed = text
      for _ = 0, random(3) do
        local at = random(#text) + 1
        changed = changed:sub(1, at - 1) .. string.char(random(256)) .. changed:sub(at + 1)
      end
      local list = core.conversation()
      local found, err = store.read(changed, list)
      if found then
        read = read + 1
        local copy = core.conversation()
        assert(core.splice(copy, 1, 0, (function()
          local texts = {}
          for i, entry in ipairs(contents(list)) do
            texts[i] = entry[1]
          end
          return texts
        end)()))
      else
        assert.equal("store", err.kind)
        assert.equal("number", type(err.line))
        assert.equal(0, #list)
      end
      core.conversation_close(list)
    end
    assert.truthy(read > 0)
  end)

  it("has its file alone", function()
    local journal, path = new_journal("alone")
    failed("locked", path .. ": another journal has it open", store.open(path, fresh))
    assert.truthy(store.load(path))
    store.close(journal)
    -- another process
    local word = path_of("word")
    local pipe = assert(io.popen(writer("hold", path) .. " >" .. quote(word), "w"))
    local waited = 0
    while read_file(word) ~= "ready\n" and waited < 60 do
      core.sleep(0.01)
      waited = waited + 0.01
    end
    assert.equal("ready\n", read_file(word))
    failed("locked", "another journal", store.open(path, fresh))
    pipe:close()
    -- it has ended, and with it the lock
    journal = assert(store.open(path, fresh))
    -- a lost journal gives the file back
    assert.equal("userdata", type(journal))
    journal = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    journal = assert(store.open(path, fresh))
    store.close(journal)
    -- so does one that never was
    os.remove(path)
    local ok, err = pcall(store.open, path, function() error("no options", 0) end)
    assert.is_false(ok)
    assert.equal("no options", err)
    store.close((assert(store.open(path, fresh))))
  end)

  it("notices what others do to the file", function()
    local journal, path = new_journal("others")
    local list = list_of(user("a"))
    local file = assert(io.open(path, "ab"))
    file:write("{}\n")
    file:close()
    failed("journal_changed", path .. ": somebody else has written", store.write(journal, nil, nil,
      list))
    store.close(journal)
    journal, path = new_journal("others")
    -- a save goes into the place of the journal
    assert(store.save(opperchat.conversation(), path))
    local text = read_file(path)
    failed("journal_changed", "was replaced", store.write(journal, nil, nil, list))
    assert.equal(text, read_file(path))
    store.close(journal)
    journal, path = new_journal("others")
    os.remove(path)
    failed("journal_changed", "was deleted", store.write(journal, nil, nil, list))
    assert.is_nil(read_file(path))
    store.close(journal)
  end)

  it("says why it cannot be opened", function()
    failed("write_failed", path_of("none/x") .. ": there is no such folder",
      store.open(path_of("none/x"), fresh))
    failed("not_a_file", "it is a folder", store.open(folder, fresh))
    failed("not_a_file", "not a regular file", store.open("/dev/full", fresh))
    must("mkfifo " .. path_of("fifo2"))
    failed("not_a_file", "not a regular file", store.open(path_of("fifo2"), fresh))
  end)

  -- Runs the writer and kills it after some turns; how many it has confirmed,
  -- and what it found at its start.
  local function kill_writer(path, turns)
    local pipe = assert(io.popen("echo $$; exec " .. writer("write", path)))
    local pid = pipe:read("*l")
    local found, torn = pipe:read("*l"):match("^(%d+) (%d+)$")
    assert.truthy(found)
    local last = tonumber(found)
    for _ = 1, turns do
      last = tonumber(pipe:read("*l"))
    end
    os.execute("kill -9 " .. pid)
    for line in pipe:lines() do
      last = tonumber(line) or error(line)
    end
    pipe:close()
    return last, tonumber(found), tonumber(torn)
  end

  it("loses no turn when its process is killed", function()
    local path = path_of("killed")
    local confirmed, torn = 0, 0
    for round = 1, SLOW and 5 or 20 do
      if round % 5 == 1 then
        os.remove(path)
        confirmed = 0
      end
      local found, was_torn
      local before = confirmed
      confirmed, found, was_torn = kill_writer(path, round % 4)
      torn = torn + was_torn
      assert.truthy(found == before or found == before + 1, found .. " of " .. before)
      local list, stored = store.load(path)
      assert.truthy(list, stored)
      assert.equal(0, #list % 2)
      assert.truthy(#list / 2 == confirmed or #list / 2 == confirmed + 1)
      for i = 1, #list, 2 do
        local number = core.message_json(list, i):match('"content":"(%d+) x*"}$')
        assert.equal((i + 1) / 2, tonumber(number))
      end
      assert.equal(#list / 2, stored.usage and stored.usage.requests or 0)
    end
    if os.getenv("OPPERCHAT_FIGURES") then
      print(torn .. " torn ends")
    end
  end)

  it("survives a file that may not grow", function()
    local path = path_of("limited")
    -- blocks of 512 or 1,024 bytes; no signal ends it
    local pipe = assert(io.popen("trap '' XFSZ; ulimit -f 100; exec " .. writer("write", path)))
    local last, word = 0, nil
    for line in pipe:lines() do
      last, word = tonumber(line:match("^%d+")) or last, line
    end
    pipe:close()
    assert.equal("write_failed", word)
    local list, stored = store.load(path)
    assert.truthy(list, stored)
    assert.is_nil(stored.torn)
    assert.truthy(last > 10)
    assert.equal(last, #list / 2)
    assert.equal(last, stored.usage.requests)
  end)
end)
