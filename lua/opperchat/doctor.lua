---Looks for what is wrong between a program and its server, one thing after the
---other, and says what to do about it. Nothing it says has a key in it.
local client = require "opperchat.client"
local conversation = require "opperchat.conversation"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local log = require "opperchat.log"
local models = require "opperchat.models"
local options = require "opperchat.options"
local request = require "opperchat.request"
local secret = require "opperchat.secret"

local public = lazy.module "opperchat"

local doctor = {}

-- Seconds that each of the requests may take.
local TIMEOUT = 20

-- Seconds that a connection may take.
local CONNECT = 5

-- An answer that comes sooner says nothing of whether it was held back.
local QUICK = 0.25

-- Long enough to arrive in many pieces.
local PROMPT = "Count from 1 to 40, with a space between the numbers. Write nothing else."

-- The model of the documentation, when the server has it.
local USUAL_MODEL = "openai/gpt-5-mini"

---@class opperchat.DoctorReport
local Report = {}
Report.__index = Report
Report.__name = "opperchat.DoctorReport"

-- ---------------------------------------------------------------------------
-- Writing it down
-- ---------------------------------------------------------------------------

local COLOURS = { ok = "32", warn = "33", fail = "31", skip = "2" }

local function coloured(text, status, has_colour)
  return has_colour and ("\27[%sm%s\27[0m"):format(COLOURS[status], text) or text
end

local INDENT = (" "):rep(22)

