---@meta
---The public classes and options, for editors with a Lua language server. Not
---a module: nothing loads it. The functions are annotated where they are written.

-- ---------------------------------------------------------------------------
-- Options
-- ---------------------------------------------------------------------------

---Seconds; false: no limit.
---@class opperchat.Timeouts
---@field connect? number|false until the connection is there (10)
---@field first_token? number|false until the first text, reasoning or tool fragment (300)
---@field idle? number|false after it, the longest silence (60)
---@field total? number|false the whole request (none)

---Opper's guards.
---@class opperchat.Guard
---@field input? string|string[] names of guards for what is sent
---@field output? string|string[] names of guards for the answer
---@field action? "flag"|"block"|"redact"

---A request has failed and waits to be sent again.
---@class opperchat.RetryEvent
---@field wait number seconds until then
---@field attempt integer how many times it was sent
---@field err opperchat.Error why it failed

---What is known of a request before it is sent.
---@class opperchat.RequestInfo
---@field conversation? opperchat.Conversation nil: models are asked for
---@field url string

---Opper's headers.
---@class opperchat.HeaderOptions
---@field name? string name of the function, for tracing
---@field tags? table<string, string|number> at most 8
---@field guard? opperchat.Guard

---Options of `opperchat.client`.
---@class opperchat.ClientOptions: opperchat.HeaderOptions
---@field api_key? string|fun(is_refused: boolean): string `OPPER_API_KEY` when left out; "": none
---@field base_url? string what stands before `/chat/completions`; left out: `OPPER_BASE_URL`,
---then Opper's
---@field headers? table<string, string>
---@field timeout? opperchat.Timeouts
---@field max_connections? integer
---@field max_response_bytes? integer (64 MiB)
---@field max_buffered_bytes? integer a stream pauses when so much waits for its reader (1 MiB)
---@field max_retries? integer how often a request that failed is sent again (2)
---@field retry_budget? integer the same for all requests of one turn (6)
---@field on_retry? fun(event: opperchat.RetryEvent, request: opperchat.Request)
---@field proxy? string URL; left out: what the environment says; "": none
---@field ca_file? string file with the certificates that are trusted
---@field http2? boolean (true)
---@field on_request? fun(info: opperchat.RequestInfo) called before each request

---Parameters of the model: fields of the request body.
---@class opperchat.BodyOptions
---@field model? string
---@field temperature? number
---@field top_p? number
---@field max_tokens? integer
---@field max_completion_tokens? integer
---@field stop? string|string[]
---@field seed? integer
---@field frequency_penalty? number
---@field presence_penalty? number
---@field reasoning_effort? string
---@field verbosity? string
---@field response_format? table
---@field tools? (opperchat.Tool|table)[] tables with a `type` are sent as they are
---@field tool_choice? string|table
---@field parallel_tool_calls? boolean
---@field user? string
---@field metadata? table<string, any>
---@field logit_bias? table<string|integer, number>
---@field logprobs? boolean
---@field top_logprobs? integer
---@field service_tier? string
---@field store? boolean
---@field prompt_cache_key? string
---@field extra? table<string, any> other fields of the body

---How an answer is received.
---@class opperchat.ReceivingOptions
---@field include_usage? boolean ask for token counts at the end of a stream (true)
---@field keep_partial? boolean keep the text of an answer that was cut short (false)
---@field schema? table JSON Schema of the answer, or its short form
---@field schema_retries? integer how often to ask again when the answer does not fit (0)
---@field fallback_models? string[] asked in turn when `model` is refused or exhausted

---Options of a conversation and of one request.
---@class opperchat.SharedOptions: opperchat.BodyOptions, opperchat.ReceivingOptions

