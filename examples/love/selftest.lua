--- What spec/love_spec.lua runs, with OPPERCHAT_LOVE_TEST=<folder>: asks one
-- question, measures the frames during the answer, takes a picture
-- in the middle of it, writes all of that into the folder and ends the game.

local selftest = {}

-- A rate that a computer without a graphics card can keep, too.
local FRAME = 1 / 30
local CALM = 0.6 -- seconds before the question
local LETTERS_AT_PICTURE = 118
local GIVE_UP = 40 -- seconds

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  assert(file:close())
end

-- How many different colors are in it, coarsely.
local function count_colors(image)
  local seen, count = {}, 0
  for y = 0, image:getHeight() - 1, 3 do
    for x = 0, image:getWidth() - 1, 3 do
      local r, g, b = image:getPixel(x, y)
      local key = math.floor(r * 31) * 1024 + math.floor(g * 31) * 32 + math.floor(b * 31)
      if not seen[key] then
        seen[key], count = true, count + 1
      end
    end
  end
  return count
end

---@param game table
---@param folder string
---@param ask fun(question: string)
function selftest.start(game, folder, ask)
  local now = love.timer.getTime
  local begin, phase, result = now(), "calm", {}
  local frames = {}
  local last_frame, pause

  -- An error ends the game instead of waiting in a window for a key.
  function love.errorhandler(message)
    io.stderr:write(debug.traceback(tostring(message), 2), "\n")
    return function() return 1 end
  end

  local function finish()
    result.rate = 1 / FRAME
    result.seconds = now() - result.asked_at
    result.frames, result.longest_frame = #frames, 0
    for _, seconds in ipairs(frames) do
      result.longest_frame = math.max(result.longest_frame, seconds)
    end
    result.asked_at = nil
    local lines = {}
    for name, value in pairs(result) do
      lines[#lines + 1] = name .. "=" .. tostring(value) .. "\n"
    end
    write(folder .. "/shown.txt", game.npc.typewriter.text:sub(1, game.npc.typewriter:shown()))
    write(folder .. "/received.txt", game.npc.received)
    write(folder .. "/result.txt", table.concat(lines))
    love.event.quit()
  end

  local function take_picture()
    result.letters_at_picture = #game.npc.typewriter.ends
    result.busy_at_picture = game.npc:is_busy()
    love.graphics.captureScreenshot(function(image)
      write(folder .. "/picture.png", image:encode("png"):getString())
      result.width, result.height = image:getDimensions()
      result.colors = count_colors(image)
      -- writing it took longer than any frame
      last_frame, pause = nil, true
    end)
  end

  local update = love.update
  local due = begin
  function love.update(dt)
    -- a virtual screen has no refresh to wait for
    due = math.max(due + FRAME, now())
    love.timer.sleep(due - now())
    local time = now()
    assert(time - begin < GIVE_UP, "the answer did not end")
    if last_frame and phase == "stream" then
      table.insert(frames, time - last_frame)
    end
    last_frame = not pause and time or nil
    pause = false

    local before = now()
    update(dt)
    result.longest_update = math.max(result.longest_update or 0, now() - before)

    local npc = game.npc
    result.pondered = result.pondered or npc.mood == "pondering"
    if phase == "calm" and time - begin > CALM then
      phase, result.asked_at = "stream", now()
      ask("What's a vector?")
    elseif phase == "stream" then
      -- an answer of a few words is not worth a picture, but still the end
      if not result.letters_at_picture and npc.mood == "speaking"
          and #npc.typewriter.ends >= LETTERS_AT_PICTURE then
        take_picture()
      elseif npc.mood == "silent" and (result.colors or not result.letters_at_picture) then
        phase = "done"
        finish()
      end
    end
  end
end

return selftest
