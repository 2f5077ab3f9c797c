--- Medians and the like.

local statistics = {}

local function sorted(values)
  local copy = {}
  for i, value in ipairs(values) do
    copy[i] = value
  end
  table.sort(copy)
  return copy
end

--- The value below which a share of all values is; between two of them it is
--- interpolated.
---@param values number[]
---@param share number 0 to 1
---@return number
function statistics.quantile(values, share)
  local list = sorted(values)
  local at = 1 + (#list - 1) * share
  local low = math.floor(at)
  local high = math.min(#list, low + 1)
  return list[low] + (list[high] - list[low]) * (at - low)
end

---@param values number[]
---@return number
function statistics.median(values)
  return statistics.quantile(values, 0.5)
end

--- The ratios that the rounds had, each by itself: what is compared has run side by
--- side, so a machine that is slower for a while is so for both.
---@param above number[]
---@param below number[]
---@return number[]
function statistics.ratios(above, below)
  local ratios = {}
  for i = 1, math.min(#above, #below) do
    ratios[i] = above[i] / below[i]
  end
  return ratios
end

return statistics