---Options of `opperchat.conversation`.
---@class opperchat.ConversationOptions: opperchat.HeaderOptions, opperchat.SharedOptions
---@field client? opperchat.Client
---@field system? opperchat.Content the first message
---@field messages? opperchat.Message[] the messages after it
---@field trace_id? string a random UUID when left out
---@field policy? opperchat.PolicyLike|false what leaves the list before a request
---@field context_window? integer how many tokens the model takes
---@field on_drop? fun(messages: opperchat.Message[], report: opperchat.PolicyReport) messages that
---have left the list, or were replaced
---@field on_compact? fun(report: opperchat.PolicyReport, err?: opperchat.Error) a policy has
---changed the list, or could not
---@field max_cost? number US dollars for all requests together
---@field max_tokens_total? integer tokens of all requests together
---@field journal? string file in which the conversation is kept, turn by turn
---@field sync? boolean each line of the journal waits for the disk (false)

---Options of one `send`, `start` or `stream`.
---@class opperchat.SendOptions: opperchat.SharedOptions
---@field stream? boolean ask for the answer as a stream
---@field on_delta? fun(text: string)
---@field on_event? fun(event: opperchat.Event, request: opperchat.Request)
---@field on_done? fun(reply?: opperchat.Reply, err?: opperchat.Error)
---@field on_retry? fun(event: opperchat.RetryEvent, request: opperchat.Request)

---Options of one `run`.
---@class opperchat.RunOptions: opperchat.SendOptions
---@field max_steps? integer the most requests (10)
---@field on_tool? fun(event: opperchat.ToolEvent) called for each call
---@field confirm? fun(call: opperchat.ToolCall): boolean, string? whether a call may happen, and
---why not

---Options of `client:json`.
---@class opperchat.JsonOptions: opperchat.HeaderOptions, opperchat.SendOptions
---@field schema table JSON Schema of the value, or its short form
---@field input string|table a text, parts, or any other table, sent as JSON
---@field instructions? opperchat.Content
---@field trace_id? string a random UUID when left out

---A function that the model may call.
---@class opperchat.Tool
---@field name string 1 to 64 letters, digits, "_" or "-"
---@field description? string what it does, for the model
---@field parameters? table JSON Schema of the arguments, or its short form; left out: none
---@field run? fun(arguments: table, call: opperchat.ToolCall): any left out: the program answers
---@field confirm? fun(call: opperchat.ToolCall): boolean, string? whether a call may happen, and
---why not
---@field strict? boolean sent as it is

---Options of `client:models`.
---@class opperchat.ModelsOptions
---@field filter? string|fun(model: opperchat.Model): any part of the id, or what says whether a
---model is wanted
---@field refresh? boolean ask again (false)
---@field max_age? number seconds for which an earlier list will do (300)

---Options of images, files and audio.
---@class opperchat.MediaOptions
---@field type? string media type, for bytes that are not recognized
---@field max_bytes? integer how large it may be (32 MiB)

---@class opperchat.ImageOptions: opperchat.MediaOptions
---@field detail? "auto"|"low"|"high"

---@class opperchat.FileOptions: opperchat.MediaOptions
---@field name? string the name the model is told

---Bytes in the place of a path.
---@class opperchat.ImageData: opperchat.ImageOptions
---@field data string

---@class opperchat.FileData: opperchat.FileOptions
---@field data string

---@class opperchat.AudioData: opperchat.MediaOptions
---@field data string

---Options of `opperchat.policy.keep`.
---@class opperchat.KeepOptions
---@field turns integer how many of the last turns stay
---@field slack? integer so many more may gather before all of them go at once (0)

---Options of `opperchat.policy.fit`.
---@class opperchat.FitOptions
---@field tokens? integer the budget; left out: 85 % of the context window
---@field target? number share of it that is left after trimming (0.5)

---Options of `opperchat.policy.shrink`.
---@class opperchat.ShrinkOptions
---@field tokens? integer left out: the context window
---@field at? number share of `tokens` from which on it acts (0.65)
---@field turns? integer so many of the last turns stay as they are (2)
---@field max? integer bytes of a tool result that are not too many (500)
---@field preview? integer bytes of a longer one that stay (200)
---@field media? boolean whether old images, files and audio go (true)

