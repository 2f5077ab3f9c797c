--- A speech bubble that grows with its text.
--
--   local bubble = Bubble.new{ width = 300, rows = 5, font = "speech", ... }
--   bubble:follow(npc, dt, fonts)      what somebody says, as it arrives
--   bubble:say("Good evening.")        or a line of the game's own,
--   bubble:update(dt, fonts)           which stays for some seconds
--   bubble:place(x, y, lean, others)   the tip of its tail
--   bubble:draw(fonts)

local Typewriter = require "ui.typewriter"

local lg = love.graphics

local Bubble = {}
Bubble.__index = Bubble

local SCREEN = 960 -- its width
local PADDING = 14
local RADIUS = 13
local TAIL = 18 -- height of the tail
local FADE = 0.16 -- seconds a letter takes to appear
local STAYS, READS = 3, 15 -- seconds after the end; and one more for so many letters

---@param options { width: number, rows: integer, font: string, paper: number[], ink: number[],
---  name: string?, tint: number[]? } `width` is that of its longest line; with more than
---  `rows` lines it scrolls; `name` stands on a tag of the color `tint`
function Bubble.new(options)
  return setmetatable({
    options = options,
    typewriter = Typewriter.new(),
    lines = {},
    width = 0, height = 0, -- of the text area, gliding towards what is needed
    scroll = 0,
    age = 0, quiet = 0,
    presence = 0,          -- 0 hidden to 1 open
    is_open = false,
    dots = false,
  }, Bubble)
end

