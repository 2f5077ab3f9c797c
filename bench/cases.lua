--- The cases in the order of the report. Each name is a file of bench/cases/ that
--- returns a case or a list of them (see harness/measure.lua).

local FILES = {
  "requests", "history", "burst", "single", "paced", "frames", "first",
  "edits", "memory", "garbage", "require", "size", "policy", "journal", "media", "endless",
}

local cases = {}
for _, name in ipairs(FILES) do
  local found = require("cases." .. name)
  for _, case in ipairs(found.name and { found } or found) do
    cases[#cases + 1] = case
  end
end
return cases