---What summarize and remember have in common.
---@class opperchat.OlderOptions
---@field tokens? integer left out: the context window
---@field at? number share of `tokens` from which on it acts (0.85)
---@field target? number share that is left (0.5)
---@field turns? integer the last ones always stay (2)
---@field model? string who is asked; left out: the conversation's model
---@field prompt? string what it is told
---@field prefix? string what the message begins with
---@field role? "assistant"|"system"|"developer"|"user" of the message
---@field options? opperchat.BodyOptions parameters of that request

---Options of `opperchat.policy.summarize`. `prefix`: "Earlier: "; `role`: "assistant".
---@class opperchat.SummarizeOptions: opperchat.OlderOptions

---Options of `opperchat.policy.remember`. `prefix`: "What is known: "; `role`: "system".
---@class opperchat.RememberOptions: opperchat.OlderOptions
---@field schema? table JSON Schema of the facts, or its short form; left out: a list of texts
---@field merge? fun(known: any, found: any): any what becomes of the old and the new

---@class opperchat.PollOptions
---@field seconds? number how long it may wait for news (0)
---@field budget? number how many seconds it may go on calling handlers (no limit)

-- ---------------------------------------------------------------------------
-- Messages
-- ---------------------------------------------------------------------------

---@class opperchat.TextPart
---@field type "text"
---@field text string

---@class opperchat.ImageUrl
---@field url string|table an address or a `data:` URL; a table stands for bytes still to be read
---@field detail? string

---@class opperchat.ImagePart
---@field type "image_url"
---@field image_url opperchat.ImageUrl

---@class opperchat.FileContent
---@field filename string
---@field file_data string|table a `data:` URL; a table stands for bytes still to be read

---@class opperchat.FilePart
---@field type "file"
---@field file opperchat.FileContent

---@class opperchat.AudioContent
---@field data string base64
---@field format string "wav" or "mp3"

---@class opperchat.AudioPart
---@field type "input_audio"
---@field input_audio opperchat.AudioContent|table a table stands for bytes still to be read

---Any other part that the server knows.
---@class opperchat.OtherPart
---@field type string
---@field [string] any

---@alias opperchat.Part
---| opperchat.TextPart
---| opperchat.ImagePart
---| opperchat.FilePart
---| opperchat.AudioPart
---| opperchat.OtherPart

---@alias opperchat.Content string|opperchat.Part|(string|opperchat.Part)[]

---@alias opperchat.Role "system"|"developer"|"user"|"assistant"|"tool"

---@class opperchat.Message
---@field role opperchat.Role
---@field content? opperchat.Content
---@field name? string
---@field tool_calls? table[] as the API writes them
---@field tool_call_id? string of a `tool` message: the call it answers
---@field pinned? boolean no policy takes it out of the list; not sent
---@field [string] any

-- ---------------------------------------------------------------------------
-- Answers
-- ---------------------------------------------------------------------------

---@class opperchat.ToolCall
---@field id string
---@field name string
---@field arguments any decoded; nil when it is not JSON
---@field arguments_json string as the model wrote it

---What became of one call.
---@class opperchat.ToolEvent
---@field call opperchat.ToolCall
---@field result any what the tool returned
---@field error? string why it came to nothing
---@field step integer the number of the request whose reply called; 0: of an earlier run

---Absent: the server did not say. `requests` is there in the totals of a
---conversation, where all the others are too.
---@class opperchat.Usage
---@field requests? integer
---@field prompt_tokens? integer
---@field completion_tokens? integer
---@field total_tokens? integer
---@field cached_tokens? integer
---@field reasoning_tokens? integer
---@field cost? number US dollars

---Seconds since the start of the request.
---@class opperchat.Timing
---@field connect? number
---@field first_byte? number
---@field first_token? number
---@field total? number

