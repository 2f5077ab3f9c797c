--- LÖVE reads this before the game starts.

function love.conf(t)
  t.identity = "opperchat-lanternford" -- the save directory
  t.version = "11.4"
  t.window.title = "opperchat: the Lantern Feast"
  t.window.width, t.window.height = 1200, 675
  t.window.minwidth, t.window.minheight = 640, 360
  t.window.resizable = true
  t.window.msaa = 4

  if os.getenv("OPPERCHAT_LOVE_SCRIPT") then
    t.window.width, t.window.height = 960, 540
  end

  for _, module in ipairs{ "audio", "sound", "physics", "joystick", "video", "touch" } do
    t.modules[module] = false
  end
end