-- A line of the report as lines of text, the advice below what it is about.
local function shown(line, has_colour)
  local text = ("  %s%s%-14s%s"):format(coloured(line.status, line.status, has_colour),
    (" "):rep(6 - #line.status), line.name, line.text)
  if line.advice then
    text = text .. "\n" .. INDENT .. "-> " .. line.advice
  end
  return text
end

local function summary(report)
  local counts = { ok = 0, warn = 0, fail = 0, skip = 0 }
  for _, line in ipairs(report.lines) do
    counts[line.status] = counts[line.status] + 1
  end
  local function count(number, word)
    return number .. " " .. word .. (number == 1 and "" or "s")
  end
  if counts.fail + counts.warn == 0 then
    return "All is well."
  end
  return count(counts.fail, "problem") .. ", " .. count(counts.warn, "warning") .. "."
end

function Report:__tostring()
  local lines = {}
  for i, line in ipairs(self.lines) do
    lines[i] = shown(line, false)
  end
  return table.concat(lines, "\n") .. "\n" .. summary(self)
end

-- One line: nothing that a server has said breaks it.
local function plain(text)
  return (tostring(text):gsub("%s+", " "):gsub("%c", "?"))
end

---@param report opperchat.DoctorReport
---@param name string
---@param status "ok"|"warn"|"fail"|"skip"
---@param text string
---@param advice? string
local function add(report, name, status, text, advice)
  local line = { name = name, status = status, text = plain(text),
    advice = advice and plain(advice) }
  report.lines[#report.lines + 1] = line
  if status == "fail" then
    report.ok = false
  end
  if report.write then
    report.write(shown(line, report.has_colour))
  end
end

-- ---------------------------------------------------------------------------
-- This machine
-- ---------------------------------------------------------------------------

local function check_versions(report)
  local jit = rawget(_G, "jit")
  add(report, "opperchat", "ok", public.version)
  add(report, "lua", "ok", type(jit) == "table" and jit.version or _VERSION)
  local curl = core.curl_info()
  add(report, "libcurl", curl.tls and "ok" or "fail",
    ("%s, %s%s"):format(curl.version, curl.tls or "no TLS", curl.http2 and ", HTTP/2" or ""),
    not curl.tls and "this libcurl cannot do https: install one that can" or nil)
  if not curl.async_dns then
    add(report, "libcurl", "warn", "it looks up names without a thread",
      "looking up a host stops the whole program: install a libcurl with a threaded resolver")
  end
  add(report, "json", "ok", json.describe())
  local system = core.system_name()
  if system then
    add(report, "system", "ok", system)
  end
end

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

-- A URL taken apart: scheme, host, port.
local function parts_of(url)
  local scheme, place = url:lower():match("^(%w+)://([^/]*)")
  local host = place:match("^(%[.-%])") or place:match("^([^:]*)")
  return scheme, host
end

local function is_here(host)
  return host == "localhost" or host:find("^127%.") ~= nil or host == "[::1]"
end

local function count_certificates(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if not file or not text then
    return nil
  end
  file:close()
  local count = 0
  for _ in text:gmatch("%-%-BEGIN [A-Z ]*CERTIFICATE%-%-") do
    count = count + 1
  end
  return count
end

local CA_ADVICE = "install the package ca-certificates, or name a file with ca_file or "
  .. "SSL_CERT_FILE"

local function check_certificates(report, state)
  local curl = core.curl_info()
  local has_own = state.ca_file or state.ca_path
  local file = state.ca_file or not has_own and curl.ca_file or nil
  local path = state.ca_path or not has_own and curl.ca_path or nil
  if state.skips_verify then
    add(report, "certificates", "warn", "not checked: insecure_skip_verify",
      "anybody on the way can read along: give the certificate of the CA with ca_file instead")
  elseif not file and not path then
    add(report, "certificates", "ok", "those of the system")
  else
    local count = file and count_certificates(file)
    local has_folder = path and core.file_kind(path) == "directory"
    if count and count > 0 then
      add(report, "certificates", "ok", ("%d in %s"):format(count, file))
    elseif has_folder and not (file and state.ca_file) then
      add(report, "certificates", "ok", "folder " .. path)
    else
      add(report, "certificates", "fail", ("%s %s"):format(
        count and "none in" or "cannot read", file or path), CA_ADVICE)
    end
  end
end

-- Whether libcurl goes past the proxy for this host.
local function is_exception(host, list)
  for entry in (list or ""):lower():gmatch("[^,%s]+") do
    entry = entry:gsub("^%.", "")
    if entry == "*" or host == entry or host:sub(-#entry - 1) == "." .. entry then
      return true
    end
  end
  return false
end

-- The proxy in effect, and where it comes from; nil: none.
local function proxy_of(state, scheme, host)
  local list = state.no_proxy or os.getenv("no_proxy") or os.getenv("NO_PROXY")
  local is_past = is_exception(host, list)
  if state.proxy then
    if state.proxy == "" then
      return nil, "none: option proxy"
    end
    return not is_past and state.proxy or nil, is_past and "none for this host" or "option proxy"
  end
  local names = { scheme .. "_proxy", "all_proxy", "ALL_PROXY" }
  if scheme == "https" then
    -- HTTP_PROXY in upper case may be a header of a web server's client
    table.insert(names, 2, "HTTPS_PROXY")
  end
  for _, name in ipairs(names) do
    local value = environment(name)
    if value then
      return not is_past and log.without_login(value) or nil,
        is_past and "none for this host: no_proxy" or name
    end
  end
  return nil, "none"
end

local function check_way(report, state)
  local scheme, host = parts_of(state.base_url)
  add(report, "address", "ok", state.base_url)
  if scheme == "https" then
    check_certificates(report, state)
  end
  local proxy, from = proxy_of(state, scheme, host)
  add(report, "proxy", "ok", proxy and proxy .. " (" .. from .. ")" or from)
  return proxy
end

-- ---------------------------------------------------------------------------
-- The key
-- ---------------------------------------------------------------------------

-- The key to be used; false: the client's own, or none; "": a function wants none; nil: there is
-- none that could be sent.
local function check_key(report, self, state)
  local scheme, host = parts_of(state.base_url)
  local key, err = client.key(self)
  if key == nil then
    if state.key_source == "none" then
      add(report, "key", "fail", "none, and this host needs one",
        "set the environment variable OPPER_API_KEY, or give opperchat.client{ api_key = ... }")
    else
      add(report, "key", "fail", err.message, "the key comes from: " .. state.key_source)
    end
    return nil
  elseif state.key_source == "none" then
    add(report, "key", "ok", "none, and this host may need none")
    return false
  elseif key == "" then
    add(report, "key", "ok", "none, says the " .. state.key_source)
    return key
  end
  local is_open = false
  if state.secret then
    local _
    _, is_open = secret.describe(state.secret)
  end
  if is_open then
    add(report, "key", "warn", state.key_source, "others may read that file: chmod 600")
  elseif scheme == "http" and not is_here(host) then
    add(report, "key", "warn", state.key_source,
      "it goes over the network unencrypted: use https:// in base_url")
  else
    add(report, "key", "ok", state.key_source)
  end
  return key
end

-- ---------------------------------------------------------------------------
-- The server
-- ---------------------------------------------------------------------------

-- What to do about an error.
local function advice_for(err, state, key)
  local text = (err.message or ""):lower()
  if err.code == "unknown_host" then
    return "check the spelling of base_url, and whether this machine has a network"
  elseif err.code == "connection_refused" then
    return "nothing listens there: is the server running, and is its port the one in base_url?"
  elseif err.code == "connect_timeout" then
    return "a firewall may be in the way, or a proxy be needed: options proxy and timeout.connect"
  elseif err.code == "proxy_failed" then
    return "check the address of the proxy and its user:password; no_proxy goes past it"
  elseif err.code == "bad_certificate" and text:find("expired", 1, true) then
    return "the server's certificate has expired, or this machine's clock is wrong"
  elseif err.code == "bad_certificate" and text:find("subject name", 1, true) then
    return "the certificate is that of another host: check base_url"
  elseif err.code == "bad_certificate" then
    return "a company's proxy or a private CA? Give its certificate with ca_file or SSL_CERT_FILE"
  elseif err.kind == "tls" then
    return "does this port speak TLS? http:// instead of https:// if it does not"
  elseif err.status == 401 then
    return (state.key_source == "none" or key == "")
      and "this server wants a key: api_key or OPPER_API_KEY"
      or "the server does not accept the key (" .. state.key_source
        .. "): is it for this server, whole, and still valid?"
  elseif err.status == 402 then
    return "the account has no credit left, or a budget is used up"
  elseif err.status == 403 then
    return "the key is known, but may not do this: ask whoever administers the account"
  elseif err.status == 404 or err.status == 405 then
    return "base_url is what stands before /chat/completions and /models: is its path right?"
  elseif err.status == 429 then
    return "too many requests: wait, or ask for a higher limit"
  elseif err.status and err.status >= 500 then
    return "the server, or what it stands behind, is in trouble: try later"
  elseif err.kind == "timeout" then
    return "the server is slow, or something in between holds the answer back"
  elseif err.kind == "http" or err.kind == "protocol" then
    return "something else than the API answers: is base_url right, or a login page in between?"
  end
end

local UNREACHED = { network = true, tls = true, timeout = true }

-- Whether a server answers, and lists its models. Returns the list.
local function check_server(report, self, state, key, proxy, seconds)
  local _, host = parts_of(state.base_url)
  local sent, refused = models.ask(self, key or false, {
    connect = math.min(CONNECT, seconds), first_token = seconds, idle = seconds, total = seconds,
    max_retries = 0,
  })
  if not sent then
    add(report, "models", "fail", refused.message)
    return nil, false
  end
  local list, problem
  request.start(sent, core.state(sent), {
    on_done = function(document, err)
      problem = err
      if document then
        list, problem = models.read(document.text)
        problem = problem and errors.new("protocol", "bad_response", "bad response: " .. problem)
      end
    end,
  })
  sent:wait()
  local peer = core.request_peer(sent)
  local is_reached = not problem or not UNREACHED[problem.kind]
  if problem and problem.code == "unknown_host" then
    add(report, "name", "fail", problem.message, advice_for(problem, state))
    return nil, false
  elseif proxy then
    add(report, "name", "skip", "the proxy looks up " .. host)
  elseif host:find("^[%d.]+$") or host:find("^%[") then
    add(report, "name", "skip", host .. " is an address")
  elseif is_reached or peer.address then
    add(report, "name", "ok", ("%s is %s (%.0f ms)"):format(host, peer.address or "known",
      peer.lookup * 1000))
  end
  if not is_reached then
    add(report, "connection", "fail", problem.message, advice_for(problem, state))
    return nil, false
  end
  add(report, "connection", "ok", "HTTP/" .. (peer.http or "?"))
  if problem then
    -- one that answers chats need not have a list
    local is_missing = problem.status == 404 or problem.status == 405 or problem.status == 501
    add(report, "models", is_missing and "warn" or "fail",
      (problem.status and "HTTP " .. problem.status .. ": " or "") .. problem.message,
      advice_for(problem, state, key))
    return nil, problem.status ~= 401
  end
  add(report, "models", #list > 0 and "ok" or "warn",
    #list == 1 and "1 model" or #list .. " models",
    #list == 0 and "the server has no model for this key" or nil)
  return list, true
end

-- The model to try: the one asked for, a usual one, or the first.
local function pick_model(report, list, wanted)
  local has = {}
  for _, model in ipairs(list or {}) do
    has[model.id] = true
  end
  if wanted then
    if list and not has[wanted] then
      local ids = {}
      for i, model in ipairs(list) do
        ids[i] = model.id
      end
      local near = options.nearest(wanted, ids)
      add(report, "model", "warn", "the list has no " .. wanted,
        near and "did you mean " .. near .. "?" or "client:models() returns what there is")
    end
    return wanted
  end
  return has[USUAL_MODEL] and USUAL_MODEL or list and list[1] and list[1].id or nil
end

-- Waits for a request, but not for ever.
local function wait(sent, seconds)
  local reply, err = sent:wait(seconds)
  if not reply and not err then
    sent:cancel()
    return nil, errors.new("timeout", "total_timeout",
      ("no answer within %g s"):format(seconds))
  end
  return reply, err
end

-- Whether an answer comes, piece by piece, and what it says of its tokens.
local function check_stream(report, self, state, key, model, seconds)
  local chat = conversation.new { client = self, model = model }
  local times, length = {}, 0
  local begun = core.now()
  local sent, err = chat:start(PROMPT, {
    on_event = function(event)
      times[#times + 1] = core.now() - begun
      length = length + #(event.text or "")
    end,
  })
  local reply
  if sent then
    reply, err = wait(sent, seconds)
  end
  chat:close()
  if not reply then
    add(report, "answer", "fail",
      (err.status and "HTTP " .. err.status .. ": " or "") .. err.message,
      advice_for(err, state, key))
    return false
  end
  add(report, "answer", "ok", ("%s, %.2f s, %s"):format(reply.model or model or "?",
    reply.timing.total or 0, reply.finish_reason or "?"))
  local first, last = times[1] or 0, times[#times] or 0
  local pieces = #times == 1 and "1 piece" or #times .. " pieces"
  if #times == 0 then
    add(report, "stream", "warn", "the answer is empty",
      "try another model: opperchat.doctor{ model = ... }")
  elseif last - first >= 0.02 or first < QUICK then
    add(report, "stream", "ok", ("%s, the first after %.2f s, then %.2f s"):format(pieces, first,
      last - first))
  else
    add(report, "stream", "warn",
      ("all %d bytes came at once, after %.2f s"):format(length, first),
      "something in between holds it back until it is complete: turn off buffering there "
        .. "(nginx: proxy_buffering off)")
  end
  local usage = reply.usage
  if usage and usage.total_tokens then
    add(report, "usage", "ok", ("%s tokens%s"):format(usage.total_tokens,
      usage.cost and (", $%.6f"):format(usage.cost) or ""))
  else
    add(report, "usage", "warn", "a stream does not say how many tokens it was",
      "limits and totals work with estimates: is there an option of the server for it?")
  end
  return true
end

-- Whether the model calls a tool that it has to call.
local function check_tools(report, self, model, seconds)
  local chat = conversation.new { client = self, model = model }
  local sent, err = chat:start("What's the weather in Oslo?", {
    tools = { {
      name = "weather", description = "The weather in a city", parameters = { city = "string" },
    } },
    tool_choice = "required",
  })
  local reply
  if sent then
    reply, err = wait(sent, seconds)
  end
  chat:close()
  local call = reply and reply.tool_calls and reply.tool_calls[1]
  if call then
    add(report, "tools", call.arguments and "ok" or "warn",
      call.name .. "(" .. call.arguments_json .. ")")
  else
    add(report, "tools", "warn", reply and "the model answers without calling the tool"
      or err.message, "not every model knows tools: try another one")
  end
end

-- ---------------------------------------------------------------------------
-- All of it
-- ---------------------------------------------------------------------------

local function find_client(report, given)
  if given then
    return given
  end
  local worked, found = pcall(client.default)
  if worked then
    return found
  end
  -- without the place in this file
  local problem = tostring(found):gsub("^[^\n]-:%d+: ", "")
  add(report, "client", "fail", problem, "it is made of OPPER_BASE_URL and OPPER_API_KEY")
end

local function examine(report, given)
  check_versions(report)
  local self = find_client(report, given.client)
  if not self then
    return
  end
  local state = client.check(self)
  if state.replay then
    add(report, "replay", "skip",
      "plays the tape " .. state.replay .. ": nothing goes over a network",
      "look at a client without the option 'replay'")
    return
  elseif state.record then
    add(report, "record", "warn", "what is asked here goes on the tape " .. state.record)
  end
  local seconds = given.timeout or TIMEOUT
  local proxy = check_way(report, state)
  local key = check_key(report, self, state)
  local list, is_up = check_server(report, self, state, key, proxy, seconds)
  if not is_up or key == nil then
    add(report, "answer", "skip", "not tried")
  elseif given.stream == false then
    add(report, "answer", "skip", "not tried: stream = false")
  else
    local model = pick_model(report, list, given.model)
    if check_stream(report, self, state, key, model, seconds) and given.tools then
      check_tools(report, self, model, seconds)
    end
  end
end

local function to_stdout(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

---Looks at one thing after the other. One short request is answered by a model,
---unless `stream` is false. Waits as `send` does: blocking, or inside `go`
---yielding.
---@param given? opperchat.DoctorOptions
---@return opperchat.DoctorReport
function doctor.run(given)
  local valid, problem = options.check(options.doctor, given)
  if not valid then
    errors.misuse("doctor: " .. problem)
  end
  given = given or {}
  if given.client and core.kind(given.client) ~= "client" then
    errors.misuse("doctor: option 'client': client expected, got userdata")
  end
  local report = setmetatable({ ok = true, lines = {} }, Report)
  if given.write ~= false then
    report.write = given.write or to_stdout
  end
  report.has_colour = not given.write and core.is_terminal(1)
    and os.getenv("NO_COLOR") == nil and os.getenv("TERM") ~= "dumb"
  examine(report, given)
  if report.write then
    report.write(summary(report))
  end
  report.write, report.has_colour = nil, nil
  return report
end

---@class opperchat.Client
local methods = core.methods("client")

---The same for this client.
---@param given? opperchat.DoctorOptions
---@return opperchat.DoctorReport
function methods:doctor(given)
  client.check(self)
  if given ~= nil and type(given) ~= "table" then
    errors.misuse("doctor: table of options expected, got " .. type(given))
  end
  local all = { client = self }
  for name, value in pairs(given or {}) do
    all[name] = value
  end
  return doctor.run(all)
end

return doctor
