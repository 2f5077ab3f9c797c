---The command `opperchat`: asks a language model from the shell. docs/command.md
---says what it does.
---
---It is a program and no library: it has the process to itself, reads the
---environment, and is the only part of opperchat that handles a signal, SIGINT.
local arguments = require "opperchat.command.arguments"
local attachments = require "opperchat.command.attachments"
local chats = require "opperchat.command.chats"
local core = require "opperchat.core"
local help = require "opperchat.command.help"
local interactive = require "opperchat.command.interactive"
local listing = require "opperchat.command.listing"
local opperchat = require "opperchat"
local output = require "opperchat.command.output"
local parameters = require "opperchat.command.parameters"
local places = require "opperchat.command.places"
local reading = require "opperchat.command.reading"
local schema_text = require "opperchat.command.schema_text"
local session = require "opperchat.command.session"
local terminal = require "opperchat.command.terminal"
local usage = require "opperchat.command.usage"
local waiting = require "opperchat.command.waiting"

local command = {}

local OK, FAILED, MISUSED, INTERRUPTED, CLOSED = 0, 1, 2, 130, 141

-- The model of the documentation: Opper has it.
local USUAL_MODEL = "openai/gpt-5-mini"

-- Raised for what the user has typed.
local Misuse = {}

local function misuse(text, ...)
  error(setmetatable({ text = select("#", ...) > 0 and text:format(...) or text }, Misuse), 0)
end

local function failure(err)
  output.complain(err)
  return FAILED
end

-- A message without the place in our files, and what it says first of all: which
-- function was called.
local function without_place(problem)
  return (tostring(problem):gsub("^[^\n]-:%d+: ", ""):gsub("^%l+: ", ""))
end

-- ---------------------------------------------------------------------------
-- What is asked for
-- ---------------------------------------------------------------------------

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

-- What stands in the file of defaults, and goes behind the environment.
local function add_defaults(given)
  local path = places.config()
  local file = path and io.open(path, "r")
  local defaults = { words = {} }
  if file then
    local text = file:read("*a") or ""
    file:close()
    local problem
    defaults, problem = arguments.parse_file(text)
    if not defaults then
      misuse("%s: %s", path, problem)
    end
  end
  defaults.model = environment("OPPERCHAT_MODEL") or defaults.model
  if environment("OPPER_BASE_URL") then
    defaults["base-url"] = nil
  end
  if environment("OPPER_API_KEY") then
    defaults["key-file"] = nil
  end
  -- a chat goes on with its own model, unless -m says otherwise
  given.typed = { model = given.model, system = given.system, option = given.option }
  arguments.merge(given, defaults)
end

local function make_client(given)
  local key_file = given["key-file"]
  if key_file and core.file_kind(places.expand(key_file)) ~= "file"
      and core.file_kind(places.expand(key_file)) ~= "other" then
    misuse("--key-file %s: there is no such file", key_file)
  end
  local worked, client = pcall(opperchat.client, {
    base_url = given["base-url"],
    api_key = key_file and opperchat.secret { file = places.expand(key_file) } or nil,
    debug = given.debug,
  })
  if not worked then
    misuse("%s", (without_place(client):gsub("option 'base_url'", "--base-url")))
  end
  return client
end

