--- What an installed opperchat has to be good for: every module can be required
-- and comes from where it should, and two turns of a conversation arrive.
--
--   lua5.4 spec/support/smoke.lua URL PREFIX MODULE...
--
-- PREFIX is what the sources of all functions begin with, such as "@/usr/local/".
-- In a host it may be run as a chunk with the same arguments. Needs nothing but
-- opperchat and what that needs.

local arguments = { ... }
local url, prefix = arguments[1], arguments[2]
assert(#arguments > 2, "usage: smoke.lua URL PREFIX MODULE...")

-- A function that a module has, however deep: it knows the file it was in.
local function find_function(value, seen)
  if type(value) == "function" and debug.getinfo(value, "S").what ~= "C" then
    return value
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for _, field in pairs(value) do
      local found = find_function(field, seen)
      if found then
        return found
      end
    end
  end
  return nil
end

local function has_vim()
  return rawget(_G, "vim") ~= nil
end

local needs = {
  ["opperchat.health"] = has_vim,
  ["opperchat.loop.cqueues"] = function() return pcall(require, "cqueues") end,
  ["opperchat.loop.luv"] = function() return pcall(require, "luv") end,
  ["opperchat.loop.nvim"] = has_vim,
}

local loaded = 0
for i = 3, #arguments do
  local name = arguments[i]
  local is_possible = needs[name] or name:find("^opperchat%.nvim") and has_vim
  if not is_possible or is_possible() then
    local found, module = pcall(require, name)
    assert(found, name .. ": " .. tostring(module))
    assert(package.loaded[name] == module, name .. " is not what is loaded under its name")
    local example = find_function(module, {})
    if example then
      local source = debug.getinfo(example, "S").source
      assert(source:sub(1, #prefix) == prefix, name .. " comes from " .. source)
    end
    loaded = loaded + 1
  end
end

local opperchat = require "opperchat"
local chat = opperchat.conversation{
  client = opperchat.client{ base_url = url, api_key = "" }, model = "test/model",
}
assert(assert(chat:send("What's a vector?")).content == "ok")
local words = {}
assert(chat:send("And in 3D?", { on_delta = function(text) words[#words + 1] = text end }))
assert(table.concat(words) == "ok", table.concat(words))
assert(#chat == 4, "the conversation has " .. #chat .. " messages")

-- Misuse is reported at our line, which takes that the modules know their own.
local _, complaint = pcall(function() chat:append(1) end)
assert(not tostring(complaint):find("opperchat/", 1, true), complaint)

print(loaded .. " modules, " .. #chat .. " messages")
