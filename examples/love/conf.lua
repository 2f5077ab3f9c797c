--- LÖVE reads this before the game starts.

function love.conf(t)
  t.identity = "opperchat-owl"
  t.version = "11.4"
  t.window.title = "opperchat: the owl by the lake"
  t.window.width, t.window.height = 1200, 675
  t.window.minwidth, t.window.minheight = 480, 270
  t.window.resizable = true
  t.window.msaa = 4

  if os.getenv("OPPERCHAT_LOVE_TEST") then
    t.window.width, t.window.height = 800, 450
  end

  for _, module in ipairs{ "audio", "sound", "physics", "joystick", "video", "touch" } do
    t.modules[module] = false
  end
end
