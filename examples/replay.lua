--- A program that talks to a model, tested without one: it plays the tape
-- beside it, at the speed at which it was recorded.
--
--   lua5.4 examples/replay.lua              plays examples/replay.jsonl
--   lua5.4 examples/replay.lua --record     records it anew (OPPER_API_KEY=...,
--                                           or OPPER_BASE_URL of another server)

local opperchat = require "opperchat"

local here = arg[0]:match("^(.*[/\\])") or "./"
local TAPE = here .. "replay.jsonl"

-- The program: a guide that looks things up.
local function ask_guide(client, question)
  local chat = opperchat.conversation{
    client = client,
    model = "openai/gpt-5-mini",
    system = "You are a guide of a small museum. Use your tools.",
    tools = {
      {
        name = "opening_hours",
        description = "When the museum is open on a day of the week",
        parameters = { day = "string" },
        run = function(arguments)
          return arguments.day == "Monday" and "closed" or "10 to 18"
        end,
      },
    },
  }
  return chat:run(question, {
    on_delta = function(text)
      io.write(text)
      io.flush()
    end,
  })
end

local is_recording = arg[1] == "--record"
local client
if is_recording then
  os.remove(TAPE)
  client = opperchat.client{ record = TAPE }
else
  client = opperchat.client{ replay = TAPE, replay_speed = 1 }
end

local reply, err = ask_guide(client, "Can I come on Monday?")
print()
if not reply then
  io.stderr:write("replay: ", tostring(err), "\n")
  os.exit(1)
end
print(("[%d requests, %d tokens]"):format(reply.steps, reply.usage.total_tokens))

-- What a test would check: the answer, and that nothing else was expected.
if not is_recording then
  assert(reply.content:find("closed", 1, true))
  assert(#client:replay_left() == 0)
end
assert(client:close())
