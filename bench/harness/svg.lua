--- Shapes of an SVG picture.

local svg = {}

--- A grey that can be read on white and on black.
svg.TEXT = "#6f7782"

local function escape(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"))
end

local function number(value)
  return (("%.1f"):format(value):gsub("%.0$", ""))
end

local function attributes(style)
  local text = (' stroke="%s" stroke-width="%g"'):format(style.color, style.width or 1)
  if style.opacity then
    text = text .. (' stroke-opacity="%g"'):format(style.opacity)
  end
  if style.dashes then
    text = text .. (' stroke-dasharray="%s"'):format(style.dashes)
  end
  return text
end

local function new_shapes(parts)
  local draw = { parts = parts }

  function draw.text(x, y, text, style)
    parts[#parts + 1] = ('<text x="%s" y="%s" font-size="%d" fill="%s"%s%s>%s</text>'):format(
      number(x), number(y), style.size, style.color or svg.TEXT,
      style.anchor and (' text-anchor="%s"'):format(style.anchor) or "",
      style.weight and (' font-weight="%s"'):format(style.weight) or "", escape(text))
  end

  function draw.line(x1, y1, x2, y2, style)
    parts[#parts + 1] = ('<line x1="%s" y1="%s" x2="%s" y2="%s"%s/>'):format(number(x1),
      number(y1), number(x2), number(y2), attributes(style))
  end

  function draw.circle(x, y, radius, color)
    parts[#parts + 1] = ('<circle cx="%s" cy="%s" r="%g" fill="%s"/>'):format(number(x), number(y),
      radius, color)
  end

  function draw.polyline(points, style)
    local places = {}
    for i, point in ipairs(points) do
      places[i] = number(point[1]) .. "," .. number(point[2])
    end
    parts[#parts + 1] = ('<polyline points="%s" fill="none"%s/>'):format(
      table.concat(places, " "), attributes(style))
  end

  return draw
end

--- A new picture: `text`, `line`, `circle` and `polyline` draw, `finish` returns it.
function svg.new()
  local parts = {}
  local draw = new_shapes(parts)

  ---@param title string for those who cannot see it
  ---@return string
  function draw.finish(width, height, title)
    local lines = {
      ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
        .. 'role="img" font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">')
        :format(width, height, width, height),
      "<title>" .. escape(title) .. "</title>",
    }
    for _, part in ipairs(parts) do
      lines[#lines + 1] = type(part) == "table" and table.concat(part, "\n") or part
    end
    lines[#lines + 1] = "</svg>\n"
    return table.concat(lines, "\n")
  end

  return draw
end

--- Shapes that lie behind those drawn from now on, whenever they are drawn.
function svg.behind(draw)
  local parts = {}
  draw.parts[#draw.parts + 1] = parts
  return new_shapes(parts)
end

return svg
