---The chats that are kept: each is a journal in one folder.
---
---A file is called DATE-ID.jsonl; the id is what people type, the first few
---characters of it are enough.
local core = require "opperchat.core"
local opperchat = require "opperchat"
local places = require "opperchat.command.places"

local chats = {}

---@class opperchat.command.ChatFile
---@field id string
---@field path string
---@field modified number

-- Longest first words of a chat, in bytes.
local WORDS = 200

---All chats, the last used first.
---@return opperchat.command.ChatFile[]
function chats.list()
  local folder = places.chats()
  local found = {}
  for _, file in ipairs(folder and core.list_folder(folder) or {}) do
    local id = file.name:match("^%d+%-(%x+)%.jsonl$")
    -- one that is empty is what a full disk has left of a chat
    if id and file.size > 0 then
      found[#found + 1] = { id = id, path = folder .. "/" .. file.name, modified = file.modified }
    end
  end
  table.sort(found, function(a, b)
    if a.modified ~= b.modified then
      return a.modified > b.modified
    end
    return a.path > b.path
  end)
  return found
end

---The chat that is meant.
---@param word string an id, or its beginning, or the path of a file
---@return opperchat.command.ChatFile? file
---@return string? problem
function chats.find(word)
  if word:find("/", 1, true) then
    if core.file_kind(word) ~= "file" then
      return nil, "there is no file " .. word
    end
    return { id = word, path = word, modified = 0 }
  end
  local found = {}
  for _, file in ipairs(chats.list()) do
    if word ~= "" and file.id:sub(1, #word) == word:lower() then
      found[#found + 1] = file
    end
  end
  if #found == 1 then
    return found[1]
  elseif #found == 0 then
    return nil, ("there is no chat '%s' (opperchat --list)"):format(word)
  end
  return nil, ("'%s' could be any of %d chats: more of the id, please"):format(word, #found)
end

---The chat that was used last and has something in it.
---@return opperchat.command.ChatFile? file
function chats.last()
  for _, file in ipairs(chats.list()) do
    local chat = opperchat.load(file.path)
    -- one that cannot be read is for its user to hear of, and not to be passed by
    if not chat or #chat > 0 and chats.turns(chat) > 0 then
      return file
    end
  end
end

---A file for a new chat, which is not there yet; its folder is made.
---@return opperchat.command.ChatFile? file
---@return string? problem
function chats.new()
  local folder = places.chats()
  if not folder then
    return nil, "neither HOME nor XDG_DATA_HOME is set"
  elseif folder:find("%c") then
    return nil, folder .. ": has a control character in its name"
  end
  local made, problem = places.make(folder)
  if not made then
    return nil, problem
  end
  local id, path
  repeat
    id = core.uuid():sub(1, 6)
    path = ("%s/%s-%s.jsonl"):format(folder, os.date("%Y%m%d"), id)
  until not core.file_kind(path)
  return { id = id, path = path, modified = os.time() }
end

---How many turns a chat has.
---@param chat opperchat.Conversation
---@return integer
function chats.turns(chat)
  local _, _, first = core.turns(chat)
  return #first
end

---The texts of a message: its content may be a list of parts.
---@param message table
---@return string
function chats.text_of(message)
  local content = message.content
  if type(content) ~= "table" then
    return tostring(content or message.refusal or "")
  end
  local texts = {}
  for _, part in ipairs(content) do
    if part.type == "text" then
      texts[#texts + 1] = part.text
    elseif part.type == "file" then
      texts[#texts + 1] = ("[%s]"):format(part.file and part.file.filename or "file")
    else
      texts[#texts + 1] = ("[%s]"):format(part.type == "image_url" and "image"
        or part.type == "input_audio" and "audio" or tostring(part.type))
    end
  end
  return table.concat(texts, "\n")
end

---The beginning of what was asked first.
---@param chat opperchat.Conversation
---@return string
function chats.first_words(chat)
  local _, _, first = core.turns(chat)
  if not first[1] then
    return ""
  end
  local text, last = chats.text_of(chat:messages(first[1], first[1])[1]), WORDS
  while last > 0 and (text:byte(last + 1) or 0) >= 0x80 and text:byte(last + 1) < 0xC0 do
    last = last - 1 -- not in the middle of a character
  end
  return text:sub(1, last)
end

---The model that a chat is with.
---@param chat opperchat.Conversation
---@return string?
function chats.model(chat)
  return core.state(chat).options.model
end

return chats
