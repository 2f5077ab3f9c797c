--- For screenshot.sh: two answers. Writes the address of their server to the file that it is
--- given and runs until it is ended.

local FIRST = [[
Each turn of the loop waits until the next piece of the answer is here:

- in plain code it **blocks** the program,
- inside `opperchat.go` it **yields**, and everything else goes on.

A request that fails raises its error in the loop.]]

local SECOND = [[
```lua
opperchat.go(function()
  for text in chat:stream(question) do
    io.write(text)
  end
end)
```

The coroutine rests between two pieces; Neovim's own loop]]

require("examples.nvim.scripted_answers")({ FIRST, SECOND }, arg[1])
