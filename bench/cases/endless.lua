local POLICIES = {
  { "fit", "fit", { cached = 85, fill = 65 } },
  { "keep_slack", "keep with slack", {} },
  { "keep", "keep without slack", {} },
  { "sliding", "a plain sliding window", {} },
}

return {
  name = "endless",
  title = "What policies leave of a prompt cache",
  text = [[
500 turns under a budget of 8,000 tokens: which share of the prompt stood at the beginning of the
request before as well, how full the budget is on average, and what a prompt costs in tokens when a
cached one costs a tenth.]],
  runs = function(kit)
    local rows = {}
    for _, policy in ipairs(POLICIES) do
      local name, label, least = policy[1], policy[2], policy[3]
      rows[#rows + 1] = { key = name .. "_cached", unit = "%", label = label .. ": cached",
        aim = least.cached and { least = least.cached } }
      rows[#rows + 1] = { key = name .. "_fill", unit = "%", label = "  how full",
        aim = least.fill and { least = least.fill } }
      rows[#rows + 1] = { key = name .. "_paid", unit = "tokens", label = "  paid for a prompt" }
    end
    return {
      { label = "500 turns", rounds = 1, contestants = { kit.opperchat("endless.lua") },
        rows = rows },
    }
  end,
}
