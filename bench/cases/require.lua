-- What it costs to load the module, and what comes with its first use.
return {
  name = "require",
  title = "require \"opperchat\" in a new process",
  text = "What is loaded when; medians of several processes.",
  runs = function(kit)
    return { {
      label = "require", rounds = 1, contestants = { kit.opperchat("require.lua") },
      rows = {
        { key = "require_ms", unit = "ms", label = "require \"opperchat\"", aim = { most = 2 } },
        { key = "require_kb", unit = "KB", label = "  memory of Lua" },
        { key = "require_files", unit = "files", label = "  files of Lua" },
        { key = "require_objects", unit = "objects", label = "  shared objects" },
        { key = "core_ms", unit = "ms", label = "the core, at the first use of anything" },
        { key = "chat_ms", unit = "ms", label = "the first conversation" },
        { key = "client_ms", unit = "ms", label = "the first client" },
        { key = "all_ms", unit = "ms", label = "all modules at once" },
      },
    } }
  end,
}
