--- The lower edge: the portrait of the one who listens, lines to pick from, and
-- where the player types. Above it the bag, and what has happened.

local utf8 = require "utf8"
local figure = require "art.figure"
local street = require "art.street"

local lg = love.graphics

local Bar = {}
Bar.__index = Bar

local LEFT, TOP, WIDTH, HEIGHT = 92, 492, 846, 32
local CHIPS_TOP = 462
local LONGEST_LINE = 200 -- characters

local DARK = { 0.09, 0.07, 0.19 }
local CREAM = { 1, 0.96, 0.89 }
local GOLD = { 1, 0.79, 0.45 }

---@param options { on_say: fun(text: string), on_stop: fun() }
function Bar.new(options)
  return setmetatable({ options = options, text = "", time = 0, chips = 0 }, Bar)
end

---@param dt number
---@param game table
function Bar:update(dt, game)
  self.time = self.time + dt
  self.npc = game.near
  local partner = game.partner
  self.can_stop = partner and (partner:is_busy() or partner.typewriter:is_typing())
  local goal = self.npc and self.text == "" and 1 or 0
  self.chips = self.chips + (goal - self.chips) * (1 - math.exp(-10 * dt))
end

--- A line to pick has its number as its key, as long as nothing is typed.
---@param text string
function Bar:text_input(text)
  local line = self.npc and self.text == "" and self.npc.person.lines[tonumber(text)]
  if line then
    self.options.on_say(line)
  elseif utf8.len(self.text) < LONGEST_LINE and (self.text ~= "" or text ~= " ") then
    self.text = self.text .. text
  end
end

---@param key string
function Bar:key_pressed(key)
  if key == "backspace" and self.text ~= "" then
    self.text = self.text:sub(1, utf8.offset(self.text, -1) - 1)
  elseif (key == "return" or key == "kpenter") and self.text:find("%S") and self.npc then
    local text = self.text
    self.text = ""
    self.options.on_say(text)
  elseif key == "escape" then
    self.options.on_stop()
  end
end

local function pill(x, y, width, height, tint, alpha)
  lg.setColor(tint[1], tint[2], tint[3], alpha)
  lg.rectangle("fill", x, y, width, height, height / 2)
end

-- A key cap with what it does; returns where the next one goes.
local function draw_chip(font, x, y, key, text, alpha)
  local key_width = math.max(18, font:getWidth(key) + 10)
  local width = key_width + font:getWidth(text) + 20
  pill(x, y, width, 22, DARK, 0.78 * alpha)
  pill(x + 3, y + 3, key_width, 16, GOLD, alpha)
  lg.setFont(font)
  local text_y = y + (22 - font:getHeight()) / 2
  lg.setColor(0.17, 0.10, 0.24, alpha)
  lg.print(key, x + 3 + (key_width - font:getWidth(key)) / 2, text_y)
  lg.setColor(CREAM[1], CREAM[2], CREAM[3], alpha)
  lg.print(text, x + key_width + 10, text_y)
  return x + width + 8
end

local function draw_portrait(self, game, fonts)
  local x, y, radius = 48, 492, 36
  local npc = self.npc or game.partner
  lg.setColor(DARK)
  lg.circle("fill", x, y, radius + 3, 48)
  if npc then
    lg.stencil(function() lg.circle("fill", x, y, radius, 48) end, "replace", 1)
    lg.setStencilTest("greater", 0)
    local tint = figure.color(npc.person.look.coat)
    lg.setColor(0.45 + tint[1] * 0.4, 0.35 + tint[2] * 0.4, 0.45 + tint[3] * 0.4)
    lg.circle("fill", x, y, radius, 48)
    lg.push()
    lg.translate(x - 2, y + 27)
    lg.scale(1.7)
    figure.draw_bust(npc.body, game.world, {
      is_talking = npc.mood == "speaking" and npc.typewriter:is_typing(),
      is_thinking = npc.mood == "thinking" or npc.mood == "pondering",
    })
    lg.pop()
    lg.setStencilTest()
  end
  lg.setLineWidth(2.5)
  lg.setColor(GOLD[1], GOLD[2], GOLD[3], npc and 1 or 0.35)
  lg.circle("line", x, y, radius + 1, 48)
  if npc then
    local font, name = fonts.small, npc.name .. ", " .. npc.person.title
    local width = font:getWidth(name) + 18
    pill(math.max(6, x - width / 2), y - radius - 22, width, 19, DARK, 0.85)
    lg.setFont(font)
    lg.setColor(GOLD)
    lg.print(name, math.max(6, x - width / 2) + 9, y - radius - 22 + (19 - font:getHeight()) / 2)
  end