---@class opperchat.Reply
---@field content? string
---@field finish_reason? string
---@field tool_calls? opperchat.ToolCall[]
---@field reasoning? string
---@field refusal? string
---@field usage? opperchat.Usage
---@field id? string
---@field model? string as the server names it
---@field trace_id? string Opper's id of the request
---@field served_model? string
---@field served_provider? string
---@field attempts integer how many times the request was sent
---@field requested_model? string with `fallback_models`: the one that has answered
---@field timing opperchat.Timing
---@field parsed any the answer as Lua values, where there was a schema
---@field steps? integer of `run`: the number of requests
---@field raw fun(): table? the whole answer, decoded

---@alias opperchat.ErrorKind
---| "network"
---| "tls"
---| "timeout"
---| "http"
---| "api"
---| "protocol"
---| "truncated"
---| "cancelled"
---| "limit"
---| "tool"
---| "schema"
---| "store"

---What ended a request without a reply. `tostring` gives one line.
---@class opperchat.Error
---@field kind opperchat.ErrorKind
---@field code string short name: the server's own where it gave one
---@field message string
---@field status? integer HTTP status of the response
---@field retryable boolean the same request may succeed later
---@field retry_after? number seconds the server asks to wait
---@field attempts? integer how many times the request was sent
---@field trace_id? string Opper's id of the request
---@field requested_model? string with `fallback_models`: the one that was asked last
---@field partial? opperchat.Reply what had arrived
---@field line? integer of a file: the line that is broken

---What is new: `text` of "content", "reasoning" and "refusal"; the others of "tool_call".
---@class opperchat.Event
---@field type "content"|"reasoning"|"refusal"|"tool_call"
---@field text? string
---@field index? integer 1 is the first call
---@field id? string in the first event of a call
---@field name? string in the first event of a call
---@field arguments? string a fragment of JSON text

---US dollars per token; absent: the server did not say.
---@class opperchat.Price
---@field prompt? number
---@field completion? number

---A model of a server. Absent: the server did not say.
---@class opperchat.Model
---@field id string
---@field context_length? integer how many tokens fit
---@field price? opperchat.Price
---@field owned_by? string
---@field raw table everything the server said of it

-- ---------------------------------------------------------------------------
-- Policies
-- ---------------------------------------------------------------------------

---Edits a draft of the list before a request.
---@class opperchat.Policy
---@field name string what it is called in reports
---@field apply fun(self: opperchat.Policy, draft: opperchat.Draft): boolean?, opperchat.Error?
---nil and an error: it could not
---@field asks? boolean whether it asks a model
---@field steps? opperchat.Policy[] what it consists of, in the place of `apply`

---What a function that is a policy is told.
---@class opperchat.PolicyInfo
---@field tokens integer of the request as it is
---@field how string see `chat:tokens`
---@field window? integer the model's context window, where it is known
---@field model? string
---@field is_forced boolean whether `compact` called

---The messages that are to be sent; nil: nothing is to change, or why it could not.
---@alias opperchat.PolicyFunction fun(messages: opperchat.Message[], info: opperchat.PolicyInfo):
---opperchat.Message[]?, any

---@alias opperchat.PolicyLike
---| opperchat.Policy
---| opperchat.PolicyFunction
---| (opperchat.Policy|opperchat.PolicyFunction)[]

---What one policy did.
---@class opperchat.PolicyReport
---@field policy string its name
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many it has written
---@field tokens_before? integer tokens of the request before; nil: it failed
---@field tokens_after? integer and after
---@field usage? opperchat.Usage of the requests it made
---@field in_background? boolean whether it worked between turns

---What `compact` has done.
---@class opperchat.CompactReport
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many were written
---@field tokens_before integer
---@field tokens_after integer
---@field policies opperchat.PolicyReport[] one for each policy that changed something

