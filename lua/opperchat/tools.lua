---Tools: functions of the program that a model may call.
---
---A registry has what is sent to the server (`wire`) and the tools that can be
---run here. Tools of the server's own, such as `{type = "opper:web_search"}`, are
---passed through as they are.
local content = require "opperchat.content"
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"

local schema = lazy.module "opperchat.schema"

local tools = {}

local FIELDS = { "confirm", "description", "name", "parameters", "run", "strict" }

local is_field = {}
for _, name in ipairs(FIELDS) do
  is_field[name] = true
end

-- ---------------------------------------------------------------------------
-- The registry
-- ---------------------------------------------------------------------------

-- A tool of ours has a name and no type; what has a type is the server's form.
local function is_own(given)
  return given.type == nil and given.name ~= nil
end

-- Longer than any argument that is worth repeating to a model.
local MAX_SHOWN = 200

local function check_fields(given)
  for name in pairs(given) do
    if not is_field[name] then
      local near = options.nearest(tostring(name), FIELDS)
      return nil, ("unknown field '%s'%s"):format(tostring(name),
        near and " (did you mean '" .. near .. "'?)" or "")
    end
  end
  if type(given.name) ~= "string" or not given.name:find("^[%w_-]+$") or #given.name > 64 then
    return nil, "name: 1 to 64 letters, digits, '_' or '-' expected"
  end
  for _, name in ipairs { "run", "confirm" } do
    if given[name] ~= nil and type(given[name]) ~= "function" then
      return nil, name .. ": function expected, got " .. type(given[name])
    end
  end
  if given.description ~= nil and type(given.description) ~= "string" then
    return nil, "description: string expected, got " .. type(given.description)
  end
  if given.parameters ~= nil and type(given.parameters) ~= "table" then
    return nil, "parameters: table expected, got " .. type(given.parameters)
  end
  if given.strict ~= nil and type(given.strict) ~= "boolean" then
    return nil, "strict: boolean expected, got " .. type(given.strict)
  end
  return true
end

-- A tool in the server's form. A function among them is known by its name, so
-- that its calls are left to the program.
local function compile_wire(given)
  if type(given.type) ~= "string" then
    return nil, "a tool needs a name, or a type of the server's own"
  end
  for _, name in ipairs { "run", "confirm" } do
    if given[name] ~= nil then
      return nil, name .. ": a tool that is run here is written without type"
    end
  end
  local fn = given["function"]
  local is_function = given.type == "function" and type(fn) == "table"
  return {
    name = is_function and type(fn.name) == "string" and fn.name or nil,
    wire = given,
  }
end

-- A tool and its form on the wire.
local function compile(given)
  if type(given) ~= "table" then
    return nil, "table expected, got " .. type(given)
  elseif not is_own(given) then
    return compile_wire(given)
  end
  local valid, problem = check_fields(given)
  if not valid then
    return nil, problem
  end
  local parameters
  parameters, problem = schema.expand(given.parameters or {}, "parameters")
  if not parameters then
    return nil, problem
  end
  return {
    name = given.name,
    run = given.run,
    confirm = given.confirm,
    parameters = parameters,
    wire = {
      type = "function",
      ["function"] = {
        name = given.name,
        description = given.description,
        parameters = parameters,
        strict = given.strict,
      },
    },
  }
end

---@class opperchat.ToolRegistry
---@field list table[] compiled tools, in their order
---@field by_name table<string, table> those of ours

---An empty registry.
---@return opperchat.ToolRegistry
function tools.new()
  return { list = {}, by_name = {} }
end

---A registry of its own with the same tools.
---@param registry opperchat.ToolRegistry
---@return opperchat.ToolRegistry
function tools.copy(registry)
  local copy = tools.new()
  for i, tool in ipairs(registry.list) do
    copy.list[i] = tool
  end
  for name, tool in pairs(registry.by_name) do
    copy.by_name[name] = tool
  end
  return copy
end

---Adds a tool; one of the same name is replaced.
---@param registry opperchat.ToolRegistry
---@param given table
---@return true? added
---@return string? problem
function tools.add(registry, given)
  local tool, problem = compile(given)
  if not tool then
    return nil, problem
  end
  local at = #registry.list + 1
  for i, known in ipairs(registry.list) do
    if tool.name and known.name == tool.name then
      at = i
    end
  end
  registry.list[at] = tool
  if tool.name then
    registry.by_name[tool.name] = tool
  end
  return true
end

---A registry of the option `tools`.
---@param list? table[]
---@return opperchat.ToolRegistry? registry
---@return string? problem
function tools.compile(list)
  local registry = tools.new()
  for i, given in ipairs(list or {}) do
    local added, problem = tools.add(registry, given)
    if not added then
      return nil, ("tools[%d]: %s"):format(i, problem)
    end
  end
  for key in pairs(list or {}) do
    if type(key) ~= "number" then
      -- most likely one tool without the list around it, which would not be sent
      return nil, ("tools: list of tables expected, got a table with the key '%s'")
        :format(tostring(key))
    elseif key % 1 ~= 0 or key < 1 or key > #list then
      return nil, ("tools: list of tables expected, got one with a gap before [%s]")
        :format(tostring(key))
    end
  end
  return registry
end

---What is sent to the server.
---@param registry opperchat.ToolRegistry
---@return table[]? wire nil when there are none
function tools.wire(registry)
  local list = {}
  for i, tool in ipairs(registry.list) do
    list[i] = tool.wire
  end
  return #list > 0 and list or nil
end

-- ---------------------------------------------------------------------------
-- Running one call
-- ---------------------------------------------------------------------------

-- What comes from a model or a tool, fit to be sent: whole characters only.
local function clean(text)
  if not core.quote(text) then
    return (text:gsub("[\128-\255]", "?"))
  end
  return text
