--- Plays a little in front of the camera and takes the picture of the README.
-- screenshot.sh runs it inside the game, with OPPERCHAT_LOVE_SCRIPT.

local opperchat = require "opperchat"

local picture = assert(os.getenv("OPPERCHAT_LOVE_PICTURE"), "where does the picture go?")

-- An error ends the game instead of waiting in a window for a key.
function love.errorhandler(message)
  io.stderr:write(debug.traceback(tostring(message), 2), "\n")
  return function() return 1 end
end

-- Waits in the game's own frames.
local function wait_until(condition)
  for _ = 1, 400 do
    if condition() then
      return
    end
    opperchat.sleep(0.05)
  end
  error("it did not come to that")
end

return function(game)
  opperchat.go(function()
    game.next_gossip = math.huge
    game.player.x = 560
    game.camera = 110
    opperchat.sleep(0.8)
    local finn = game.npcs.Finn
    game.player.goal = 642
    wait_until(function() return game.near == finn and not game.player.goal end)
    game.say("Play something merry!")
    wait_until(function() return not finn:is_busy() and finn.mood == "quiet" end)
    game.start_gossip(1)
    local marta, sela = game.npcs.Marta, game.npcs.Sela
    wait_until(function() return sela.mood == "speaking" or marta.mood == "speaking" end)
    game.say("Who took the silver lantern?")
    wait_until(function()
      return finn.mood == "speaking" and #finn.typewriter.ends > 50
    end)
    love.graphics.captureScreenshot(function(image)
      local file = assert(io.open(picture, "wb"))
      assert(file:write(image:encode("png"):getString()))
      file:close()
      love.event.quit()
    end)
  end)
end
