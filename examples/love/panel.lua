--- Where the player types, with the questions to pick from, and a small plot of
-- the last frames: proof that nothing stutters while an answer comes in.

local utf8 = require "utf8"

local lg = love.graphics

local Panel = {}
Panel.__index = Panel

local LEFT, TOP, WIDTH, HEIGHT = 24, 408, 752, 30
local CHIPS_TOP = 380
local LONGEST_QUESTION = 200 -- characters

local DARK = { 0.09, 0.07, 0.19, 0.80 }
local CREAM = { 1, 0.96, 0.89 }
local GOLD = { 1, 0.79, 0.45 }

local FRAMES = 48

---@param options { questions: string[], on_ask: fun(question: string), on_stop: fun() }
function Panel.new(options)
  return setmetatable({
    options = options, text = "", time = 0, frames = {}, status = "", chips = 1,
  }, Panel)
end

---@param dt number
---@param npc table
function Panel:update(dt, npc)
  self.time = self.time + dt
  table.insert(self.frames, dt)
  if #self.frames > FRAMES then
    table.remove(self.frames, 1)
  end
  self.is_busy = npc:is_busy()
  self.can_stop = self.is_busy or npc.typewriter:is_typing()
  self.status = self.is_busy and (npc.mood == "speaking" and "streaming" or "waiting") or "ready"
  local goal = (self.can_stop or self.text ~= "") and 0 or 1
  self.chips = self.chips + (goal - self.chips) * (1 - math.exp(-10 * dt))
end

--- A question to pick has its number as its key, as long as nothing is typed.
---@param text string
function Panel:text_input(text)
  local question = self.text == "" and self.options.questions[tonumber(text)]
  if question then
    self.options.on_ask(question)
  elseif utf8.len(self.text) < LONGEST_QUESTION and (self.text ~= "" or text ~= " ") then
    self.text = self.text .. text
  end
end

---@param key string
function Panel:key_pressed(key)
  if key == "backspace" and self.text ~= "" then
    self.text = self.text:sub(1, utf8.offset(self.text, -1) - 1)
  elseif (key == "return" or key == "kpenter") and self.text:find("%S") then
    local question = self.text
    self.text = ""
    self.options.on_ask(question)
  elseif key == "escape" then
    self.options.on_stop()
  end
end

local function pill(x, y, width, height, tint)
  lg.setColor(tint)
  lg.rectangle("fill", x, y, width, height, height / 2)
end

local function chip_widths(font, key, text)
  local key_width = math.max(18, font:getWidth(key) + 10)
  return key_width, key_width + font:getWidth(text) + 20
end

-- A key cap with what it does; returns where the next one goes.
local function draw_chip(font, x, y, key, text, alpha)
  local key_width, width = chip_widths(font, key, text)
  pill(x, y, width, 22, { DARK[1], DARK[2], DARK[3], 0.66 * alpha })
  lg.setColor(GOLD[1], GOLD[2], GOLD[3], alpha)
  lg.rectangle("fill", x + 3, y + 3, key_width, 16, 8)
  lg.setFont(font)
  local text_y = y + (22 - font:getHeight()) / 2
  lg.setColor(0.17, 0.10, 0.24, alpha)
  lg.print(key, x + 3 + (key_width - font:getWidth(key)) / 2, text_y)
  lg.setColor(CREAM[1], CREAM[2], CREAM[3], alpha)
  lg.print(text, x + key_width + 10, text_y)
  return x + width + 8
end

local function draw_frames(self, font)
  local width = 158
  local x, y = 800 - 14 - width, 14
  pill(x, y, width, 24, { DARK[1], DARK[2], DARK[3], 0.55 })
  local tint = self.is_busy and GOLD or { 0.62, 0.90, 0.72 }
  local beat = self.is_busy and 0.8 + 0.2 * math.sin(self.time * 6) or 1
  lg.setColor(tint[1], tint[2], tint[3], beat)
  lg.circle("fill", x + 14, y + 12, 3.6, 16)
  lg.setFont(font)
  lg.setColor(CREAM)
  local text_y = y + (24 - font:getHeight()) / 2
  lg.print(self.status, x + 24, text_y)
  -- one bar a frame: the full height is a twentieth of a second
  for i, frame in ipairs(self.frames) do
    local height = math.min(16, math.max(1, frame / 0.05 * 16))
    lg.setColor(tint[1], tint[2], tint[3], 0.25 + 0.5 * i / FRAMES)
    lg.rectangle("fill", x + 94 + (i - 1), y + 20 - height, 1, height)
  end
end

---@param fonts table<string, table>
function Panel:draw(fonts)
  draw_frames(self, fonts.small)

  local x = LEFT
  if self.chips > 0.02 then
    for i, question in ipairs(self.options.questions) do
      x = draw_chip(fonts.small, x, CHIPS_TOP + (1 - self.chips) * 8, tostring(i), question,
        self.chips)
    end
  end

  pill(LEFT, TOP, WIDTH, HEIGHT, DARK)
  lg.setLineWidth(1.2)
  lg.setColor(GOLD[1], GOLD[2], GOLD[3], 0.45)
  lg.rectangle("line", LEFT, TOP, WIDTH, HEIGHT, HEIGHT / 2)

  local font = fonts.panel
  local text_y = TOP + (HEIGHT - font:getHeight()) / 2
  local text_width = font:getWidth(self.text)
  local room = WIDTH - 150
  lg.setFont(font)
  if self.text == "" then
    lg.setColor(CREAM[1], CREAM[2], CREAM[3], 0.5)
    lg.print("Ask the owl something...", LEFT + 26, text_y)
  else
    -- the end of a long question stays in sight
    local x1, y1 = lg.transformPoint(LEFT + 16, TOP)
    local x2, y2 = lg.transformPoint(LEFT + 20 + room, TOP + HEIGHT)
    lg.setScissor(x1, y1, x2 - x1, y2 - y1)
    lg.setColor(CREAM)
    lg.print(self.text, LEFT + 20 - math.max(0, text_width - room + 4), text_y)
    lg.setScissor()
  end
  if self.time % 1 < 0.55 then
    lg.setColor(GOLD)
    lg.rectangle("fill", LEFT + 20 + math.min(text_width, room - 4), TOP + 7, 1.6, HEIGHT - 14)
  end
  local key, deed = "< >", "walk"
  if self.can_stop then
    key, deed = "Esc", self.is_busy and "stop" or "skip"
  end
  local _, width = chip_widths(fonts.small, key, deed)
  draw_chip(fonts.small, LEFT + WIDTH - width - 4, TOP + 4, key, deed, 1)
end

return Panel
