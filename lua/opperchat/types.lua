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
---@field action? "flag"|"block"|"redact" what happens to what a guard finds; left out: what the
---guard itself says

---A request has failed and waits to be sent again.
---@class opperchat.RetryEvent
---@field wait number seconds until then
---@field attempt integer how many times it was sent
---@field err opperchat.Error why it failed

---What is known of a request before it is sent.
---@class opperchat.RequestInfo
---@field conversation? opperchat.Conversation nil: models are asked for
---@field url string where it goes, without a login

---Opper's headers.
---@class opperchat.HeaderOptions
---@field name? string name of the function, for tracing
---@field tags? table<string, string|number> at most 8
---@field guard? opperchat.Guard guards of Opper for the prompt and the answer; left out: none

---Options of `opperchat.client`.
---@class opperchat.ClientOptions: opperchat.HeaderOptions
---@field api_key? string|opperchat.Secret|fun(is_refused: boolean): string left out:
---`OPPER_API_KEY`; "", also from the function: none is sent
---@field base_url? string what stands before `/chat/completions`; left out: `OPPER_BASE_URL`,
---then Opper's
---@field headers? table<string, string> other headers of each request; `Authorization` here takes
---the place of the key, "" sends a header without a value
---@field timeout? opperchat.Timeouts deadlines, see its own defaults; passing one is an error of
---kind `timeout`
---@field max_connections? integer connections at a time, >= 1; other requests wait (no limit)
---@field max_response_bytes? integer (64 MiB)
---@field max_buffered_bytes? integer a stream pauses when so much waits for its reader (1 MiB)
---@field max_retries? integer how often a request that failed is sent again (2)
---@field retry_budget? integer the same for all requests of one turn (6)
---@field on_retry? fun(event: opperchat.RetryEvent, request: opperchat.Request) called before each
---wait, for all requests of the client; may call `request:cancel()`
---@field proxy? string URL; left out: what the environment says; "": none
---@field no_proxy? string|string[] hosts that are reached without it
---@field proxy_ca_file? string file with the certificates that are trusted for an https proxy
---@field ca_file? string file with the certificates that are trusted
---@field ca_path? string folder with the certificates that are trusted
---@field client_cert? string file with a certificate to show to the server
---@field client_key? string file with its private key
---@field client_key_password? string password of that key
---@field insecure_skip_verify? boolean any certificate of the server will do (false)
---@field debug? boolean|1|2|fun(line: string) logs requests and answers to stderr, or calls a
---function with each line; left out: what `OPPERCHAT_DEBUG` says
---@field http2? boolean (true)
---@field on_request? fun(info: opperchat.RequestInfo) called before each request
---@field record? string path of a tape: every exchange is written down
---@field replay? string path of a tape that is played in the place of any network
---@field replay_speed? number|"instant" ("instant") 1: as it was recorded
---@field replay_match? "exact"|"order" ("exact") "order": the next recording, whatever the body

---Where a key comes from: one of these.
---@class opperchat.SecretOptions
---@field env? string name of an environment variable
---@field file? string path of a file, whose first line it is
---@field command? string shell command, whose first line of output it is; blocks until it ends

---A key that is fetched when it is needed, and shown to nobody.
---@class opperchat.Secret

---Options of `opperchat.doctor`.
---@class opperchat.DoctorOptions
---@field client? opperchat.Client left out: the one of conversations without a client
---@field model? string which model answers
---@field stream? boolean whether a model is asked at all (true)
---@field tools? boolean whether a tool is tried (false)
---@field timeout? number seconds for each request (20)
---@field write? false|fun(line: string) called with each line; false: none is written; left out:
---they go to stdout

---What the doctor found out about one thing.
---@class opperchat.DoctorLine
---@field name string what was looked at
---@field status "ok"|"warn"|"fail"|"skip" "skip": could not be tried, since something before it has
---failed
---@field text string what was found, one line, without the key
---@field advice? string what to do about it

---What the doctor found out.
---@class opperchat.DoctorReport
---@field ok boolean nothing has failed
---@field lines opperchat.DoctorLine[] in the order in which they were tried

---Parameters of the model: fields of the request body.
---@class opperchat.BodyOptions
---@field model? string its id, such as "openai/gpt-5-mini"; left out: not sent, the server chooses
---or refuses
---@field temperature? number randomness, 0 to 2 for most models; left out: the server's default, as
---for all that follow
---@field top_p? number share of the likeliest tokens that are drawn from, 0 to 1
---@field max_tokens? integer tokens of the answer at most; an answer cut short has `finish_reason`
---"length"
---@field max_completion_tokens? integer the same under its newer name, with the reasoning counted
---@field stop? string|string[] texts at which the answer ends; most servers take up to 4
---@field seed? integer for answers that repeat, as far as the server can
---@field frequency_penalty? number -2 to 2; above 0: tokens lose by how often they were used
---@field presence_penalty? number -2 to 2; above 0: tokens lose once they were used
---@field reasoning_effort? string "minimal", "low", "medium", "high", or what else the model knows
---@field verbosity? string "low", "medium" or "high": how long answers are
---@field response_format? table as the API has it; `schema` is the easier way
---@field tools? (opperchat.Tool|table)[] tables with a `type` are sent as they are
---@field tool_choice? string|table "auto", "none", "required", or the one to call, as the API has
---it; in `run` a forced call is forced in the first request alone
---@field parallel_tool_calls? boolean whether one answer may call several tools
---@field user? string an id of the end user, for the provider
---@field metadata? table<string, any> labels that the provider keeps with the request
---@field logit_bias? table<string|integer, number> by token id, -100 to 100
---@field logprobs? boolean whether the answer has the probabilities of its tokens, see
---`reply.raw()`
---@field top_logprobs? integer for so many alternatives of each token, 0 to 20
---@field service_tier? string "auto", "flex", "priority" and the like
---@field store? boolean whether the provider keeps the answer
---@field prompt_cache_key? string requests with the same key share a provider's prompt cache better
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
---@field client? opperchat.Client left out: one for all such conversations, made from the
---environment with the first request
---@field system? opperchat.Content the first message
---@field messages? opperchat.Message[] the messages after it
---@field trace_id? string left out: a random UUID
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
---@field on_delta? fun(text: string) called with each piece of the answer's text, of at most 64 KB;
---must not yield
---@field on_event? fun(event: opperchat.Event, request: opperchat.Request) called with each piece
---of anything; must not yield
---@field on_done? fun(reply?: opperchat.Reply, err?: opperchat.Error) called once, when the turn
---has ended, with a reply or an error
---@field on_retry? fun(event: opperchat.RetryEvent, request: opperchat.Request) called before each
---wait; may call `request:cancel()`

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
---@field instructions? opperchat.Content what to do with the input: the system message; left out:
---none
---@field trace_id? string left out: a random UUID

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