---What a request would come to.
---@class opperchat.Forecast
---@field tokens integer of the request
---@field how "measured"|"corrected"|"counted"|"estimated" see `chat:tokens`
---@field window? integer the model's context window, where it is known
---@field cost? number US dollars for the prompt alone, where the price is known
---@field messages integer how many are sent
---@field policies opperchat.PolicyReport[] what each policy would change
---@field would_ask string[] policies that would ask a model first
---@field err? opperchat.Error why it would not be sent
---@field body string the request's body, as of `preview`

---The list as a policy finds it and as it leaves it.
---@class opperchat.Draft
---@field list opperchat.Conversation the messages: read with `messages(i, j)` and `#`
---@field window? integer the model's context window, where it is known
---@field reserve integer tokens of it that the answer needs
---@field model? string
---@field is_forced boolean whether the policy is to act now, whatever the size
---@field can_ask boolean whether the model may be asked
---@field would_ask? boolean set it when you would ask and may not
---@field ask fun(messages: opperchat.Message[], options?: opperchat.AskOptions): opperchat.Reply?,
---opperchat.Error?
local Draft = {}

---What a policy may say when it asks a model.
---@class opperchat.AskOptions
---@field model? string left out: the conversation's
---@field schema? table JSON Schema of the answer, or its short form
---@field options? opperchat.BodyOptions parameters of the request

---The turns of a draft. Number 0 is what stands between the head and the first user message, if
---anything does.
---@class opperchat.DraftTurns
---@field head integer messages of the head
---@field head_tokens integer
---@field start integer number of the first turn: 0 or 1
---@field count integer number of the last one
---@field first integer[] index of the first message of each
---@field tokens integer[] estimates
---@field kept boolean[] whether it has a message that is pinned, a summary or facts

---Tokens of the request as the draft is now.
---@return integer tokens
---@return string how see `chat:tokens`
function Draft:tokens() end

---How many tokens the request may have.
---@param given? integer
---@param share? number share of the window when nothing is given (0.85)
---@return integer? limit nil: neither is known
function Draft:budget(given, share) end

---@return opperchat.DraftTurns
function Draft:turns() end

---@param turns opperchat.DraftTurns
---@param number integer
---@return integer index of the last message of a turn
function Draft:last_of(turns, number) end

---Drops turns. Ask for `turns` again afterwards.
---@param turns opperchat.DraftTurns
---@param drops table<integer, boolean> which
---@return integer dropped how many messages
function Draft:drop(turns, drops) end

---Replaces the messages `first` to `last` by others. Ask for `turns` again afterwards.
---@param first integer
---@param last integer
---@param messages opperchat.Message[]
---@param flag? "pinned"|"summary"|"facts" of all of them
function Draft:replace(first, last, messages, flag) end

---@param index integer
---@return opperchat.Message
function Draft:message(index) end

---What keeps a conversation short.
---@class opperchat.Policies
local Policies = {}

---Keeps the last turns.
---@param options opperchat.KeepOptions
---@return opperchat.Policy
function Policies.keep(options) end

---Trims to a number of tokens: the oldest turns go.
---@param options? opperchat.FitOptions
---@return opperchat.Policy
function Policies.fit(options) end

---Shortens old tool results and puts words in the place of old images and files.
---@param options? opperchat.ShrinkOptions
---@return opperchat.Policy
function Policies.shrink(options) end

---Has a model write a summary in the place of the oldest turns.
---@param options? opperchat.SummarizeOptions
---@return opperchat.Policy
function Policies.summarize(options) end

---Has a model take facts out of the oldest turns, which then go.
---@param options? opperchat.RememberOptions
---@return opperchat.Policy
function Policies.remember(options) end

---Policies one after another.
---@param policies (opperchat.Policy|opperchat.PolicyFunction)[]
---@return opperchat.Policy
function Policies.pipeline(policies) end

---How texts are counted.
---@class opperchat.Tokens
---@field count fun(text: string, model?: string): number to be replaced by an exact tokenizer