end

-- The beginning of a text, not cut within a character.
local function clip(text)
  if #text <= MAX_SHOWN then
    return text
  end
  local last = MAX_SHOWN
  while last > 0 and (text:byte(last + 1) or 0) >= 128 and text:byte(last + 1) < 192 do
    last = last - 1
  end
  return text:sub(1, last) .. "..."
end

---What the model is told when a call came to nothing.
---@param problem string
---@return string content
function tools.failure(problem)
  return json.encode { error = clean(problem) }
end

---The arguments of a call as a Lua value, nil when they are no JSON. Models
---write nothing at all, or null, for a tool without parameters.
---@param text string
---@return any
function tools.decode_arguments(text)
  if not text:find("%S") then
    return {}
  end
  local value, problem = json.decode(text)
  if value == nil and not problem then
    return {}
  end
  return value
end

local function known_names(registry)
  local names = {}
  for name in pairs(registry.by_name) do
    names[#names + 1] = name
  end
  table.sort(names)
  return #names > 0 and table.concat(names, ", ") or "none"
end

-- Why a call cannot be run, nil when it can.
local function find_problem(registry, call)
  local tool = registry.by_name[call.name]
  if not tool then
    return ("unknown tool '%s'; the tools are: %s"):format(tostring(call.name),
      known_names(registry))
  elseif call.arguments == nil then
    return "the arguments are not valid JSON: " .. clip(call.arguments_json)
  elseif type(call.arguments) ~= "table" then
    return "the arguments have to be a JSON object"
  end
  local valid, problem = schema.check(call.arguments, tool.parameters)
  if not valid then
    return "wrong arguments: " .. problem
  end
end

-- Whether the program lets the call happen; and why not.
local function ask(confirm, call)
  local allowed, why = confirm(call)
  if allowed then
    return true
  end
  return false, "not allowed" .. (why and ": " .. tostring(why) or "")
end

-- The first line of what a tool raised, once as it is and once without the
-- place in the program: that is of no use to a model.
local function describe(err)
  local mark = type(err) == "table" and getmetatable(err)
  local is_plain = type(err) == "table" and not (type(mark) == "table" and mark.__tostring)
  local ok, text = pcall(tostring, err)
  if is_plain or not ok or type(text) ~= "string" then
    return "the tool failed", "the tool failed"
  end
  local line = text:match("^[^\n]*")
  local told = line:match("^[^:]*%.lua:%d+: (.+)$") or line:match("^%[string .-%]:%d+: (.+)$")
    or line:match("^%S+:%d+: (.+)$")
  return line, told or line
end

---@class opperchat.ToolOutcome
---@field call opperchat.ToolCall
---@field result any what the tool returned
---@field error? string why it came to nothing
---@field content any what the model is told

-- Starts a function whose errors are kept, and returns what waits for it: its
-- success and its result. Within `go` it is a task of its own, for 5.1 cannot
-- yield across a pcall.
local function begin(fn, ...)
  if driver.current() then
    local task = driver.spawn(fn, ...)
    return function()
      return driver.join(task)
    end
  end
  local ok, first, second = pcall(fn, ...)
  return function()
    return ok, first, second
  end
end

local function refused(call, problem, told)
  return { call = call, error = problem, content = tools.failure(told or problem) }
end

-- Why a call is not made: as an outcome; nil when it is.
local function look_at(registry, call, confirm)
  local problem = find_problem(registry, call)
  if problem then
    return refused(call, problem)
  end
  confirm = registry.by_name[call.name].confirm or confirm
  if not confirm then
    return nil
  end
  local ok, allowed, why = begin(ask, confirm, call)()
  if not ok then
    return refused(call, describe(allowed))
  elseif not allowed then
    return refused(call, why)
  end
end

-- Makes a call, up to what the model will be told.
local function make(registry, call)
  local result = registry.by_name[call.name].run(call.arguments, call)
  local text, problem = content.of_value(result)
  if not text then
    error("the result cannot be sent: " .. problem, 0)
  end
  return { call = call, result = result, content = text }
end

---Runs the calls of one reply. First the program is asked about each, one after
---another; then they run: side by side within `go`, else in their order. None
---of them can fail the others; each has an outcome.
---@param registry opperchat.ToolRegistry
---@param calls opperchat.ToolCall[]
---@param confirm? fun(call: opperchat.ToolCall): boolean, string?
---@param is_cancelled fun(): boolean asked before anything is begun
---@return opperchat.ToolOutcome[] outcomes in the order of the calls
function tools.run(registry, calls, confirm, is_cancelled)
  local outcomes, waits = {}, {}
  for i, call in ipairs(calls) do
    outcomes[i] = is_cancelled() and refused(call, "cancelled")
      or look_at(registry, call, confirm)
  end
  for i, call in ipairs(calls) do
    if not outcomes[i] and is_cancelled() then
      outcomes[i] = refused(call, "cancelled")
    elseif not outcomes[i] then
      waits[i] = begin(make, registry, call)
    end
  end
  for i, call in ipairs(calls) do
    if waits[i] then
      local ok, outcome = waits[i]()
      outcomes[i] = ok and outcome or refused(call, describe(outcome))
    end
  end
  return outcomes
end

---The first call that the program wants to answer itself: of a tool that was
---declared without `run`.
---@param registry opperchat.ToolRegistry
---@param calls opperchat.ToolCall[]
---@return opperchat.ToolCall?
function tools.find_left_to_caller(registry, calls)
  for _, call in ipairs(calls) do
    local tool = registry.by_name[call.name]
    if tool and not tool.run then
      return call
    end
  end
end

return tools