---Options of `opperchat.image`.
---@class opperchat.ImageOptions: opperchat.MediaOptions
---@field detail? "auto"|"low"|"high" how closely the model looks; more costs more tokens; left out:
---the server's default

---Options of `opperchat.file`.
---@class opperchat.FileOptions: opperchat.MediaOptions
---@field name? string the name the model is told

---Bytes in the place of a path.
---@class opperchat.ImageData: opperchat.ImageOptions
---@field data string the bytes

---Bytes in the place of a path, for `opperchat.file`.
---@class opperchat.FileData: opperchat.FileOptions
---@field data string the bytes

---Bytes in the place of a path, for `opperchat.audio`.
---@class opperchat.AudioData: opperchat.MediaOptions
---@field data string the bytes of a WAV or MP3 file

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
---@field options? opperchat.BodyOptions parameters of that request

---Options of `opperchat.policy.summarize`.
---@class opperchat.SummarizeOptions: opperchat.OlderOptions
---@field prefix? string what the message begins with ("Earlier: ")
---@field role? "assistant"|"system"|"developer"|"user" of the message ("assistant")

---Options of `opperchat.policy.remember`.
---@class opperchat.RememberOptions: opperchat.OlderOptions
---@field prefix? string what the message begins with ("What is known: ")
---@field role? "assistant"|"system"|"developer"|"user" of the message ("system")
---@field schema? table JSON Schema of the facts, or its short form; left out: a list of texts
---@field merge? fun(known: any, found: any): any what becomes of the old and the new

---Options of `opperchat.poll` and `client:poll`.
---@class opperchat.PollOptions
---@field seconds? number seconds it may wait for news (0)
---@field budget? number|false how many seconds it may take, beside the waiting: what it does not
---come to is for the next call; one thing is done however small it is; false: no limit (0.0003).
---A poll that may wait has no limit of its own.

-- ---------------------------------------------------------------------------
-- Messages
-- ---------------------------------------------------------------------------

---A text among other parts.
---@class opperchat.TextPart
---@field type "text" always "text"
---@field text string UTF-8

---Where an image is.
---@class opperchat.ImageUrl
---@field url string|table an address or a `data:` URL; a table stands for bytes still to be read
---@field detail? string "auto", "low" or "high"

---What `opperchat.image` makes.
---@class opperchat.ImagePart
---@field type "image_url" always "image_url"
---@field image_url opperchat.ImageUrl where it is, and how closely to look

---A file that is sent along.
---@class opperchat.FileContent
---@field filename string the name the model is told
---@field file_data string|table a `data:` URL; a table stands for bytes still to be read

---What `opperchat.file` makes.
---@class opperchat.FilePart
---@field type "file" always "file"
---@field file opperchat.FileContent its name and bytes

---Audio that is sent along.
---@class opperchat.AudioContent
---@field data string base64
---@field format string "wav" or "mp3"

---What `opperchat.audio` makes.
---@class opperchat.AudioPart
---@field type "input_audio" always "input_audio"
---@field input_audio opperchat.AudioContent|table a table stands for bytes still to be read

---Any other part that the server knows.
---@class opperchat.OtherPart
---@field type string what the server calls it
---@field [string] any sent as it is

---One part of a content that is more than a text.
---@alias opperchat.Part
---| opperchat.TextPart
---| opperchat.ImagePart
---| opperchat.FilePart
---| opperchat.AudioPart
---| opperchat.OtherPart

---What a message says: a text, a part, or a list of both.
---@alias opperchat.Content string|opperchat.Part|(string|opperchat.Part)[]

---Who speaks.
---@alias opperchat.Role "system"|"developer"|"user"|"assistant"|"tool"

---One entry of the list. What `messages` gives is a copy.
---@class opperchat.Message
---@field role opperchat.Role who speaks
---@field content? opperchat.Content a text, or a list of parts; may be absent beside `tool_calls`
---@field name? string of the speaker, where there are several
---@field tool_calls? table[] as the API writes them
---@field tool_call_id? string of a `tool` message: the call it answers
---@field pinned? boolean no policy takes it out of the list; not sent
---@field [string] any other fields are kept and sent as they are

