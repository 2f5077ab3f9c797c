--- For screenshot.sh: the answers in the picture of the plugin. Writes the address of their
--- server to the file that it is given and runs until it is ended.

local FIRST = [[
Yes: a last line without a newline is **lost**, since the
pattern wants a `"\n"` behind each of them.]]

local SECOND = [[
Make the newline optional by adding one where it is missing:

```lua
local function lines_of(text)
  if text:sub(-1) ~= "\n" then
    text = text .. "\n"
  end
  return text:gmatch("(.-)\r?\n")
end
```

- `.-` is lazy, so an empty line stays an empty line
- `\r?` takes the carriage return of files from Windows

An empty file now has one]]

require("examples.nvim.scripted_answers")({ FIRST, SECOND }, arg[1])