end

local function draw_input(self, font)
  pill(LEFT, TOP, WIDTH, HEIGHT, DARK, 0.86)
  lg.setLineWidth(1.2)
  lg.setColor(GOLD[1], GOLD[2], GOLD[3], 0.45)
  lg.rectangle("line", LEFT, TOP, WIDTH, HEIGHT, HEIGHT / 2)
  local text_y = TOP + (HEIGHT - font:getHeight()) / 2
  local room, text_width = WIDTH - 170, font:getWidth(self.text)
  lg.setFont(font)
  if self.text == "" then
    lg.setColor(CREAM[1], CREAM[2], CREAM[3], 0.55)
    lg.print(self.npc and "Say something to " .. self.npc.name .. "..."
      or "Walk up to somebody to talk.", LEFT + 24, text_y)
  else
    -- the end of a long line stays in sight
    local x1, y1 = lg.transformPoint(LEFT + 16, TOP)
    local x2, y2 = lg.transformPoint(LEFT + 20 + room, TOP + HEIGHT)
    lg.setScissor(x1, y1, x2 - x1, y2 - y1)
    lg.setColor(CREAM)
    lg.print(self.text, LEFT + 20 - math.max(0, text_width - room + 4), text_y)
    lg.setScissor()
  end
  if self.npc and self.time % 1 < 0.55 then
    lg.setColor(GOLD)
    lg.rectangle("fill", LEFT + 18 + math.min(text_width, room - 4), TOP + 8, 1.6, HEIGHT - 16)
  end
end

-- What happened last, in the upper middle.
local function draw_news(news, font)
  lg.setFont(font)
  for i, item in ipairs(news) do
    local alpha = math.min(1, item.age * 5, (5 - item.age) * 1.5)
    local width = font:getWidth(item.text) + 28
    local y = 16 + (i - 1) * 28
    pill(480 - width / 2, y, width, 23, DARK, 0.7 * alpha)
    lg.setColor(CREAM[1], CREAM[2], CREAM[3], alpha)
    lg.print(item.text, 480 - width / 2 + 14, y + (23 - font:getHeight()) / 2)
  end
end

---@param fonts table<string, table>
---@param game table
function Bar:draw(fonts, game)
  local x = LEFT + 60
  if self.chips > 0.02 and self.npc then
    for i, line in ipairs(self.npc.person.lines) do
      x = draw_chip(fonts.small, x, CHIPS_TOP, tostring(i), line, self.chips)
    end
  end
  draw_input(self, fonts.bar)
  local right = LEFT + WIDTH - 6
  if self.can_stop then
    draw_chip(fonts.small, right - 82, TOP + 5, "Esc", "stop", 1)
  else
    draw_chip(fonts.small, right - 152, TOP + 5, "\226\134\144 \226\134\146", "walk", 1)
    draw_chip(fonts.small, right - 62, TOP + 5, "Tab", "", 1)
  end
  draw_portrait(self, game, fonts)

  -- where the words come from; a script is not to be taken for a model
  local label = game.connection.label
  pill(12, 12, fonts.tiny:getWidth(label) + 32, 20, DARK, 0.6)
  lg.setColor(game.connection.offline and GOLD or { 0.55, 0.9, 0.65 })
  lg.circle("fill", 24, 22, 3.4, 16)
  lg.setFont(fonts.tiny)
  lg.setColor(CREAM)
  lg.print(label, 33, 22 - fonts.tiny:getHeight() / 2)

  local bag = 948
  for i = #game.world.purse, 1, -1 do
    bag = bag - 26
    pill(bag - 11, 12, 22, 22, DARK, 0.6)
    street.draw_item(game.world.purse[i], bag, 23)
  end
  draw_news(game.world.news, fonts.small)
end

return Bar
