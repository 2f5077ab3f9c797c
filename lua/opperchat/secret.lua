---Keys that are fetched when they are needed, and shown to nobody.
---
---The text of such a key never becomes a Lua string: the core reads it into
---memory of its own and overwrites that when it is done.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local options = require "opperchat.options"

local secret = {}

---@class opperchat.Secret
local Secret = options.secret_mt

-- What is known of each. Not in the object, where a program that prints its
-- tables would come across it.
local known = setmetatable({}, { __mode = "k" })

local SOURCES = { "env", "file", "command" }

function Secret.__tostring()
  return "opperchat.secret (<redacted>)"
end

---A key from the environment, a file or a command, for `api_key`.
---@param given opperchat.SecretOptions
---@return opperchat.Secret
function secret.new(given)
  if type(given) ~= "table" then
    errors.misuse("secret: table with env, file or command expected, got " .. type(given))
  end
  local found
  for name, value in pairs(given) do
    local near = type(name) == "string" and options.nearest(name, SOURCES)
    if name ~= "env" and name ~= "file" and name ~= "command" then
      errors.misuse("secret: unknown option '" .. tostring(name):gsub("%c", "?"):sub(1, 64) .. "'"
        .. (near and " (did you mean '" .. near .. "'?)" or ""))
    elseif type(value) ~= "string" or value == "" or value:find("%z") then
      errors.misuse("secret: option '%s': non-empty string expected, got %s", name,
        type(value) == "string" and "another one" or type(value))
    elseif found then
      errors.misuse("secret: only one of env, file and command can be given")
    end
    found = name
  end
  if not found then
    errors.misuse("secret: table with env, file or command expected, got an empty one")
  end
  local self = setmetatable({}, Secret)
  known[self] = { kind = found, source = given[found], users = setmetatable({}, { __mode = "k" }) }
  return self
end

-- A program may take opperchat out of package.loaded and require it again.
local function record_of(self)
  return known[self]
    or errors.misuse("this secret belongs to an earlier load of opperchat: make another one")
end

-- What a secret is to people. A command may have a secret in its own text.
local function place_of(record)
  if record.kind == "env" then
    return "environment variable " .. record.source
  elseif record.kind == "file" then
    return "file " .. record.source
  end
  return "command"
end

local READERS = {
  env = core.secret_env, file = core.secret_file, command = core.secret_command,
}

---The key, as userdata. A command is run, and a file read, once, and again
---when the server has refused what they gave.
---@param self opperchat.Secret
---@param refused? userdata what it has refused
---@return userdata? key
---@return opperchat.Error? err
function secret.take(self, refused)
  local record = record_of(self)
  -- another request may have fetched a new one since
  if record.value and record.value ~= refused then
    return record.value
  end
  record.value = nil
  local key, more = READERS[record.kind](record.source)
  if not key then
    return nil, errors.new("api", "missing_api_key",
      ("secret (%s): %s"):format(place_of(record), more))
  end
  record.is_open = record.kind == "file" and more
  if record.kind ~= "env" then
    record.value = key
  end
  return key
end

---Whether it may be another key the next time; the environment stays as it is.
---@param self opperchat.Secret
---@return boolean
function secret.can_renew(self)
  return record_of(self).kind ~= "env"
end

---A client that uses it.
---@param self opperchat.Secret
---@param client opperchat.Client
function secret.hold(self, client)
  record_of(self).users[client] = true
end

---That client is closed: the key of no client is forgotten.
---@param self opperchat.Secret
---@param client opperchat.Client
function secret.release(self, client)
  local record = known[self]
  if not record then
    return      -- of an earlier load: nobody here holds its key
  end
  record.users[client] = nil
  if next(record.users) == nil and record.value then
    core.secret_forget(record.value)
    record.value = nil
  end
end

---Where it comes from, for people.
---@param self opperchat.Secret
---@return string place
---@return boolean is_open others may read the file
function secret.describe(self)
  local record = record_of(self)
  return place_of(record), record.is_open or false
end

return secret
