-- Commands that load the plugin when they are first used; until then it costs
-- nothing but this file. See :help opperchat.

if vim.g.loaded_opperchat then
  return
end
vim.g.loaded_opperchat = true

if vim.fn.has("nvim-0.7") == 0 then
  vim.notify("opperchat needs Neovim 0.7 or later", vim.log.levels.ERROR)
  return
end

-- The C part is below build/, where Neovim does not look by itself: so `require
-- "opperchat"` works in other plugins, too.
package.preload["opperchat.core"] = package.preload["opperchat.core"] or function()
  return require("opperchat.nvim.build").load()
end

local function command(name, options, handler)
  vim.api.nvim_create_user_command(name, function(given)
    require("opperchat.nvim.commands")[handler](given)
  end, options)
end

command("Opper", {
  nargs = "*", bang = true, range = true,
  desc = "Ask a model, with the range as context; with ! in a new conversation",
}, "ask")

command("OpperStop", {
  bang = true, desc = "End the answer that is on its way; with ! all of them",
}, "stop")

command("OpperResume", {
  nargs = "?", desc = "Go on with a conversation out of the journals",
  complete = function(...)
    return require("opperchat.nvim.commands").complete_journals(...)
  end,
}, "resume")