-- The model when nobody names one. Opper's own server has the usual one; another
-- is asked what it has, and if that is one, or the usual one among others, it is
-- clear which.
local function choose_model(client)
  local url = core.state(client).base_url
  if url:find("^https://[%w.-]*opper%.ai/") then
    return USUAL_MODEL
  end
  local list = waiting.run(function() return client:models() end, {})
  local names = {}
  for _, model in ipairs(list or {}) do
    if model.id == USUAL_MODEL then
      return USUAL_MODEL
    end
    names[#names + 1] = model.id
  end
  if #names > 1 then
    local some = table.concat(names, ", ", 1, math.min(#names, 5))
    misuse("which model? Say -m NAME or set OPPERCHAT_MODEL. This server has %s%s", some,
      #names > 5 and " and others: opperchat --models" or "")
  end
  -- a server that does not list its models may have but one
  return names[1]
end

local function find_chat(given)
  if given.continue then
    local file = chats.last()
    if not file then
      misuse("there is no chat to go on with")
    end
    return file
  elseif given.chat then
    local file, problem = chats.find(given.chat)
    if not file then
      misuse("%s", problem)
    end
    return file
  end
end

-- The options of a session, all of them checked before anything is sent.
local function plan(given)
  local file = find_chat(given)
  local from = file and given.typed or given
  local made, problem = parameters.read(from.option or {})
  if not made then
    misuse("-o: %s", problem)
  end
  local schema
  if given.schema then
    schema, problem = schema_text.read(given.schema)
    if not schema then
      misuse("--schema: %s", problem)
    end
  end
  return {
    file = file, parameters = made, schema = schema, system = from.system, model = from.model,
    is_saved = not given["no-save"], is_streamed = not given["no-stream"],
  }
end

local function open_session(given, planned)
  planned.client = make_client(given)
  if not planned.model and not planned.file then
    planned.model = choose_model(planned.client)
  end
  local worked, opened, err = pcall(session.open, planned)
  if not worked then
    misuse("%s", without_place(opened))
  end
  return opened, err
end

-- ---------------------------------------------------------------------------
-- Asking
-- ---------------------------------------------------------------------------

-- `-a -`: what is piped in, as a file.
local function read_stdin()
  local bytes = reading.stdin(attachments.MAX + 1)
  if bytes == "" then
    return nil, "-: nothing is piped in"
  end
  return attachments.of_bytes(bytes, "stdin")
end

local function read_attachments(given)
  local list = {}
  for _, path in ipairs(given.attach or {}) do
    local attachment, problem
    if path == "-" then
      attachment, problem = read_stdin()
    else
      attachment, problem = attachments.read(path)
    end
    if not attachment then
      misuse("-a %s", problem)
    end
    list[#list + 1] = attachment
  end
  return list
end

-- The question, and what is piped in before it.
local function read_prompt(given, attached)
  local texts = {}
  local piped = reading.stdin(attachments.MAX + 1)
  if piped:find("%S") then
    local attachment, problem = attachments.of_bytes(piped)
    if not attachment then
      misuse("%s", problem)
    end
    if type(attachment) == "string" then
      texts[1] = attachment:gsub("%s+$", "")
    else
      table.insert(attached, attachment)
    end
  end
  local question = table.concat(given.words, " ")
  if question:find("%S") then
    texts[#texts + 1] = question
  end
  if #texts == 0 and #attached == 0 then
    misuse("what is the question? (opperchat --help)")
  end
  return attachments.prompt(texts, attached)
end

-- What there is to say of an answer beside the answer.
local function comment(given, reply)
  if (reply.content or "") == "" and not reply.refusal then
    output.complain("the answer is empty"
      .. (reply.finish_reason and " (" .. reply.finish_reason .. ")" or ""))
  elseif reply.finish_reason == "length" then
    output.complain("the answer was cut off at the token limit")
  elseif reply.finish_reason == "content_filter" then
    output.complain("the answer was cut off by a content filter")
  end
  if given.usage then
    output.note(usage.words(reply.usage))
  end
end

local function ask_once(given)
  local planned = plan(given)
  local prompt = read_prompt(given, read_attachments(given))
  local opened, err = open_session(given, planned)
  if not opened then
    return failure(err)
  end
  local reply
  reply, err = opened:ask(prompt, planned.schema)
  if reply and given.schema then
    local answer = output.answer()
    answer.write(schema_text.json_of(reply))
    answer.finish()
  end
  opened:close()
  if output.failed() then
    return OK
  elseif reply then
    comment(given, reply)
    return OK
  elseif rawequal(err, waiting.INTERRUPTED) then
    return INTERRUPTED
  end
  return failure(err)
end

local function chat(given)
  local planned = plan(given)
  -- what had arrived when Ctrl-C stopped it was said, and the model may be asked of it
  planned.keep_partial = true
  for _, path in ipairs(given.attach or {}) do
    if path == "-" and not terminal.is_terminal(terminal.STDIN) then
      misuse("-a -: stdin has the lines of the chat")
    end
  end
  local attached = read_attachments(given)
  local question = table.concat(given.words, " ")
  local prompt = question:find("%S") and attachments.prompt({ question }, attached) or nil
  local opened, err = open_session(given, planned)
  if not opened then
    return failure(err)
  end
  -- before somebody has typed a question that cannot be sent
  local has_key, problem = opened:check_key()
  if not has_key then
    opened:close()
    return failure(problem)
  end
  return interactive.run(opened, { prompt = prompt, attached = attached,
    shows_usage = given.usage })
end

-- ---------------------------------------------------------------------------
-- Other things to do
-- ---------------------------------------------------------------------------

local modes = {}

function modes.list()
  listing.chats()
  return OK
end

function modes.show(given)
  local file, problem = chats.find(given.show)
  if not file then
    misuse("%s", problem)
  end
  local shown, err = listing.show(file)
  return shown and OK or failure(err)
end

function modes.models(given)
  local client = make_client(given)
  local part = #given.words > 0 and table.concat(given.words, " ") or nil
  local list, err = waiting.run(function() return client:models(part) end, {})
  if not list then
    return failure(err)
  end
  listing.models(list)
  return OK
end

function modes.doctor(given)
  local client = make_client(given)
  local report = waiting.run(function() return client:doctor { model = given.model } end, {})
  return report.ok and OK or FAILED
end

local function dispatch(given)
  if given.help then
    output.write(help.TEXT)
    return OK
  elseif given.version then
    output.write("opperchat " .. opperchat.version .. "\n")
    return OK
  end
  add_defaults(given)
  for name, run in pairs(modes) do
    if given[name] then
      return run(given)
    end
  end
  local is_person = terminal.is_terminal(terminal.STDIN) and output.is_terminal()
  local has_question = #given.words > 0 or given.attach
  if given.interactive or is_person and not has_question and not given.schema then
    return chat(given)
  end
  return ask_once(given)
end

-- What became of what was printed decides in the end.
local function final_code(code)
  local failed = output.failed()
  if not failed then
    return code
  elseif failed.is_closed then
    -- whoever read it has had enough, as in `| head -1`
    return CLOSED
  elseif failed.is_interrupted then
    return INTERRUPTED
  end
  output.complain("cannot write the answer: " .. failed.problem)
  return FAILED
end

---Does what the words say.
---@param words string[]
---@return integer code of the process
function command.run(words)
  local given, problem = arguments.parse(words)
  if not given then
    output.complain(problem .. " (opperchat --help)")
    return MISUSED
  end
  core.interrupts_watch(true)
  local worked, result = pcall(dispatch, given)
  core.interrupts_watch(false)
  if worked then
    return final_code(result)
  elseif getmetatable(result) == Misuse then
    output.complain(result.text)
    return MISUSED
  elseif rawequal(result, waiting.INTERRUPTED) then
    return INTERRUPTED
  end
  output.complain(result)
  return FAILED
end

---The whole program: does not return.
---@param words string[]
function command.main(words)
  local code = command.run(words)
  io.stdout:flush()
  if code == INTERRUPTED then
    core.interrupts_die()
  end
  os.exit(code)
end

return command
