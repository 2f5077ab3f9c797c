return {
  name = "policy",
  title = "Policies on 10,000 messages",
  text = "keep, fit and shrink, the slowest of them; 10 MB of messages.",
  runs = function(kit)
    return {
      {
        label = "the slowest policy",
        rounds = 3,
        contestants = { kit.opperchat("policy.lua") },
        rows = { { key = "ms", unit = "ms", aim = { most = 5 } } },
      },
    }
  end,
}
