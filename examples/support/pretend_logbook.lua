--- How the pretend model keeps a log: it answers what was told of each day, sums
-- up the older part of a conversation when it is asked to, and knows nothing but
-- what is in the messages it is sent.

local logbook = {}

-- Advice, by a word of what was told.
local ADVICE = {
  { "spoke", "With one broken spoke you can go on if you open the brake and ride gently. Turn the "
    .. "two neighbours half a turn looser, so that the rim runs straight, and have it replaced in "
    .. "the next town. If a second one breaks, take the train." },
  { "knee", "Raise the saddle by half a centimetre and use smaller gears on climbs. Pain on the "
    .. "inside often comes from turned feet, so look at your cleats as well. If it is not better "
    .. "in three days, rest." },
  { "tyre", "Look for something sharp that is still in the rubber, and pump it up to the limit "
    .. "that is written on the side. Two in a week are rarely bad luck." },
  { "chain", "It is the inside of the links that squeaks. Put one drop of oil on each of them, "
    .. "turn the cranks for a minute, and wipe off the rest after a night." },
  { "dog", "Get off and keep the bicycle between you and the dog. It is the movement it hunts." },
  { "map", "The railway was a good idea: it climbs less than any road." },
  { "farmers", "Such evenings are what one remembers later. Did you write down their names?" },
  { "Camped", "Near rivers the tent is wet in the morning. Pitch it ten metres higher up." },
  { "gloves", "Wear them in for a day before a long stage." },
  { "tired", "Sleep, then. I have what I need." },
  { "Rain", "Dry your shoes with newspaper." },
  { "Hot", "Drink before you are thirsty, and put a little salt into the water." },
  { "thunderstorm", "Next time leave the hill at the first thunder, and stay away from trees." },
  { "Headwind", "Start at six tomorrow: the wind rises with the sun." },
}

-- What a message says of a day; nil: nothing.
local function read_day(text)
  local day, from, to, km = text:match("Day (%d+): (.-) to (.-), (%d+) km")
  return day and { day = tonumber(day), from = from, to = to, km = tonumber(km) }
end

local function find_day(messages, number, text_of)
  for i = #messages, 1, -1 do
    local found = messages[i].role == "user" and read_day(text_of(messages[i]))
    if found and found.day == number then
      return found
    end
  end
  return nil
end

-- The text of the first message that has all of these words.
local function find(messages, text_of, ...)
  for _, message in ipairs(messages) do
    local text, is_there = text_of(message), true
    for _, word in ipairs{ ... } do
      is_there = is_there and text:find(word, 1, true)
    end
    if is_there then
      return text
    end
  end
  return nil
end

local function without_last(messages)
  local rest = {}
  for i = 1, #messages - 1 do
    rest[i] = messages[i]
  end
  return rest
end

-- The answer to a question about something earlier; nil: it is none.
local function look_up(question, messages, text_of)
  local earlier, number = without_last(messages), tonumber(question:match("on day (%d+)%?"))
  if number then
    local found = find_day(earlier, number, text_of)
    if not found then
      return ("Day %d is not in what I was sent."):format(number)
    elseif question:find("^How far") then
      return ("On day %d you rode %d km, from %s."):format(number, found.km, found.from)
    end
    return ("You slept in %s that night."):format(found.to)
  elseif question:find("code of my lock", 1, true) then
    local text = find(earlier, text_of, "the code of my bicycle lock is ")
    return text and text:match("lock is (%d+)") .. ", as you told me before you set out."
      or "You never told me."
  elseif question:find("set out from?", 1, true) then
    local from = find(earlier, text_of, "set out from ")
    local food = find(earlier, text_of, "allergic to ")
    return (food and "No " .. food:match("allergic to (%a+)") .. ". " or "I know of nothing. ")
      .. (from and "And you set out from " .. from:match("set out from (%a+)") .. "."
        or "And where it began is not in what I was sent.")
  end
  return nil
end