-- ---------------------------------------------------------------------------
-- Keeping
-- ---------------------------------------------------------------------------

---What there is to say of a file that was read.
---@class opperchat.LoadReport
---@field events integer how many lines were read behind the first one
---@field torn? opperchat.TornLine a last line that was cut off, and does not count
---@field repaired? opperchat.HistoryRepair[] what was mended

---@class opperchat.TornLine
---@field line integer
---@field bytes integer

---Options of `chat:splice`.
---@class opperchat.SpliceOptions
---@field repair? boolean mend what makes the list invalid (false)

---Where a part of a list is.
---@class opperchat.HistoryRange
---@field first integer
---@field last integer first - 1: nothing

---@class opperchat.HistorySplit
---@field head opperchat.HistoryRange system and developer messages at the beginning
---@field opening opperchat.HistoryRange what stands between them and the first turn
---@field turns opperchat.HistoryRange[] a user message and all up to the next one

---Why a list cannot be sent.
---@class opperchat.HistoryProblem
---@field index integer
---@field code string
---@field message string
---@field id? string of the call or the result

---What was done so that a list can be sent.
---@class opperchat.HistoryRepair
---@field index integer in the list that was given
---@field action "added"|"removed"|"moved"|"changed"
---@field code string why
---@field message string

---@class opperchat.HistoryOptions
---@field closed? boolean no call may stand open, not even at the end (false)

---Plain lists of messages.
---@class opperchat.History
---@field INTERRUPTED string the result of a call that nobody answered
local History = {}

---Where a list's parts are.
---@param messages opperchat.Message[]
---@return opperchat.HistorySplit
function History.split(messages) end

---Whether a list can be sent.
---@param messages opperchat.Message[]
---@param options? opperchat.HistoryOptions
---@return true? valid
---@return opperchat.HistoryProblem[]? problems
function History.check(messages, options) end

---Makes a list that can be sent out of any list, which stays as it is.
---@param messages table[]
---@param options? opperchat.HistoryOptions
---@return opperchat.Message[] mended
---@return opperchat.HistoryRepair[] report
function History.repair(messages, options) end

-- ---------------------------------------------------------------------------
-- Objects
-- ---------------------------------------------------------------------------

---Connections, credentials, timeouts and limits, shared by any number of conversations.
---@class opperchat.Client
local Client = {}

---Moves this client forward and calls the handlers of its requests. Returns at once
---unless told to wait.
---@param given? number|opperchat.PollOptions
---@return integer active how many requests are under way
function Client:poll(given) end

---How many requests have not been told their ending.
---@return integer
function Client:active() end

---A descriptor that is readable when `poll` has work to do.
---@return integer? descriptor nil: this system has none
function Client:pollfd() end

---What to watch the descriptor for.
---@return "r"
function Client:events() end

---Seconds until `poll` has to be called in any case.
---@return number? seconds nil: not before the descriptor is readable
function Client:timeout() end

---The models the server has for this key, in its order. The list is kept for a while.
---@param filter? string|fun(model: opperchat.Model): any|opperchat.ModelsOptions part of the id,
---or what says whether a model is wanted
---@return opperchat.Model[]? list copies
---@return opperchat.Error? err
function Client:models(filter) end

---Asks for one value that fits a schema.
---@param options opperchat.JsonOptions
---@return any value nil: there is none, see the error
---@return opperchat.Reply|opperchat.Error reply
function Client:json(options) end

---The model with an id.
---@param id string
---@return opperchat.Model? model nil without an error: the server has none of this id
---@return opperchat.Error? err
function Client:model(id) end

---Ends every request of this client and closes its connections.
function Client:close() end

---A list of messages, the options sent with it, and what can be done with both.
---@class opperchat.Conversation
---@operator len: integer
local Conversation = {}