-- ---------------------------------------------------------------------------
-- Answers
-- ---------------------------------------------------------------------------

---A tool that the model wants to have called.
---@class opperchat.ToolCall
---@field id string by which the result refers to it; made here when the server gave none
---@field name string of the tool
---@field arguments any decoded; nil when it is not JSON
---@field arguments_json string as the model wrote it

---What became of one call.
---@class opperchat.ToolEvent
---@field call opperchat.ToolCall what the model asked for
---@field result any what the tool returned
---@field error? string why it came to nothing
---@field step integer the number of the request whose reply called; 0: of an earlier run

---Absent: the server did not say. `requests` is there in the totals of a
---conversation, where all the others are too.
---@class opperchat.Usage
---@field requests? integer how many were answered
---@field prompt_tokens? integer tokens that were sent
---@field completion_tokens? integer tokens of the answer, with its reasoning
---@field total_tokens? integer both
---@field cached_tokens? integer of `prompt_tokens`: read from the provider's prompt cache
---@field reasoning_tokens? integer of `completion_tokens`: spent on thinking
---@field cost? number US dollars

---Seconds since the start of the request.
---@class opperchat.Timing
---@field connect? number until the connection was there; absent: it was there already
---@field first_byte? number until the first byte of the answer
---@field first_token? number until the first text, reasoning or tool fragment
---@field total? number until the end

---What the model answered. Absent fields are nil.
---@class opperchat.Reply
---@field content? string its text; nil: it has none, as beside most `tool_calls`
---@field finish_reason? string "stop", "length", "tool_calls", "content_filter", or what else the
---server says
---@field tool_calls? opperchat.ToolCall[] calls that are to be answered, see `chat:run`; nil: none
---@field reasoning? string what the model thought, where the server shows it
---@field refusal? string why the model will not answer
---@field usage? opperchat.Usage tokens and cost of its request; `chat:usage()` has the sum of all
---@field id? string the server's id of the answer
---@field model? string as the server names it
---@field trace_id? string Opper's id of the request
---@field served_model? string Opper: which model has answered
---@field served_provider? string Opper: whose it is
---@field attempts integer how many times the request was sent
---@field requested_model? string with `fallback_models`: the one that has answered
---@field timing opperchat.Timing when what arrived
---@field parsed any the answer as Lua values, where there was a schema
---@field steps? integer of `run`: the number of requests
---@field raw fun(): table? the whole answer, decoded

---What went wrong, see docs/errors.md for each with its codes.
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
---@field kind opperchat.ErrorKind what to branch on
---@field code string short name: the server's own where it gave one
---@field message string for people; never holds the key
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
---@field type "content"|"reasoning"|"refusal"|"tool_call" what the piece belongs to
---@field text? string the piece; not of "tool_call"
---@field index? integer 1 is the first call
---@field id? string in the first event of a call
---@field name? string in the first event of a call
---@field arguments? string a fragment of JSON text

---US dollars per token; absent: the server did not say.
---@class opperchat.Price
---@field prompt? number per token that is sent
---@field completion? number per token of the answer

---A model of a server. Absent: the server did not say.
---@class opperchat.Model
---@field id string what goes into the option `model`
---@field context_length? integer how many tokens fit
---@field price? opperchat.Price nil: not said
---@field owned_by? string its maker, or who runs it
---@field raw table everything the server said of it

-- ---------------------------------------------------------------------------
-- Policies
-- ---------------------------------------------------------------------------

---Edits a draft of the list before a request.
---@class opperchat.Policy
---@field name string what it is called in reports
---@field apply? fun(self: opperchat.Policy, draft: opperchat.Draft): boolean?, opperchat.Error?
---nil and an error: it could not
---@field asks? boolean whether it asks a model
---@field steps? opperchat.Policy[] what it consists of, in the place of `apply`
---@field [string] any any other fields are its own

---What a function that is a policy is told.
---@class opperchat.PolicyInfo
---@field tokens integer of the request as it is
---@field how string see `chat:tokens`
---@field window? integer the model's context window, where it is known
---@field model? string the option `model`, where there is one
---@field is_forced boolean whether `compact` called

---The messages that are to be sent; nil: nothing is to change, or why it could not.
---@alias opperchat.PolicyFunction fun(messages: opperchat.Message[], info: opperchat.PolicyInfo):
---opperchat.Message[]?, any

---What the option `policy` takes.
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
---@field tokens_before integer tokens of the request before
---@field tokens_after integer and after
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
---@field model? string the option `model`, where there is one
---@field is_forced boolean whether the policy is to act now, whatever the size
---@field can_ask boolean whether the model may be asked
---@field would_ask? boolean set it when you would ask and may not
---@field ask fun(messages: opperchat.Message[], options?: opperchat.AskOptions): opperchat.Reply?,
---opperchat.Error? asks a model and waits; not unless `can_ask`
local Draft = {}

---What a policy may say when it asks a model.
---@class opperchat.AskOptions
---@field model? string left out: the conversation's
---@field schema? table JSON Schema of the answer, or its short form
---@field options? opperchat.BodyOptions parameters of the request

---The turns of a draft. Number 0 is what stands between the head and the first user message, if
---anything does.
---@class opperchat.DraftSplit
---@field head integer messages of the head
---@field head_tokens integer estimated tokens of the head
---@field start integer number of the first turn: 0 or 1
---@field count integer number of the last one
---@field first integer[] index of the first message of each
---@field tokens integer[] estimates
---@field kept boolean[] whether it has a message that is pinned, a summary or facts