-- What is said to a day: the comparison with the one before, and some advice.
local function comment(told, question, messages, text_of)
  local before = find_day(without_last(messages), told.day - 1, text_of)
  local more = before and told.km - before.km
  local parts = {
    not more and ("Noted: %d km."):format(told.km)
      or more == 0 and ("Noted: %d km, as yesterday."):format(told.km)
      or ("Noted: %d km, %d %s than yesterday."):format(told.km, math.abs(more),
        more > 0 and "more" or "less"),
  }
  for _, advice in ipairs(ADVICE) do
    if question:find(advice[1], 1, true) then
      parts[#parts + 1] = advice[2]
    end
  end
  if told.day % 10 == 0 then
    parts[#parts + 1] = ("%d days in the saddle: well done."):format(told.day)
  end
  return table.concat(parts, " ")
end

--- The answer to a list of messages; nil when they are about something else.
---@param messages table[]
---@param text_of fun(message: table): string
---@return string?
function logbook.answer(messages, text_of)
  if not text_of(messages[1]):find("log of a bicycle tour", 1, true) then
    return nil
  end
  local question = text_of(messages[#messages])
  local told = read_day(question)
  return told and comment(told, question, messages, text_of)
    or look_up(question, messages, text_of) or "I keep it in mind."
end

-- Summing up ----------------------------------------------------------------------

-- The words that a text has, in the order of the days, with their numbers.
local TROUBLES = { "spoke", "knee", "tyre", "dog", "thunderstorm" }
local MAX_DAYS = 6

-- Sentences in which somebody speaks of himself.
local function said(text, list)
  for sentence in (text:match("\nSaid: ([^\n]*)") or ""):gmatch("[^.]+%.") do
    list[#list + 1] = sentence:match("^%s*(.*)$")
  end
  for message in text:gmatch("User: ([^\n]*)") do
    if not read_day(message) and not message:find("?", 1, true) then
      for sentence in message:gmatch("[^.!]+[.!]") do
        if sentence:find("%f[%a]I%f[%A]") or sentence:find("%f[%a]my%f[%A]") then
          list[#list + 1] = sentence:match("^%s*(.*)$")
        end
      end
    end
  end
end

-- Days of a trouble: those of the summary before, then new ones; the last few.
local function days_of(word, text)
  local days = {}
  for day in (text:match(word .. " %(([%d, ]+)%)") or ""):gmatch("%d+") do
    days[#days + 1] = day
  end
  for message in text:gmatch("User: ([^\n]*)") do
    local told = message:find(word, 1, true) and read_day(message)
    if told then
      days[#days + 1] = tostring(told.day)
    end
  end
  while #days > MAX_DAYS do
    table.remove(days, 1)
  end
  return #days > 0 and word .. " (" .. table.concat(days, ", ") .. ")"
end

--- A summary of a conversation, and of the summary before it.
---@param text string as policies ask for it
---@return string
function logbook.summary(text)
  local sentences, troubles = {}, {}
  said(text, sentences)
  for _, word in ipairs(TROUBLES) do
    troubles[#troubles + 1] = days_of(word, text) or nil
  end
  local first, last, km, from, to = text:match("Days (%d+) to (%d+), (%d+) km, from (.-) to (.-)%.")
  km = tonumber(km) or 0
  for message in text:gmatch("User: ([^\n]*)") do
    local told = read_day(message)
    if told then
      first, last, km = first or told.day, told.day, km + told.km
      from, to = from or told.from, told.to
    end
  end
  local lines = { "The log of a bicycle tour.", "Said: " .. table.concat(sentences, " ") }
  if last then
    lines[#lines + 1] = ("Days %d to %d, %d km, from %s to %s."):format(first, last, km, from, to)
  end
  if #troubles > 0 then
    lines[#lines + 1] = "Troubles, with the last days: " .. table.concat(troubles, ", ") .. "."
  end
  return table.concat(lines, "\n")
end

return logbook
