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

--- Where the middle half of the ratios lies that the rounds had, each by itself.
---@param above number[]
---@param below number[]
---@return number low
---@return number high
function statistics.ratio_between(above, below)
  local ratios = {}
  for i = 1, math.min(#above, #below) do
    ratios[i] = above[i] / below[i]
  end
  return statistics.quantile(ratios, 0.25), statistics.quantile(ratios, 0.75)
end

return statistics