---Tokens of the request as the draft is now.
---@return integer tokens with those of the tools and of the schema
---@return string how see `chat:tokens`
function Draft:tokens() end

---How many tokens the request may have.
---@param given? integer tokens that the program has asked for; nil: go by the window
---@param share? number share of the window when nothing is given (0.85)
---@return integer? limit never more than the window has room for; nil: neither is known
function Draft:budget(given, share) end

---Where the turns are.
---@return opperchat.DraftSplit turns of the list as it is now
function Draft:turns() end

---The end of a turn.
---@param turns opperchat.DraftSplit of `turns`
---@param number integer of the turn
---@return integer index of the last message of a turn
function Draft:last_of(turns, number) end

---Drops turns. Ask for `turns` again afterwards.
---@param turns opperchat.DraftSplit of `turns`
---@param drops table<integer, boolean> which
---@return integer dropped how many messages
function Draft:drop(turns, drops) end

---Replaces the messages `first` to `last` by others. Ask for `turns` again afterwards.
---@param first integer index
---@param last integer index; first - 1: only insert
---@param messages opperchat.Message[] what takes their place
---@param flag? "pinned"|"summary"|"facts" of all of them
function Draft:replace(first, last, messages, flag) end

---A copy of a message.
---@param index integer negative ones count from the end
---@return opperchat.Message message as it would be sent
function Draft:message(index) end

---What keeps a conversation short.
---@class opperchat.Policies
local Policies = {}

---Keeps the last turns.
---
---    local chat = opperchat.conversation{ policy = opperchat.policy.keep{ turns = 10 } }
---    print(opperchat.type(chat))                              --> conversation	true
---@param options opperchat.KeepOptions `turns` is needed
---@return opperchat.Policy policy for the option `policy`
function Policies.keep(options) end

---Trims to a number of tokens: the oldest turns go.
---
---    local chat = opperchat.conversation{ policy = opperchat.policy.fit{ tokens = 8000 } }
---    print(chat:tokens())
---@param options? opperchat.FitOptions left out: goes by the model's context window
---@return opperchat.Policy policy for the option `policy`
function Policies.fit(options) end

---Shortens old tool results and puts words in the place of old images and files.
---@param options? opperchat.ShrinkOptions defaults of all
---@return opperchat.Policy policy for the option `policy`
function Policies.shrink(options) end

---Has a model write a summary in the place of the oldest turns.
---@param options? opperchat.SummarizeOptions defaults of all
---@return opperchat.Policy policy for the option `policy`
function Policies.summarize(options) end

---Has a model take facts out of the oldest turns, which then go.
---@param options? opperchat.RememberOptions defaults of all
---@return opperchat.Policy policy for the option `policy`
function Policies.remember(options) end

---Policies one after another.
---
---    local policy = opperchat.policy
---    local chat = opperchat.conversation{ policy = policy.pipeline{
---      policy.shrink{ tokens = 8000 }, policy.fit{ tokens = 8000 },
---    } }
---    print(opperchat.type(chat))                              --> conversation	true
---@param policies (opperchat.Policy|opperchat.PolicyFunction)[] applied in their order
---@return opperchat.Policy policy for the option `policy`
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

---The end of a file that a crash has cut off.
---@class opperchat.TornLine
---@field line integer number of the line
---@field bytes integer how many bytes of it there are

---Options of `chat:splice`.
---@class opperchat.SpliceOptions
---@field repair? boolean mend what makes the list invalid (false)

---Where a part of a list is.
---@class opperchat.HistoryRange
---@field first integer index of the first message
---@field last integer first - 1: nothing

---Where the parts of a list are.
---@class opperchat.HistorySplit
---@field head opperchat.HistoryRange system and developer messages at the beginning
---@field opening opperchat.HistoryRange what stands between them and the first turn
---@field turns opperchat.HistoryRange[] a user message and all up to the next one

---Why a list cannot be sent.
---@class opperchat.HistoryProblem
---@field index integer of the message
---@field code string short name of what is wrong
---@field message string for people
---@field id? string of the call or the result

---What was done so that a list can be sent.
---@class opperchat.HistoryRepair
---@field index integer in the list that was given
---@field action "added"|"removed"|"moved"|"changed" what became of the message
---@field code string why
---@field message string for people

---Options of `opperchat.history.check` and `repair`.
---@class opperchat.HistoryOptions
---@field closed? boolean no call may stand open, not even at the end (false)

---Plain lists of messages.
---@class opperchat.History
---@field INTERRUPTED string the result of a call that nobody answered
local History = {}

---Where a list's parts are.
---@param messages opperchat.Message[] a plain list
---@return opperchat.HistorySplit parts ranges of indexes
function History.split(messages) end

---Whether a list can be sent.
---@param messages opperchat.Message[] a plain list
---@param options? opperchat.HistoryOptions what is asked for beyond the rules of the API
---@return true? valid nil: it cannot
---@return opperchat.HistoryProblem[]? problems in the order of the list; nil: it can
function History.check(messages, options) end

