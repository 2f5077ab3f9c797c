--- Conversations in files, for the specs of keeping: a folder that is new, a test
-- server with a client, and what is asked of both again and again.
--
--   local kept = require "spec.support.kept"
--   kept.for_tests()               at the top of a file or block

local Server = require "spec.support.server"
local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local shell = require "spec.support.shell"
local completion = require "spec.support.completion"
local sse = require "spec.support.sse"
local with = require "spec.support.with"

local kept = {}

--- Makes `kept.server`, `kept.client` and `kept.folder` for the tests of a block or
--- file. The server is reset before each.
function kept.for_tests()
  local busted = require "busted"
  kept.server = Server.for_tests()
  busted.setup(function()
    kept.folder = shell.new_folder()
    kept.client = opperchat.client { base_url = kept.server.url, api_key = "op-secret-key",
      max_retries = 0, headers = { ["X-Team"] = "secret-team" } }
  end)
  busted.teardown(function()
    kept.client:close()
    shell.remove_folder(kept.folder)
  end)
end

-- Files ----------------------------------------------------------------------

--- A path in the folder, where there is no file.
function kept.path(name)
  local path = kept.folder .. "/" .. (name or "chat")
  os.remove(path)
  return path
end

kept.read, kept.write = shell.read_file, shell.write_file

--- The lines behind the header, decoded.
function kept.lines(path)
  local list = {}
  for line in kept.read(path):gmatch("([^\n]*)\n") do
    list[#list + 1] = assert(json.decode(line))
  end
  return list, table.remove(list, 1)
end

-- Conversations ----------------------------------------------------------------

--- Options with the client of the test server.
function kept.options(given)
  return with({ client = kept.client, model = "m" }, given)
end

--- A conversation with a new journal.
function kept.new(given, name)
  given = kept.options(given)
  given.journal = given.journal or kept.path(name)
  local chat, report = opperchat.conversation(given)
  assert(chat, report)
  assert(report == nil)
  return chat, given.journal
end

--- The exact text of each message, and its flags.
function kept.contents(list)
  local result = {}
  for i = 1, #list do
    result[i] = { (core.message_json(list, i)), (select(3, core.message_info(list, i))) }
  end
  return result
end

--- What the file makes of a conversation, which has to be what it is.
function kept.check(chat, path)
  local loaded, report = opperchat.load(path, { client = kept.client })
  assert(loaded, report)
  local luassert = require "luassert"
  luassert.same(kept.contents(chat), kept.contents(loaded))
  luassert.equal(chat:export(), loaded:export())
  -- the options of a request; a preview shows what a policy would do as well
  luassert.equal(core.state(chat).fields, core.state(loaded).fields)
  luassert.equal(core.state(chat).trace_id, core.state(loaded).trace_id)
  luassert.is_nil(report.torn)
  luassert.is_nil(report.repaired)
  return loaded, report
end

-- Answers ----------------------------------------------------------------------

--- A whole response; `message` is a text or a message, `more` other fields.
function kept.completion(message, more)
  return { body = json.encode(completion.body(message, with({
    usage = { prompt_tokens = 10, completion_tokens = 2, total_tokens = 12, cost = 0.25 },
  }, more))) }
end

function kept.answer(message, more)
  kept.server:reply(kept.completion(message, more))
end

kept.call = completion.call

--- A tool, and a question for it with the answer after it.
kept.WEATHER = {
  name = "weather", description = "The weather", parameters = { city = "string" },
  run = function(given) return "rain in " .. given.city end,
}

function kept.answer_with_tool()
  kept.answer { role = "assistant", tool_calls = {
    kept.call("call_1", "weather", '{"city":"Oslo"}'),
  } }
  kept.answer("It rains.")
end

--- Queues a stream that breaks off behind some text.
function kept.break_off(text)
  kept.server:script(sse.broken_off(text))
end

function kept.last_request()
  return kept.server:last_request()
end

--- Polls until nothing is under way.
function kept.drain()
  repeat
    local active = opperchat.poll(0.01)
  until active == 0
end

-- Trouble ------------------------------------------------------------------------

--- Takes the file away from its journal; returns what gives it back.
function kept.take_away(path)
  assert(os.rename(path, path .. ".away"))
  return function()
    assert(os.rename(path .. ".away", path))
  end
end

return kept