-- Where each line begins and ends in the text, in bytes. The lines follow the
-- text that has arrived and not what is shown of it, so no letter moves again
-- once it stands there.
local function lay_out(self, font, text)
  if self.laid_out == text and self.laid_out_for == font then
    return
  end
  self.laid_out, self.laid_out_for, self.text = text, font, text
  local _, wrapped = font:getWrap(text, self.options.width)
  local lines, at = {}, 1
  for i, line in ipairs(wrapped) do
    line = line:gsub("%s+$", "")
    local first, last = text:find(line, at, true)
    lines[i] = { first = first, last = last, width = font:getWidth(line) }
    at = last + 1
  end
  -- white space at the end of the text may make one empty line too many
  if lines[1] and lines[#lines].last < lines[#lines].first then
    lines[#lines] = nil
  end
  self.lines = lines
end

local function glide(from, to, dt, rate)
  return to + (from - to) * math.exp(-rate * dt)
end

-- The lines of what is shown, and the room that they need.
local function arrange(self, dt, fonts)
  local font = fonts[self.options.font]
  self.age = self.age + dt
  self.presence = glide(self.presence, self.is_open and 1 or 0, dt, self.is_open and 14 or 10)
  lay_out(self, font, self.typewriter.ready)

  -- Room for the lines that are begun, and for the word that comes next.
  local shown, rows, width = self.typewriter:shown(), 0, self.dots and 44 or 0
  for _, line in ipairs(self.lines) do
    if line.first <= shown + 1 then
      rows = rows + 1
      width = math.max(width, line.width)
    end
  end
  rows = math.max(rows, 1)
  local visible = math.min(rows, self.options.rows)
  local row_height = font:getHeight() * 1.25
  local rate = self.presence < 0.2 and 1e9 or 16
  self.width = glide(self.width, width, dt, rate)
  self.height = glide(self.height, visible * row_height, dt, rate)
  self.scroll = glide(self.scroll, (rows - visible) * row_height, dt, 10)
  self.row_height = row_height
end

--- A line that is not typed, and that nobody streams.
---@param text string
function Bubble:say(text)
  local typewriter = Typewriter.new()
  typewriter:push(text)
  typewriter:finish()
  typewriter:skip()
  self.typewriter, self.line, self.dots = typewriter, typewriter, false
  self.is_open, self.quiet = true, 0
end

---@param dt number
---@param fonts table<string, table>
function Bubble:update(dt, fonts)
  self.quiet = self.quiet + dt
  self.typewriter:update(dt)
  self.is_open = self.is_open and self.quiet < STAYS + #self.typewriter.text / READS
  arrange(self, dt, fonts)
end

---@param npc table
---@param dt number
---@param fonts table<string, table>
function Bubble:follow(npc, dt, fonts)
  if npc.mood ~= "quiet" then
    self.typewriter, self.line, self.quiet = npc.typewriter, nil, 0
    self.dots = npc.mood == "thinking"
    self.is_open = true
  elseif self.line then
    return self:update(dt, fonts)
  else
    self.quiet = self.quiet + dt
    local text = npc.typewriter.text
    -- interrupted before the first word: there is nothing to read
    self.is_open = self.is_open and text ~= "" and self.quiet < STAYS + #text / READS
  end
  arrange(self, dt, fonts)
end

-- A soft shadow: many faint layers.
local function draw_shadow(x, y, width, height)
  for i = 1, 7 do
    lg.setColor(0.07, 0.03, 0.16, 0.045)
    local spread = 9 - i * 1.4
    lg.rectangle("fill", x - spread, y - spread + 6, width + spread * 2, height + spread * 2,
      RADIUS + spread)
  end
end

-- The tail, bent towards its tip at 0, 0.
local function draw_tail(base_x, base_y)
  local curve = {}
  for i = 0, 6 do
    local t = i / 6
    -- two quadratic curves that meet in the tip
    curve[#curve + 1] = { (1 - t) * (1 - t) * (base_x - 11) + 2 * t * (1 - t) * base_x * 0.7,
      base_y * (1 - t) * (1 - t) + 2 * t * (1 - t) * base_y * 0.35 }
    curve[#curve + 1] = { (1 - t) * (1 - t) * (base_x + 11) + 2 * t * (1 - t) * base_x * 0.9,
      base_y * (1 - t) * (1 - t) + 2 * t * (1 - t) * base_y * 0.35 }
  end
  for i = 1, #curve - 2 do
    local a, b, c = curve[i], curve[i + 1], curve[i + 2]
    lg.polygon("fill", a[1], a[2], b[1], b[2], c[1], c[2])
  end
end

-- The first line that the newest letters are on is printed letter by letter
-- where they still fade in, the rest in one go.
local function print_line(self, line, x, y, ink, alpha)
  local typewriter = self.typewriter
  local shown = typewriter:shown()
  local ends, born = typewriter.ends, typewriter.born
  local last = math.min(line.last, shown)
  if last < line.first then
    return
  end
  local i = #ends
  while i > 0 and ends[i] > line.first and typewriter.time - born[i] < FADE do
    i = i - 1
  end
  local solid = math.max(math.min(ends[i] or 0, last), line.first - 1)
  local colored = { { ink[1], ink[2], ink[3], alpha }, self.text:sub(line.first, solid) }
  local from = solid + 1
  for k = i + 1, #ends do
    if ends[k] >= from and ends[k] <= last then
      local fresh = math.min((typewriter.time - born[k]) / FADE, 1)
      colored[#colored + 1] = { ink[1], ink[2], ink[3], alpha * fresh }
      colored[#colored + 1] = self.text:sub(from, ends[k])
      from = ends[k] + 1
    end
  end
  lg.setColor(1, 1, 1)
  lg.print(colored, x, y)
end

local function draw_dots(x, y, ink, age)
  for i = 0, 2 do
    local bounce = math.max(0, math.sin(age * 5 - i * 0.8))
    lg.setColor(ink[1], ink[2], ink[3], 0.35 + 0.5 * bounce)
    lg.circle("fill", x + 8 + i * 14, y - bounce * 4, 4)
  end
end

function Bubble:is_visible()
  return self.presence > 0.01
end

--- Where it goes: as near to its owner as the others let it.
---@param x number
---@param y number
---@param lean number where the tail sits, 0 left to 1 right
---@param others table[] that have their places already
function Bubble:place(x, y, lean, others)
  local width, height = self.width + PADDING * 2, self.height + PADDING * 1.5
  -- who is beyond the edge is heard from there
  x = math.max(24, math.min(SCREEN - 24, x))
  local left = math.max(8, math.min(x - width * lean, SCREEN - 8 - width))
  local top = y - TAIL - height
  for _, other in ipairs(others) do
    local box = other.box
    if left < box.right + 6 and left + width > box.left - 6 and top < box.bottom + 14
        and top + height > box.top - 14 then
      top = box.top - 16 - height
    end
  end
  local is_new = self.presence < 0.2 or not self.top
  self.top = is_new and top or self.top + (top - self.top) * 0.2
  self.box = { left = left, top = top, right = left + width, bottom = top + height }
  self.x, self.y = x, y
end

---@param fonts table<string, table>
function Bubble:draw(fonts)
  local options, x, y = self.options, self.x, self.y
  local paper, ink = options.paper, options.ink
  local width, height = self.width + PADDING * 2, self.height + PADDING * 1.5
  local left, top = self.box.left - x, self.top - y

  lg.push()
  lg.translate(x, y + math.sin(self.age * 1.7) * 1.5)
  -- opens out of the tip, a little too far and back
  local size = self.presence + math.sin(self.presence * math.pi) * 0.08
  lg.scale(size)

  draw_shadow(left, top, width, height)
  lg.setColor(paper)
  local base_x = math.max(left + RADIUS + 14, math.min(-14, left + width - RADIUS - 14))
  draw_tail(base_x, top + height - 2)
  lg.rectangle("fill", left, top, width, height, RADIUS)
  -- a lighter edge where the sky shines on it
  lg.setLineWidth(1.5)
  lg.setColor(1, 1, 1, 0.6)
  lg.rectangle("line", left + 1.5, top + 1.5, width - 3, height - 3, RADIUS - 1.5)

  if options.name then
    local font = fonts.small
    local tag = font:getWidth(options.name) + 20
    lg.setColor(0.07, 0.03, 0.16, 0.18)
    lg.rectangle("fill", left + 14, top - 9, tag, 21, 10.5)
    lg.setColor(options.tint)
    lg.rectangle("fill", left + 14, top - 11, tag, 21, 10.5)
    lg.setFont(font)
    lg.setColor(1, 0.97, 0.9)
    lg.print(options.name, left + 24, top - 11 + (21 - font:getHeight()) / 2)
  end

  if size > 0.9 then
    local text_x, text_y = left + PADDING, top + PADDING * 0.85
    if self.dots then
      draw_dots(text_x, top + height / 2 + 2, ink, self.age)
    else
      local rows_fit = self.scroll < 0.5
      if not rows_fit then
        local x1, y1 = lg.transformPoint(left, top + 6)
        local x2, y2 = lg.transformPoint(left + width, top + height - 6)
        lg.setScissor(x1, y1, x2 - x1, y2 - y1)
      end
      lg.setFont(fonts[options.font])
      for i, line in ipairs(self.lines) do
        local line_y = text_y + (i - 1) * self.row_height - self.scroll
        if line_y > top - self.row_height then
          print_line(self, line, text_x, line_y, ink, 1)
        end
      end
      lg.setScissor()
    end
  end
  lg.pop()
end

return Bubble
