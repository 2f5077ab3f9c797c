return {
  name = "size",
  title = "Size of the module",
  text = [[
What has to be installed: the shared object without debugging symbols, and the Lua files. libcurl
and lua-cjson come from the system. Beside it the scripts of the npm package, which knows the whole
of OpenAI's API.]],
  runs = function(kit)
    return {
      {
        label = "the module",
        rounds = 1,
        contestants = { kit.opperchat("size.lua"), kit.npm_size() },
        rows = {
          { key = "core", scale = 1 / 1024, unit = "KB", label = "core.so, stripped",
            only = { opperchat = true } },
          { key = "scripts", scale = 1 / 1024, unit = "KB", label = "the scripts" },
          { key = "files", unit = "files", label = "  how many" },
        },
      },
    }
  end,
}
