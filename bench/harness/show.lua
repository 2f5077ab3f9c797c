--- How figures, ratios and aims are written.

local show = {}

-- 12,345
local function grouped(digits)
  local text = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

--- Three digits that count, or all in front of the point.
---@param value number
---@return string
function show.number(value)
  local size = math.abs(value)
  if size == math.floor(size) and size < 1e6 then
    return (value < 0 and "-" or "") .. grouped(("%d"):format(size))
  elseif size >= 99.95 then
    return (value < 0 and "-" or "") .. grouped(("%.0f"):format(size))
  elseif size >= 9.995 then
    return ("%.1f"):format(value)
  elseif size >= 0.9995 then
    return ("%.2f"):format(value)
  elseif size < 0.0005 then
    return "0"
  end
  return (("%.3f"):format(value):gsub("0+$", ""))
end

---@param value? number
---@param unit string
---@return string
function show.figure(value, unit)
  if not value then
    return "-"
  end
  return show.number(value) .. (unit == "x" and "x" or " " .. unit)
end

--- A multiple: two digits behind the point while they say something.
---@param value? number
---@return string
function show.ratio(value)
  if not value then
    return "-"
  end
  return (value >= 99.5 and "%.0fx" or value >= 9.95 and "%.1fx" or "%.2fx"):format(value)
end

--- What a row has to be.
---@param row table
---@return string
function show.aim(row)
  local aim = row.aim
  if not aim then
    return ""
  elseif aim.ratio then
    return ("<= %gx"):format(aim.ratio)
  elseif aim.added then
    return ("<= %g %s added"):format(aim.added, row.unit)
  elseif aim.least then
    return ">= " .. show.figure(aim.least, row.unit)
  end
  return ("<= %g%s"):format(aim.most, row.unit == "x" and "x" or " " .. row.unit)
end

--- The figure that the aim is about.
---@param row table
---@return string
function show.judged(row)
  if row.aim.ratio then
    local shown = show.ratio(row.judged)
    -- 0.802 is not 0.8
    return not row.met and shown == show.ratio(row.aim.ratio) and ("%.3fx"):format(row.judged)
      or shown
  end
  return show.figure(row.judged, row.unit)
end

--- "met", "missed", "not measured: why" or nothing.
---@param row table
---@return string
function show.verdict(row)
  if not row.aim then
    return ""
  elseif row.open or row.met == nil then
    return "not measured: " .. (row.open or row.missing.opperchat or row.missing.floor or "?")
  end
  return row.met and "met" or "missed"
end

--- A figure with its multiple of the floor's.
---@param row table
---@param name string
---@return string
function show.beside(row, name)
  local value = row.values[name]
  if not value then
    return "-"
  elseif name == "floor" or not row.ratios[name] then
    return show.figure(value, row.unit)
  end
  return ("%s (%s)"):format(show.figure(value, row.unit), show.ratio(row.ratios[name]))
end

return show
