---What `--help` says, and `/help` in a chat.
local help = {}

help.TEXT = [[
opperchat - ask a language model

  opperchat What is a vector?
  opperchat -c Give me an example in 3D.
  git diff | opperchat "Write a commit message"
  opperchat -a invoice.pdf --schema "number, total float" "What is to be paid?"
  opperchat                                      without a question: a chat

Asking
  -m, --model NAME       who answers; --models lists what there is
  -s, --system TEXT      what the model is told before the question
  -a, --attach FILE      image, PDF, text, sound or URL; may be repeated
  -o, --option KEY=VALUE parameter of the model, such as temperature=0
      --schema SCHEMA    answer in JSON: "name, age int" or JSON Schema
      --no-stream        print the answer when it is complete
  -u, --usage            tokens and cost, on stderr

Chats
  -c, --continue         go on with the last chat
      --chat ID          go on with this one
  -i, --interactive      a chat, also with a question to begin with
  -l, --list             chats, the newest first
      --show ID          what was said in one
      --no-save          keep nothing of this

Server
      --base-url URL     another server; else OPPER_BASE_URL, else Opper
      --key-file FILE    its key; else OPPER_API_KEY
      --models [TEXT]    its models, those with TEXT in their name
      --doctor           find out why it does not work
      --debug            show every request and answer on stderr
  -h, --help   -V, --version

OPPERCHAT_MODEL names the model when -m does not. What is read from a pipe comes
before the question. `--` ends the options.
]]

help.CHAT = [[
/undo            take the last question and its answer back
/retry           ask the last question again
/model [NAME]    who answers from now on
/system [TEXT]   what the model is told before everything else
/attach FILE     send this along with the next question
/usage           tokens and cost so far
/compact         let a summary stand for all but the last turn
/save FILE       the chat as .md, as .json (messages), or as it is kept
/list            chats that are kept
/help            this list
/quit            leave; so does Ctrl-D

Ctrl-C stops an answer. A question of several lines: end a line with \, or put
""" before and after. One that begins with / needs a space before it.
]]

return help
