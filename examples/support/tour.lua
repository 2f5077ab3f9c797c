--- What a cyclist tells a model on a long tour, a message a day, and what she
-- asks it now and then: the same words in each run.
--
--   local prompt, is_right = dofile("examples/support/tour.lua").turn(12, 500)
--
-- `is_right(answer)` is there when the prompt is a question about what was told
-- before.

local tour = {}

local TOWNS = {
  "Lisbon", "Santarem", "Coimbra", "Porto", "Vigo", "Santiago", "Lugo", "Leon", "Burgos",
  "Pamplona", "Bayonne", "Pau", "Toulouse", "Carcassonne", "Nimes", "Avignon", "Grenoble",
  "Annecy", "Geneva", "Bern", "Zurich", "Bregenz", "Innsbruck", "Salzburg", "Linz", "Vienna",
  "Gyor", "Budapest", "Szeged", "Belgrade", "Skopje", "Ohrid", "Shkoder", "Kotor", "Split",
  "Zadar", "Rijeka", "Trieste", "Venice", "Verona", "Bergamo", "Turin", "Genoa", "Nice",
  "Marseille", "Narbonne", "Girona", "Barcelona", "Valencia", "Granada", "Sevilla", "Evora",
}

local SKIES = {
  "Headwind all day.", "Sun from morning to evening.", "Rain until noon, then fog.",
  "Cool and clear.", "Hot, 34 degrees in the shade.", "A thunderstorm caught me on a hill.",
  "Warm, with a little tailwind.",
}

local EVENTS = {
  "Nothing else to tell.",
  "A spoke broke in the rear wheel on a long descent, and I rode the last hour with the brake "
    .. "open. What is the best way to get home from here?",
  "Had soup with two farmers who had never seen a folding stove.",
  "Flat tyre, the second one this week.",
  "The chain squeaks again, although I cleaned it on Sunday.",
  "Long climb in the last hour, and my left knee hurts on the inside. Should I worry?",
  "Camped by the river.",
  "A dog ran after me for half a mile, barking, until a boy on a donkey called it back.",
  "Bought new gloves.",
  "The map was wrong twice, so I followed the railway and asked at every farm on the way.",
  "Too tired to write more.",
}

local FIRST_DAY, PERIOD = 4, 9

-- The day that a turn tells about.
local function day_of(turn)
  return turn - FIRST_DAY + 1
end

local function town(number)
  return TOWNS[(number - 1) % #TOWNS + 1]
end

local function distance(day)
  return 41 + day * 37 % 62
end

local function entry(day)
  return ("Day %d: %s to %s, %d km. %s %s"):format(day, town(day), town(day + 1), distance(day),
    SKIES[day * 5 % #SKIES + 1], EVENTS[day * 7 % #EVENTS + 1])
end

local function says(...)
  local words = { ... }
  return function(answer)
    for _, word in ipairs(words) do
      if not answer:find(word, 1, true) then
        return false
      end
    end
    return true
  end
end

-- A question about a day that was told of, a few turns back.
local function look_back(turn)
  local day = day_of(turn) - 2 - turn * 11 % 6
  if day_of(turn) % PERIOD ~= 0 or day < 1 or day_of(day + FIRST_DAY - 1) % PERIOD == 0 then
    return nil
  elseif turn % 2 == 0 then
    return ("How far did I ride on day %d?"):format(day), says(distance(day) .. " km")
  end
  return ("Where did I sleep on day %d?"):format(day), says(town(day + 1))
end

tour.system = "You keep the log of a bicycle tour, a message a day. Answer in a few sentences."

--- The number of the turn that tells what must never be forgotten.
tour.important = 3

---@param turn integer
---@param last integer the number of the last turn
---@return string prompt
---@return (fun(answer: string): boolean)? is_right
function tour.turn(turn, last)
  if turn == 1 then
    return "Hello! I am Ada. I set out from Lisbon tomorrow, and I shall write to you every day."
  elseif turn == 2 then
    return "I am allergic to walnuts. Keep it in mind when you suggest food."
  elseif turn == tour.important then
    return "And note this: the code of my bicycle lock is 7419."
  elseif turn == last - 1 then
    return "Home again, and I locked the bicycle. What is the code of my lock?", says("7419")
  elseif turn == last then
    return "What can I not eat, and where did I set out from?",
      says("walnuts", "Lisbon")
  end
  local question, is_right = look_back(turn)
  if question then
    return question, is_right
  end
  return entry(day_of(turn))
end

return tour