---Makes a list that can be sent out of any list, which stays as it is.
---
---    local list = opperchat.history.repair{
---      { role = "user", content = "Hi" }, { role = "tool", tool_call_id = "lost", content = "4" },
---    }
---    print(#list)                                             --> 1
---@param messages table[] a plain list, in any state
---@param options? opperchat.HistoryOptions what is asked for beyond the rules of the API
---@return opperchat.Message[] mended a new list
---@return opperchat.HistoryRepair[] report what was done; empty: nothing was needed
function History.repair(messages, options) end

-- ---------------------------------------------------------------------------
-- Objects
-- ---------------------------------------------------------------------------

---A recording on a tape.
---@class opperchat.Recording
---@field line integer where it stands
---@field method string "POST", or "GET" of a list of models
---@field path string behind `base_url`
---@field attempt integer 1: the first one of its request
---@field body? string what was sent, as JSON text

---Connections, credentials, timeouts and limits, shared by any number of conversations.
---@class opperchat.Client
local Client = {}

---Moves this client forward and calls the handlers of its requests. Returns at once
---unless told to wait.
---Raises what a handler has raised, after the others were called.
---@param given? number|opperchat.PollOptions seconds to wait for news at most (0), or a table
---@return integer active how many requests are under way
function Client:poll(given) end

---How many requests have not been told their ending.
---@return integer count 0: nothing is under way
function Client:active() end

---A descriptor that is readable when `poll` has work to do.
---@return integer? descriptor nil: this system has none
function Client:pollfd() end

---What to watch the descriptor for.
---@return "r" events reading
function Client:events() end

---Seconds until `poll` has to be called in any case.
---@return number? seconds nil: not before the descriptor is readable
function Client:timeout() end

---The models the server has for this key, in its order. The list is kept for a while.
---Errors: those of a request.
---
---    local client = opperchat.client{}
---    for _, model in ipairs(assert(client:models("gpt"))) do
---      print(model.id, model.context_length)
---    end
---@param filter? string|opperchat.ModelsOptions|fun(model: opperchat.Model): any part of the id,
---or what says whether a model is wanted
---@return opperchat.Model[]? list copies
---@return opperchat.Error? err why there is none
function Client:models(filter) end

---Asks for one value that fits a schema.
---Errors: those of `send`, and kind `schema` when no answer fits.
---
---    local client = opperchat.client{}
---    local value = assert(client:json{
---      schema = { city = "string" }, input = "The fair is in Oslo.",
---    })
---    print(value.city)                                        --> Oslo
---@param options opperchat.JsonOptions `schema` and `input` are needed
---@return any value nil: there is none, see the error
---@return opperchat.Reply|opperchat.Error reply the reply it stood in, or why there is none
function Client:json(options) end

---The model with an id.
---@param id string such as "openai/gpt-5-mini"
---@return opperchat.Model? model nil without an error: the server has none of this id
---@return opperchat.Error? err why the list could not be had
function Client:model(id) end

---Looks for what is wrong between this client and its server.
---@param options? opperchat.DoctorOptions but `client`
---@return opperchat.DoctorReport report all that was found, good and bad
function Client:doctor(options) end

---Ends every request of this client, closes its connections and wipes its key.
---May be called again. Requests end with an error of kind `cancelled`.
---@return true? closed nil: it is, but not all of it could be recorded
---@return opperchat.Error? err of kind `store`
function Client:close() end

---The recordings of the tape (option `replay`) that no request has asked for.
---Raises for a client without `replay`.
---@return opperchat.Recording[] left in the order in which they would be played
function Client:replay_left() end

---A list of messages, the options sent with it, and what can be done with both.
---@class opperchat.Conversation
---@operator len: integer how many messages there are
local Conversation = {}

---Adds a message at the end: `append(role, content[, fields])` or `append(message)`.
---Raises when the list would not be valid: a result without its call, an unknown role, text that is
---not UTF-8.
---
---    local chat = opperchat.conversation{}
---    chat:append("user", "Hi"):append("assistant", "Hello!")
---    print(#chat)                                             --> 2
---@param role opperchat.Role|opperchat.Message of the message, or all of it
---@param content? opperchat.Content what it says
---@param fields? table the message's other fields
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the journal could not be written
function Conversation:append(role, content, fields) end

---Replaces the messages `i` to `j` by others. `j = i - 1` only inserts.
---Raises, and changes nothing, when a call would lose its result or a result its call.
---@param i integer negative ones count from the end
---@param j integer negative ones count from the end
---@param messages? opperchat.Message[] left out: the old ones are removed
---@param options? opperchat.SpliceOptions whether to mend
---@return opperchat.Conversation? self for the next call
---@return opperchat.HistoryRepair[]|opperchat.Error|nil report with `repair`: what was mended; or
---why the journal could not be written
function Conversation:splice(i, j, messages, options) end

---Takes back the last turns: each user message with everything behind it.
---@param n? integer how many (1)
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the journal could not be written
function Conversation:undo(n) end

---Drops all turns. The head stays.
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the journal could not be written
function Conversation:clear() end

---Another conversation that begins with the same messages and options.
---Cheap: the messages are shared, and none is copied.
---@param options? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation fork with a list, options and usage of its own
function Conversation:fork(options) end

---Copies of the messages from `i` to `j`.
---@param i? integer (1); negative ones count from the end
---@param j? integer (-1)
---@return opperchat.Message[] list empty where there are none
function Conversation:messages(i, j) end

---A copy of the last message.
---@return opperchat.Message? message nil: the list is empty
function Conversation:last() end

---What all requests of this conversation took together.
---@return opperchat.Usage usage sums, and `requests`
function Conversation:usage() end

---The exact body that `send` would post, after all policies that ask no model.
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions as for `send`
---@return string json the text of the body
function Conversation:preview(prompt, options) end

---What `send` would come to. Nothing is sent and nothing changes.
---
---    local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
---    local forecast = chat:forecast("Name a planet.")
---    print(forecast.messages, forecast.how)
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions as for `send`
---@return opperchat.Forecast forecast with `err` where it would not be sent at all
function Conversation:forecast(prompt, options) end

---Tokens of the next request as the list is now.
---@return integer tokens with those of the tools and of the schema
---@return "measured"|"corrected"|"counted"|"estimated" how the server has counted just
---these messages; corrected by what it said of others; counted by `opperchat.tokens.count`;
---estimated from the text alone
function Conversation:tokens() end

---Applies the policy now, however short the list is. Waits like `send` when a model is asked.
---Raises for a conversation without a policy, and while a request is in flight.
---@return opperchat.CompactReport? report what has changed
---@return opperchat.Error? err nothing was changed
function Conversation:compact() end

---Pins a message: no policy takes it out of the list, nor its turn.
---Raises when there is no such message.
---@param index integer negative ones count from the end
---@param on? boolean (true); false: it is not pinned any more
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the journal could not be written
function Conversation:pin(index, on) end

---A fork that ends before a turn.
---Raises when there is no such turn.
---@param turn integer 1 is the first; negative ones count from the end
---@param options? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation fork with a list, options and usage of its own
---@return opperchat.Message message the user message that begins the turn
function Conversation:fork_at(turn, options) end

---Asks the last turn again. When it fails, the turn stays as it was.
---Raises when there is no turn yet, and while a request is in flight.
---@param options? opperchat.RunOptions as for `send`, or for `run` when the turn was one
---@return opperchat.Reply? reply the new answer
---@return opperchat.Error? err as of `send` or `run`
function Conversation:retry(options) end

---Sends the list, with `prompt` at its end, and waits for the answer.
---The prompt and the answer go into the list together, when the answer is complete; after an error
---the list is as it was, and `err.partial` has what had arrived.
---
---    local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
---    local reply, err = chat:send("Name a planet.")
---    print(reply and reply.content or err)
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions go before those of the conversation
---@return opperchat.Reply? reply what the model has answered
---@return opperchat.Error? err why there is no answer
function Conversation:send(prompt, options) end

---Adds a tool that the model may call. One of the same name is replaced.
---Raises when its name, parameters or handlers are not what they must be.
---
---    local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
---    chat:tool{
---      name = "weather", description = "The weather in a city",
---      parameters = { city = "string" },
---      run = function(given) return { city = given.city, degrees = 4 } end,
---    }
---@param tool opperchat.Tool what it is called, takes and does
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the journal could not be written
function Conversation:tool(tool) end

---Sends like `send`, runs the tools that the model calls, sends their results, and so on
---until the model has answered.
---An error of a tool is told to the model and ends nothing. Errors: those of `send`, and kind
---`tool` when `max_steps` is reached or the model keeps making the same call; the list stays then.
---@param prompt? opperchat.Content nil: go on from the calls that were left open
---@param options? opperchat.RunOptions as for `send`, and `max_steps`, `on_tool`, `confirm`
---@return opperchat.Reply? reply the last one, with `steps`
---@return opperchat.Error? err why it ended without an answer
function Conversation:run(prompt, options) end

---Ends what is in flight, a request or a run.
---Does nothing when there is nothing. Raises for a conversation that is closed.
function Conversation:cancel() end

---Sends like `send`, and returns at once with a request that is moved on by a driver.
---Errors at once: what keeps a request from being made, such as a missing key. All others come
---with `on_done` and `request:wait()`.
---
---    local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
---    chat:start("Name a planet.", {
---      on_delta = io.write,
---      on_done = function(_, err) print(err or "") end,
---    })
---    while opperchat.poll(0.1) > 0 do end
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions as for `send`
---@return opperchat.Request? request that is under way
---@return opperchat.Error? err why it could not be made
function Conversation:start(prompt, options) end

---Sends the list and returns what to loop over. What goes wrong is raised.
---
---    local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
---    for text in chat:stream("Name a planet.") do
---      io.write(text)
---    end
---@param prompt? opperchat.Content nil: the list as it is
---@param options? opperchat.SendOptions as for `send`
---@return opperchat.Request request each call of which gives the next piece of text
function Conversation:stream(prompt, options) end

---Writes the conversation into a file, in the place of what it held. No key, headers or client
---are in it.
---
---    local path = os.tmpname()
---    local chat = opperchat.conversation{}
---    assert(chat:append("user", "Hi"):save(path))
---    print(#assert(opperchat.load(path)))                     --> 1
---    os.remove(path)
---@param path string is replaced as a whole
---@return opperchat.Conversation? self for the next call
---@return opperchat.Error? err the file is as it was
function Conversation:save(path) end

---The messages as a plain list.
---@return string json a list, as `import` reads it
function Conversation:export() end

---Drops the messages, cancels a request in flight and gives the journal's file back.
---May be called again.
function Conversation:close() end

---One request in flight.
---@class opperchat.Request
---@overload fun(): string? waits for the next piece of text; nil at the end. What goes wrong is
---raised, once
local Request = {}

---Waits for the end of the request: blocking, or inside `go` yielding.
---Raises inside of a handler, which must not wait.
---@param seconds? number at most; nil: as long as it takes
---@return opperchat.Reply? reply what the model has answered
---@return opperchat.Error? err nil together with a nil reply: the time was up
function Request:wait(seconds) end

---Ends the request now.
---It ends with an error of kind `cancelled`; when it has ended already, nothing happens.
function Request:cancel() end

---How far it has come; "waiting": it failed and will be sent again.
---@return "sending"|"receiving"|"waiting"|"done"|"failed"|"cancelled" state the last three: it
---has ended
function Request:state() end

---The text that has arrived so far.
---@return string text "" before the first of it
function Request:content() end

---What `opperchat.go` returns.
---@class opperchat.Task
---@field state "running"|"done"|"failed" "failed": its function has raised an error
local Task = {}

---Waits until the task has ended. Raises what its function raised.
---@param seconds? number at most
---@return any ... what its function returned; nothing when the time was up
function Task:wait(seconds) end

-- ---------------------------------------------------------------------------
-- Event loops
-- ---------------------------------------------------------------------------

---`require "opperchat.loop.nvim"`: Neovim's own loop.
---@class opperchat.loop.Nvim
local Nvim = {}

---Lets Neovim move a client forward. A client that is attached already stays so, once.
---
---Handlers run where all of Neovim's API may be called. What they raise is shown as an error
---message.
---@param client? opperchat.Client left out: all that there are, and all that are made later
---@return fun() detach ends it; may be called again
function Nvim.attach(client) end

---Options of `attach` for luv and cqueues.
---@class opperchat.loop.Options
---@field on_error? fun(err: any) gets what handlers and tasks raise, with a traceback; left out: it
---goes to stderr

---`require "opperchat.loop.luv"`: libuv's default loop. Needs luv.
---@class opperchat.loop.Luv
local Luv = {}

---Lets the loop move a client forward. A client that is attached already stays so, once.
---@param client? opperchat.Client left out: all that there are, and all that are made later
---@param options? opperchat.loop.Options one for all clients of the loop
---@return fun() detach ends it; may be called again
function Luv.attach(client, options) end

---`require "opperchat.loop.cqueues"`: a controller of cqueues. Needs cqueues.
---@class opperchat.loop.Cqueues
local Cqueues = {}

---Lets a controller move a client forward: `attach(client, controller[, options])` or
---`attach(controller[, options])`. A client that is attached already stays so, once.
---@param client? opperchat.Client left out: all that there are, and all that are made later
---@param controller any of cqueues; raises when it is none
---@param options? opperchat.loop.Options one for all clients of a controller
---@return fun() detach ends it; may be called again
function Cqueues.attach(client, controller, options) end

-- ---------------------------------------------------------------------------
-- Neovim
-- ---------------------------------------------------------------------------

---How a window for a conversation comes about; a function makes it, and may return its id.
---@alias opperchat.nvim.Window "split"|"vsplit"|"float"|"current"|fun(buffer: integer): integer?

---Keys that work everywhere; false: none.
---@class opperchat.nvim.Keymaps
---@field ask? string|false begin to type a question, in Visual mode about the selection (none)
---@field new? string|false the same in a new conversation (none)
---@field stop? string|false end the answer that is on its way (none)

---Keys in the buffer of a conversation; false: none.
---@class opperchat.nvim.BufferKeymaps
---@field send? string|false send what is below the last heading (<CR>)
---@field stop? string|false end the answer that is on its way (<C-c>)

---Options of `setup`.
---@class opperchat.nvim.Options
---@field model? string which model answers ("openai/gpt-5-mini")
---@field system? string|false the first message; false: none; left out: that it is a concise
---assistant inside a text editor
---@field client? opperchat.ClientOptions|opperchat.Client `base_url`, `api_key`, `timeout` and so
---on; left out: all from the environment
---@field conversation? opperchat.ConversationOptions more options, such as `temperature` and
---`max_cost`; not `client`, `journal`, `messages` and `tools`
---@field policy? table|fun(policy: opperchat.Policies): any what keeps long conversations short,
---or a function that makes it, with the first question
---@field window? opperchat.nvim.Window where a conversation is shown ("split")
---@field size? number lines or columns of that window; below 1: a share of the screen
---@field focus? boolean whether a question moves to that window (true)
---@field journal? string|boolean folder in which conversations are kept; true: one of Neovim's
---own (false)
---@field keymaps? opperchat.nvim.Keymaps|false keys that work everywhere (false)
---@field buffer_keymaps? opperchat.nvim.BufferKeymaps|false keys in the buffer of a conversation

---Options of `ask`.
---@class opperchat.nvim.AskOptions
---@field new? boolean in a new conversation (false)
---@field context? string[] lines of Markdown below the question

---`require "opperchat.nvim"`: the plugin for Neovim, see [Neovim](neovim.md).
---@class opperchat.nvim
local Plugin = {}

---Sets options. What is not given has its default. Not needed.
---Raises when an option is not what it must be.
---@param options? opperchat.nvim.Options left out: defaults of all
function Plugin.setup(options) end

---Asks a question as `:Opper` does, or without one shows a conversation.
---@param question? string nil, or blanks alone: what is typed below the last heading of a
---conversation, when that is the current buffer; else it is only shown
---@param options? opperchat.nvim.AskOptions left out: in the conversation used last
---@return boolean asked false: there was no question, or it could not be asked
function Plugin.ask(question, options) end

---Ends the answer that is on its way; what has arrived of it stays.
---@param all? boolean those of all conversations (false)
---@return boolean stopped whether there was one
function Plugin.stop(all) end

---What a status line may show: "waiting", "thinking", "answering", "stopped", "failed", or how long
---the last answer took and what it cost.
---@param buffer? integer of a conversation; nil: the current one, or that used last
---@return string text "" before the first question
function Plugin.status(buffer) end

---The conversation behind a buffer, to read its messages or its usage.
---@param buffer? integer nil: the current one, or that used last
---@return opperchat.Conversation? conversation nil before the first question
function Plugin.conversation(buffer) end

-- ---------------------------------------------------------------------------
-- The module
-- ---------------------------------------------------------------------------

---The module.
---@class opperchat
---@field version string of this module, such as "0.1.0"
---@field null any JSON's null; as an option of a request: not what the conversation says
---@field policy opperchat.Policies what keeps a conversation short
---@field tokens opperchat.Tokens how texts are counted
---@field history opperchat.History plain lists of messages
local opperchat = {}

---Makes a client.
---Raises when an option is not what it must be, or `OPPER_API_KEY` cannot be a key.
---
---    local client = opperchat.client{
---      base_url = "http://127.0.0.1:8080/v1", api_key = "none",
---      timeout = { connect = 2, total = 30 },
---    }
---    print(opperchat.type(client))                            --> client	true
---@param options? opperchat.ClientOptions left out: all from the environment
---@return opperchat.Client client to be shared by all that talk to this server
function opperchat.client(options) end

---Makes a conversation, or goes on with the one in its journal.
---Raises when an option is not what it must be; the name that was probably meant is named.
---
---    local chat = opperchat.conversation{
---      model = "openai/gpt-5-mini", system = "You are concise.",
---      policy = opperchat.policy.fit{ tokens = 8000 },
---    }
---    print(#chat)                                             --> 1
---@param options? opperchat.ConversationOptions what it is made of, and what its requests say
---@return opperchat.Conversation? chat nil only when its journal cannot be used
---@return opperchat.LoadReport|opperchat.Error|nil report of a journal that was there already, or
---why it cannot be used
function opperchat.conversation(options) end

---Makes a conversation of a file that `save` or a journal has written.
---@param path string of the file
---@param options? opperchat.ConversationOptions all but `system` and `messages`
---@return opperchat.Conversation? chat with the options and the usage of the file
---@return opperchat.LoadReport|opperchat.Error report of what was read, or why it could not be
function opperchat.load(path, options) end

---Makes a conversation of a plain list, mended where that is needed.
---
---    local chat = assert(opperchat.import('[{"role":"user","content":"Hi"}]'))
---    print(chat:last().content)                               --> Hi
---@param source string|table JSON text of a list or of a request's body, or such a table
---@param options? opperchat.ConversationOptions all but `messages`
---@return opperchat.Conversation? chat nil: it is no list of messages
---@return opperchat.HistoryRepair[]|opperchat.Error report what was mended, or why it is none
function opperchat.import(source, options) end

---Moves every client forward: once a frame.
---Raises what a handler has raised, after the others were called.
---@param given? number|opperchat.PollOptions seconds to wait for news at most (0), or a table
---@return integer active how many requests are under way and tasks asleep
function opperchat.poll(given) end

---Runs a function in a coroutine in which waiting does not block.
---Raises what the function raises before its first wait. What it raises later comes out of the
---`poll`, or the loop, that resumed it, or of `task:wait()` where somebody waits for it.
---
---    local task = opperchat.go(function(seconds)
---      opperchat.sleep(seconds)
---      return "slept"
---    end, 0.01)
---    print(task:wait())                                       --> slept
---@param fn function runs until it waits for the first time before `go` returns
---@param ... any its arguments
---@return opperchat.Task task that may have ended already
function opperchat.go(fn, ...) end

---Waits for some time, inside `go` without blocking; outside of it all clients go on meanwhile.
---Raises inside of a handler, which must not wait.
---@param seconds number 0 or less: it only lets others go on
function opperchat.sleep(seconds) end

---Marks a table as a list, so that it is written as `[]` when it is empty.
---
---    local required = opperchat.array{}
---    print(#required)                                         --> 0
---@param list? table is marked itself; left out: a new one
---@return table list the same
function opperchat.array(list) end

---An image for a prompt. The file is read when the part is sent or appended.
---Raises when an option is not what it must be; a file that cannot be read is an error of the send.
---@param source string|opperchat.ImageData path, URL or bytes
---@param options? opperchat.ImageOptions left out: as recognized
---@return opperchat.ImagePart part of a content
function opperchat.image(source, options) end

---A file for a prompt, such as a PDF.
---@param source string|opperchat.FileData path, URL or bytes
---@param options? opperchat.FileOptions left out: as recognized
---@return opperchat.FilePart part of a content
function opperchat.file(source, options) end

---Audio for a prompt.
---@param source string|opperchat.AudioData path or bytes
---@param options? opperchat.MediaOptions left out: as recognized
---@return opperchat.AudioPart part of a content
function opperchat.audio(source, options) end

---A key from the environment, a file or a command, for `api_key`.
---
---    local client = opperchat.client{
---      base_url = "http://127.0.0.1:8080/v1",
---      api_key = opperchat.secret{ env = "MY_KEY" },
---    }
---    client:close()
---@param options opperchat.SecretOptions exactly one of its fields
---@return opperchat.Secret secret that is fetched with the first request
function opperchat.secret(options) end

---Looks for what is wrong between this program and its server, and says what to do about it.
---@param options? opperchat.DoctorOptions defaults of all
---@return opperchat.DoctorReport report all that was found, good and bad
function opperchat.doctor(options) end

---What kind of object a value is.
---
---    print(opperchat.type(opperchat.conversation{}))          --> conversation	true
---@param value any anything
---@return "client"|"conversation"|"request"|nil kind nil: none of ours
---@return boolean? is_open false: a client or a conversation that was closed. A request cannot be
---closed, and counts as open when it has ended too: see `request:state()`. nil: none of ours
function opperchat.type(value) end

return opperchat
