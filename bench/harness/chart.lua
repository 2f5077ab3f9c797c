--- Draws the figures as SVG: multiples of the floor, then how costs grow.
---
--- Colours are such that they can be read on a light and on a dark page; nothing is
--- drawn behind them.

local contestants = require "harness.contestants"
local show = require "harness.show"
local svg = require "harness.svg"

local chart = {}

local WIDTH, MARGIN = 860, 24
local COLORS = {
  floor = svg.TEXT, opperchat = "#e8590c", npm = "#3b82c4", plain = "#2f9e64", curl = "#9a68d0",
}

-- What the picture is about; memory, say, is no time.
local IS_TIME = { ns = true, us = true, ms = true }

-- 1, 2, 5, 10, 20, ... from one power of ten below `low` on.
local function steps(low, high)
  local list, power = {}, 10 ^ math.floor(math.log(low) / math.log(10))
  while power <= high do
    for _, digit in ipairs{ 1, 2, 5 } do
      local step = digit * power
      if step >= low * 0.999 and step <= high * 1.001 then
        list[#list + 1] = step
      end
    end
    power = power * 10
  end
  return list
end

-- The place of values between two ends, in logarithms.
local function scale(low, high, from, to)
  local base, span = math.log(low), math.log(high) - math.log(low)
  return function(value)
    return from + (math.log(value) - base) / span * (to - from)
  end
end

local function extent(values, least, most)
  local low, high = least, most
  for _, value in ipairs(values) do
    low, high = math.min(low, value), math.max(high, value)
  end
  return low, high
end

-- ---------------------------------------------------------------------------
-- Multiples of the floor, a line for each contestant
-- ---------------------------------------------------------------------------

local LINE, TITLE, GAP, LABELS = 17, 21, 9, 118

local function summary_rows(results)
  local rows, ratios = {}, {}
  for _, result in ipairs(results) do
    for _, row in ipairs(result.rows) do
      if row.summary and row.ratios.opperchat and IS_TIME[row.unit] then
        rows[#rows + 1] = row
        for _, ratio in pairs(row.ratios) do
          ratios[#ratios + 1] = ratio
        end
      end
    end
  end
  return rows, ratios
end

local function add_multiples(draw, results, top)
  local rows, ratios = summary_rows(results)
  if not rows[1] then
    return top
  end
  draw.text(MARGIN, top + 16, "CPU time of the client, as a multiple of bare libcurl's",
    { size = 16, weight = "600" })
  draw.text(MARGIN, top + 35, "The same exchange with the same server; less is better. "
    .. "The line at 1x is bare libcurl. The scale is logarithmic.", { size = 12, color = svg.TEXT })
  local y, low, high = top + 72, extent(ratios, 0.5, 2)
  local at = scale(low, high * 1.1, LABELS + MARGIN, WIDTH - MARGIN - 62)
  local marks = steps(low, high * 1.1)
  for _, step in ipairs(marks) do
    draw.text(at(step), y - 10, ("%gx"):format(step),
      { size = 11, anchor = "middle", color = svg.TEXT })
  end
  for _, row in ipairs(rows) do
    draw.text(MARGIN, y + 13, row.summary, { size = 13, weight = "600" })
    y = y + TITLE
    local lines, first = svg.behind(draw), y
    for i = 2, #contestants.NAMES do
      local name = contestants.NAMES[i]
      local ratio = row.ratios[name]
      if ratio then
        local weight = name == "opperchat" and "600" or nil
        draw.text(LABELS + MARGIN - 40, y + 12, contestants.TITLES[name],
          { size = 12, anchor = "end", weight = weight })
        draw.line(at(1), y + 8, at(ratio), y + 8, { color = COLORS[name], width = 6 })
        draw.circle(at(ratio), y + 8, 5, COLORS[name])
        draw.text(math.max(at(ratio), at(1)) + 10, y + 12, show.ratio(ratio),
          { size = 12, weight = weight })
        y = y + LINE
      end
    end
    for _, step in ipairs(marks) do
      lines.line(at(step), first - 2, at(step), y + 1,
        { color = svg.TEXT, opacity = step == 1 and 0.9 or 0.25 })
    end
    y = y + GAP
  end
  return y + 16
end

-- ---------------------------------------------------------------------------
-- How costs grow
-- ---------------------------------------------------------------------------

local PLOT = 240

local function plot_values(result)
  local series, values = {}, {}
  for _, name in ipairs(contestants.NAMES) do
    local points = {}
    for i, x in ipairs(result.case.chart.at) do
      local row = result.rows[i]
      if row and row.values[name] then
        points[#points + 1] = { x, row.values[name] }
        values[#values + 1] = row.values[name]
      end
    end
    if points[1] then
      series[#series + 1] = { name = name, points = points }
    end
  end
  return series, values
end

-- Names at the ends of lines, moved apart where they would overlap.
local function place_names(draw, names, right)
  table.sort(names, function(a, b)
    return a.y < b.y
  end)
  local last = -math.huge
  for _, entry in ipairs(names) do
    last = math.max(entry.y, last + 14)
    draw.text(right + 10, last + 4, contestants.TITLES[entry.name],
      { size = 12, color = COLORS[entry.name], weight = "600" })
  end
end

local function add_plot(draw, result, left, width, top)
  local about, unit = result.case.chart, result.rows[1].unit
  local series, values = plot_values(result)
  local low, high = extent(values, math.huge, 0)
  low, high = low / 1.3, high * 1.3
  local right, bottom = left + width - 100, top + 60 + PLOT
  local x = scale(about.at[1], about.at[#about.at], left + 44, right)
  local y = scale(low, high, bottom, top + 60)
  draw.text(left, top + 16, "CPU time of " .. about.title, { size = 14, weight = "600" })
  draw.text(left, top + 34, unit .. "; both scales are logarithmic",
    { size = 12, color = svg.TEXT })
  for _, step in ipairs(steps(low, high)) do
    local is_power = ("%g"):format(step):find("^[0.]*10*$")
    if is_power or high / low < 200 then
      draw.line(left + 44, y(step), right, y(step), { color = svg.TEXT, opacity = 0.25 })
      draw.text(left + 38, y(step) + 4, show.number(step):gsub("%.0+$", ""),
        { size = 11, anchor = "end", color = svg.TEXT })
    end
  end
  for _, value in ipairs(about.at) do
    draw.text(x(value), bottom + 18, show.number(value):gsub("%.0+$", ""),
      { size = 11, anchor = "middle", color = svg.TEXT })
  end
  draw.text((left + 44 + right) / 2, bottom + 36, about.x,
    { size = 12, anchor = "middle", color = svg.TEXT })
  local names = {}
  -- the floor last: its dashes lie on what is as fast
  for at = #series, 1, -1 do
    local line, points = series[at], {}
    for i, point in ipairs(line.points) do
      points[i] = { x(point[1]), y(point[2]) }
      draw.circle(points[i][1], points[i][2], 3.5, COLORS[line.name])
    end
    draw.polyline(points, { color = COLORS[line.name],
      width = line.name == "opperchat" and 3 or 2,
      dashes = line.name == "floor" and "5 4" or nil })
    local last = points[#points]
    -- a line that ends early is named where it ends
    if last[1] > right - 1 then
      names[#names + 1] = { name = line.name, y = last[2] }
    else
      draw.text(last[1] + 8, last[2] - 6, contestants.TITLES[line.name],
        { size = 12, color = COLORS[line.name], weight = "600" })
    end
  end
  place_names(draw, names, right)
  return bottom + 52
end

--- The whole chart.
---@param results { case: table, rows: table[] }[]
---@return string
function chart.render(results)
  local draw = svg.new()
  local bottom = add_multiples(draw, results, MARGIN)
  local plots = {}
  for _, result in ipairs(results) do
    if result.case.chart and result.rows[1].values.opperchat then
      plots[#plots + 1] = result
    end
  end
  local width, lowest = (WIDTH - 2 * MARGIN) / 2, bottom
  for i, result in ipairs(plots) do
    local left = MARGIN + (i - 1) % 2 * width
    lowest = math.max(lowest, add_plot(draw, result, left, width, bottom))
  end
  return draw.finish(WIDTH, lowest + MARGIN,
    "CPU time of the client's process beside bare libcurl's")
end

return chart