---Adds a message at the end: `append(role, content[, fields])` or `append(message)`.
---@param role opperchat.Role|opperchat.Message
---@param content? opperchat.Content
---@param fields? table the message's other fields
---@return opperchat.Conversation? self
---@return opperchat.Error? err the journal could not be written
function Conversation:append(role, content, fields) end

---Replaces the messages `i` to `j` by others. `j = i - 1` only inserts.
---@param i integer negative ones count from the end
---@param j integer
---@param messages? opperchat.Message[]
---@param options? opperchat.SpliceOptions
---@return opperchat.Conversation? self
---@return opperchat.HistoryRepair[]|opperchat.Error|nil report with `repair`: what was mended; or
---why the journal could not be written
function Conversation:splice(i, j, messages, options) end

---Takes back the last turns: each user message with everything behind it.
---@param n? integer how many, 1 when left out
---@return opperchat.Conversation? self
---@return opperchat.Error? err the journal could not be written
function Conversation:undo(n) end

---Drops all turns. The head stays.
---@return opperchat.Conversation? self
---@return opperchat.Error? err the journal could not be written
function Conversation:clear() end

---Another conversation that begins with the same messages and options.
---@param options? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation
function Conversation:fork(options) end

---Copies of the messages from `i` to `j`.
---@param i? integer 1 when left out; negative ones count from the end
---@param j? integer -1 when left out
---@return opperchat.Message[]
function Conversation:messages(i, j) end

---A copy of the last message.
---@return opperchat.Message?
function Conversation:last() end

---What all requests of this conversation took together.
---@return opperchat.Usage
function Conversation:usage() end

---The exact body that `send` would post, after all policies that ask no model.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions
---@return string json
function Conversation:preview(prompt, options) end

---What `send` would come to. Nothing is sent and nothing changes.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions
---@return opperchat.Forecast
function Conversation:forecast(prompt, options) end

---Tokens of the next request as the list is now.
---@return integer tokens
---@return "measured"|"corrected"|"counted"|"estimated" how
function Conversation:tokens() end

---Applies the policy now, however short the list is. Waits like `send` when a model is asked.
---@return opperchat.CompactReport? report
---@return opperchat.Error? err nothing was changed
function Conversation:compact() end

---Pins a message: no policy takes it out of the list, nor its turn.
---@param index integer negative ones count from the end
---@param on? boolean false: it is not pinned any more
---@return opperchat.Conversation? self
---@return opperchat.Error? err the journal could not be written
function Conversation:pin(index, on) end

---A fork that ends before a turn.
---@param turn integer 1 is the first; negative ones count from the end
---@param options? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation fork
---@return opperchat.Message message the user message that begins the turn
function Conversation:fork_at(turn, options) end

---Asks the last turn again. When it fails, the turn stays as it was.
---@param options? opperchat.RunOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function Conversation:retry(options) end

---Sends the list, with `prompt` at its end, and waits for the answer.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function Conversation:send(prompt, options) end

---Adds a tool that the model may call. One of the same name is replaced.
---@param tool opperchat.Tool
---@return opperchat.Conversation? self
---@return opperchat.Error? err the journal could not be written
function Conversation:tool(tool) end

---Sends like `send`, runs the tools that the model calls, sends their results, and so on
---until the model has answered.
---@param prompt? opperchat.Content nil: go on from the calls that were left open
---@param options? opperchat.RunOptions
---@return opperchat.Reply? reply with `steps`
---@return opperchat.Error? err
function Conversation:run(prompt, options) end

---Ends what is in flight, a request or a run.
function Conversation:cancel() end

---The same without waiting.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions
---@return opperchat.Request? request
---@return opperchat.Error? err
function Conversation:start(prompt, options) end

---Sends the list and returns what to loop over. What goes wrong is raised.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions
---@return opperchat.Request
function Conversation:stream(prompt, options) end

---Writes the conversation into a file, in the place of what it held. No key, headers or client
---are in it.
---@param path string
---@return opperchat.Conversation? self
---@return opperchat.Error? err the file is as it was
function Conversation:save(path) end

