---opperchat: conversations with language models.
---
---    local opperchat = require "opperchat"
---    local chat = opperchat.conversation { model = "openai/gpt-5-mini" }
---    local reply = assert(chat:send("What's a vector?"))
---    print(reply.content)
---
---What is behind a name is loaded when it is first used; loading this costs
---little, and neither libcurl nor anything of TLS is touched. The annotations
---are in types.lua.
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"

-- At once, and not in the middle of a program: it is what can be missing, or
-- built for another Lua.
lazy.expect_core()

local opperchat = {
  ---The version of this module.
  version = "0.1.0",
  ---JSON's null, where a table needs one.
  null = json.null,
  ---Marks a table as a list, so that it is written as `[]` when it is empty.
  array = json.array,
  ---What keeps a conversation short: keep, fit, shrink, summarize, remember,
  ---pipeline.
  policy = require "opperchat.policies",
  ---How texts are counted; `tokens.count` may be replaced.
  tokens = require("opperchat.counter").public,
  ---Plain lists of messages: split, check, repair.
  history = lazy.fill({ INTERRUPTED = require "opperchat.interrupted" }, "opperchat.history",
    { "split", "check", "repair" }),

  ---Makes a client: connections, credentials, timeouts and limits.
  client = lazy.call("opperchat.client", "new"),
  ---A key from the environment, a file or a command, for `api_key`.
  secret = lazy.call("opperchat.secret", "new"),
  ---Looks for what is wrong between this program and its server.
  doctor = lazy.call("opperchat.doctor", "run"),
  ---What kind of object a value is.
  type = lazy.call("opperchat.core", "kind"),
}

-- Makes a conversation: of options; of a file; of a plain list of messages.
lazy.fill(opperchat, "opperchat.conversation", { "load", "import" })
opperchat.conversation = lazy.call("opperchat.conversation", "new")

-- Moves every client forward; runs a function in which waiting does not
-- block; waits for some time.
lazy.fill(opperchat, "opperchat.driver", { "poll", "go", "sleep" })

-- An image, a file, audio for a prompt.
lazy.fill(opperchat, "opperchat.media", { "image", "file", "audio" })

return opperchat