---The messages as a plain list.
---@return string json
function Conversation:export() end

---Drops the messages, cancels a request in flight and gives the journal's file back.
function Conversation:close() end

---One request in flight. Calling it waits for the next piece of text, nil at the end.
---@class opperchat.Request
---@overload fun(): string?
local Request = {}

---Waits for the end of the request: blocking, or inside `go` yielding.
---@param seconds? number at most; nil: as long as it takes
---@return opperchat.Reply? reply
---@return opperchat.Error? err nil together with a nil reply: the time was up
function Request:wait(seconds) end

---Ends the request now.
function Request:cancel() end

---@return "sending"|"receiving"|"waiting"|"done"|"failed"|"cancelled"
function Request:state() end

---The text that has arrived so far.
---@return string
function Request:content() end

---What `opperchat.go` returns.
---@class opperchat.Task
---@field state "running"|"done"|"failed"
local Task = {}

---Waits until the task has ended. Raises what its function raised.
---@param seconds? number at most
---@return any ... what its function returned; nothing when the time was up
function Task:wait(seconds) end

-- ---------------------------------------------------------------------------
-- The module
-- ---------------------------------------------------------------------------

---@class opperchat
---@field version string
---@field null any JSON's null; as an option of a request: not what the conversation says
---@field policy opperchat.Policies what keeps a conversation short
---@field tokens opperchat.Tokens how texts are counted
---@field history opperchat.History plain lists of messages
local opperchat = {}

---Makes a client.
---@param options? opperchat.ClientOptions
---@return opperchat.Client
function opperchat.client(options) end

---Makes a conversation, or goes on with the one in its journal.
---@param options? opperchat.ConversationOptions
---@return opperchat.Conversation? chat nil only when its journal cannot be used
---@return opperchat.LoadReport|opperchat.Error|nil report of a journal that was there already
function opperchat.conversation(options) end

---Makes a conversation of a file that `save` or a journal has written.
---@param path string
---@param options? opperchat.ConversationOptions all but `system` and `messages`
---@return opperchat.Conversation? chat
---@return opperchat.LoadReport|opperchat.Error report
function opperchat.load(path, options) end

---Makes a conversation of a plain list, mended where that is needed.
---@param source string|table JSON text of a list or of a request's body, or such a table
---@param options? opperchat.ConversationOptions all but `messages`
---@return opperchat.Conversation? chat
---@return opperchat.HistoryRepair[]|opperchat.Error report
function opperchat.import(source, options) end

---Moves every client forward: once a frame.
---@param given? number|opperchat.PollOptions
---@return integer active how many requests are under way and tasks asleep
function opperchat.poll(given) end

---Runs a function in a coroutine in which waiting does not block.
---@param fn function
---@param ... any its arguments
---@return opperchat.Task
function opperchat.go(fn, ...) end

---Waits for some time, inside `go` without blocking.
---@param seconds number
function opperchat.sleep(seconds) end

---Marks a table as a list, so that it is written as `[]` when it is empty.
---@param list table
---@return table list
function opperchat.array(list) end

---An image for a prompt. The file is read when the part is sent or appended.
---@param source string|opperchat.ImageData path, URL or bytes
---@param options? opperchat.ImageOptions
---@return opperchat.ImagePart
function opperchat.image(source, options) end

---A file for a prompt, such as a PDF.
---@param source string|opperchat.FileData path, URL or bytes
---@param options? opperchat.FileOptions
---@return opperchat.FilePart
function opperchat.file(source, options) end

---Audio for a prompt.
---@param source string|opperchat.AudioData path or bytes
---@param options? opperchat.MediaOptions
---@return opperchat.AudioPart
function opperchat.audio(source, options) end

---What kind of object a value is.
---@param value any
---@return "client"|"conversation"|"request"|nil kind nil: none of ours
---@return boolean? is_open
function opperchat.type(value) end

return opperchat
