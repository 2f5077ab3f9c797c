local errors = require "opperchat.errors"
local overflow = require "opperchat.overflow"
local with = require "spec.support.with"

-- { text, window, tokens }
local TEXTS = {
  -- OpenAI, Azure and those who speak like them
  { "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
    .. "tokens. Please reduce the length of the messages.", 8192, 9001 },
  { "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
    .. "(8000 in the messages, 1000 in the completion). Please reduce the length of the messages "
    .. "or completion.", 8192, 9000 },
  { "This model's maximum context length is 8191 tokens, however you requested 10346 tokens "
    .. "(10346 in your prompt; 5 for the completion). Please reduce your prompt; or completion "
    .. "length.", 8191, 10346 },
  { "Your input exceeds the context window of this model. Please adjust your input and try "
    .. "again." },
  { "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 305127 "
    .. "tokens. Please reduce the length of the messages.", 272000, 305127 },
  -- Anthropic
  { "prompt is too long: 210000 tokens > 200000 maximum", 200000, 210000 },
  { "prompt is too long: 210,000 tokens > 200,000 maximum", 200000, 210000 },
  { "Prompt is too long" },
  { "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input "
    .. "length or `max_tokens` and try again", 200000, 210000 },
  -- Gemini
  { "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    1048576, 1200000 },
  { "The input token count exceeds the maximum number of tokens allowed 1048576.", 1048576 },
  { "Unable to submit request because the input token count is 1200000 but model only supports up "
    .. "to 1048576. Reduce the input token count and try again.", 1048576, 1200000 },
  -- llama.cpp, Ollama, LM Studio, llama-cpp-python
  { "the request exceeds the available context size (4096 tokens), try increasing it", 4096 },
  { "the request exceeds the available context size, try increasing it" },
  { "request (9001 tokens) exceeds the available context size (8192 tokens), try increasing it",
    8192, 9001 },
  { "Context size has been exceeded." },
  { "prompt too long; exceeded max context length by 4 tokens" },
  { "the input length exceeds the context length" },
  { "The number of tokens to keep from the initial prompt is greater than the context length "
    .. "(n_keep: 9001>= n_ctx: 8192). Try to load the model with a larger context length",
    8192, 9001 },
  { "Requested tokens (9001) exceed context window of 8192", 8192, 9001 },
  -- vLLM, SGLang, TGI
  { "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the "
    .. "messages, Please reduce the length of the messages.", 4096, 5000 },
  { "This model's maximum context length is 4096 tokens. However, your request has 5000 input "
    .. "tokens. Please reduce the length of the input messages.", 4096, 5000 },
  { "This model's maximum context length is 4096 tokens. However, you requested 1000 output tokens "
    .. "and your prompt contains at least 3097 input tokens, for a total of at least 4097 tokens. "
    .. "Please reduce the length of the input prompt or the number of requested output tokens.",
    4096, 4097 },
  { "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context "
    .. "length is 4096 tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
    4096, 4104 },
  { "The decoder prompt (length 88049) is longer than the maximum model length of 32768. Make sure "
    .. "that `max_model_len` is no smaller than the number of text tokens.", 32768, 88049 },
  { "The prompt (total length 25938) is too long to fit into the model (context length 4096). Make "
    .. "sure that `max_model_len` is no smaller", 4096, 25938 },
  { "The input (516368 tokens) is longer than the model's context length (262144 tokens).",
    262144, 516368 },
  { "Requested token count exceeds the model's maximum context length of 131072 tokens. You "
    .. "requested a total of 140000 tokens: 130000 tokens from the input messages and 10000 tokens "
    .. "for the completion.", 131072, 140000 },
  { "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 "
    .. "`inputs` tokens and 512 `max_new_tokens`", 8193, 9512 },
  { "Input validation error: `inputs` must have less than 1024 tokens. Given: 1030", 1024, 1030 },
  -- Mistral, xAI, Groq, Cerebras, Fireworks, Together, Cohere
  { "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
    .. "context length", 32768, 40000 },
  { "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    131072, 140000 },
  { "Please reduce the length of the messages or completion." },
  { "Please reduce the length of the messages or completion. Current length is 9001 while limit is "
    .. "8192", 8192, 9001 },
  { "The prompt is too long: 140000, model maximum context length: 131072", 131072, 140000 },
  { "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
    4081, 5000 },
  -- OpenRouter and what stands behind it
  { "This endpoint's maximum context length is 1048576 tokens. However, you requested about "
    .. "1293741 tokens (1227853 of text input, 353 of tool input, 65535 in the output). Please "
    .. "reduce the length of either one, or use the \"middle-out\" transform.", 1048576, 1293741 },
  { "Provider returned error: Input length 131393 exceeds the maximum allowed input length of "
    .. "131040 tokens.", 131040, 131393 },
  { "Input length (265330) exceeds model's maximum context length (262144).", 262144, 265330 },
  { "Prompt has 5,958,968 tokens, but the configured context size is 256,000 tokens",
    256000, 5958968 },
  -- Bedrock, Copilot, Moonshot, Qwen, MiniMax, Doubao, Z.ai
  { "Input is too long for requested model." },
  { "prompt token count of 140000 exceeds the limit of 128000", 128000, 140000 },
  { "Invalid request: Your request exceeded model token limit: 262144 (requested: 270000)",
    262144, 270000 },
  { "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 202745]",
    202745 },
  { "invalid params, context window exceeds limit (2013)" },
  { "Total tokens of image and text exceed max message tokens. Request id: 0217" },
  { "Prompt exceeds max length" },
  -- gateways that wrap it
  { "litellm.ContextWindowExceededError: litellm.BadRequestError: prompt is too long" },
  { "Error code: 400 - {\"error\": {\"code\": \"context_length_exceeded\"}}" },
}

local OTHERS = {
  -- so much a minute
  "Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000.",
  "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, "
    .. "Requested 90000. The input or output tokens must be reduced in order to run successfully.",
  "Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, "
    .. "Requested 9000, please reduce your message size and try again.",
  "Rate limit exceeded: prompt is too long for your tier",
  "ThrottlingException: Too many tokens, please wait before trying again.",
  "Too many tokens, please wait before trying again.",
  "You exceeded your current quota, please check your plan and billing details.",
  -- an answer that is too long
  "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas "
    .. "you provided 100000.",
  "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for the model",
  "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length "
    .. "is 4096 tokens and your request has 12 input tokens (8192 > 4096 - 12).",
  "This model's maximum context length is 4097 tokens. However, you requested 5012 tokens (12 in "
    .. "the messages, 5000 in the completion). Please reduce the length of the messages or "
    .. "completion.",
  "Range of max_tokens should be [1, 8192]",
  "Could not finish the message because max_tokens or model output limit was reached.",
  -- a body that is too large
  "Request Entity Too Large", "Payload too large", "413 Request Entity Too Large nginx/1.18",
  "Request exceeds the maximum size", "request_too_large: Request exceeds the maximum allowed "
    .. "number of bytes.",
  "Invalid 'messages[0].content': string too long. Expected a string with maximum length 10485760, "
    .. "but got a string with length 10485761 instead.",
  -- and all the rest
  "", "Internal server error", "The model `gpt-9` does not exist", "Incorrect API key provided",
  "messages: at least one message is required",
  "An assistant message with 'tool_calls' must be followed by tool messages",
  "Invalid schema for function 'f': too many properties", "Overloaded",
}

local function read(text, fields)
  return overflow.read(errors.wrap(with({
    kind = "api", code = "invalid_request_error", status = 400, message = text,
  }, fields)))
end

describe("overflow.read", function()
  it("knows what the servers say, and the numbers in it", function()
    for _, case in ipairs(TEXTS) do
      local found = read(case[1])
      assert.is_table(found, case[1])
      assert.are.equal(case[2], found.window, case[1])
      assert.are.equal(case[3], found.tokens, case[1])
    end
  end)

  it("takes nothing else for it", function()
    for _, text in ipairs(OTHERS) do
      assert.is_nil(read(text), text)
      assert.is_nil(read(text, { status = 413, kind = "http", code = "http_status" }), text)
    end
  end)

  it("minds neither case nor line breaks nor what stands around", function()
    assert.are.same({ window = 200000, tokens = 210000 },
      read("upstream said:\n  PROMPT IS TOO LONG: 210000 tokens\n> 200000 maximum\n"))
  end)

  it("knows the codes", function()
    for _, code in ipairs { "context_length_exceeded", "exceed_context_size_error",
      "ContextWindowExceededError", "model_context_window_exceeded", "prompt_too_long" } do
      assert.are.same({}, read("no", { code = code }), code)
      assert.are.same({ window = 10 }, read("maximum context length is 10", { code = code }))
    end
    assert.are.same({}, overflow.read { code = "context_length_exceeded" })
    assert.is_nil(read("no", { code = "string_above_max_length" }))
  end)

  it("believes a code more than a status", function()
    assert.are.same({}, read("slow down", { code = "context_length_exceeded", status = 429 }))
    assert.is_nil(read("prompt is too long", { status = 429 }))
    assert.is_nil(read("prompt is too long", { code = "rate_limit_exceeded" }))
  end)

  it("refuses an answer that fits no window, whatever the code", function()
    assert.is_nil(read("This model's maximum context length is 4097 tokens. However, you requested "
      .. "5012 tokens (12 in the messages, 5000 in the completion).",
      { code = "context_length_exceeded" }))
  end)

  it("reads errors of the server alone", function()
    for _, kind in ipairs { "network", "tls", "timeout", "protocol", "truncated", "cancelled",
      "limit", "tool", "schema", "store" } do
      assert.is_nil(read("prompt is too long", { kind = kind }), kind)
    end
    assert.are.same({}, read("prompt is too long", { kind = "http", status = 500 }))
    for _, value in ipairs { "prompt is too long", 5, true, print } do
      assert.is_nil(overflow.read(value))
    end
    assert.is_nil(overflow.read(nil))
    assert.is_nil(overflow.read {})
    assert.is_nil(overflow.read { kind = "api", code = 400, message = {}, status = "400" })
  end)

  it("gives integers or nothing", function()
    local huge = ("9"):rep(40)
    assert.are.same({}, read("prompt is too long: " .. huge .. " tokens > 0 maximum"))
    local found = read("prompt is too long: 210000 tokens > 200000 maximum")
    assert.are.equal("200000 210000", found.window .. " " .. found.tokens)
  end)

  it("is quick with whatever it gets", function()
    local started = os.clock()
    for _, piece in ipairs { "exceed ", "prompt ", "context length ", "1,", "%d+ ", "1 + 1 > ",
      "input token count ", "\0\255" } do
      read(piece:rep(100000))
    end
    assert.is_true(os.clock() - started < 2 or os.getenv("OPPERCHAT_SLOW") ~= nil)
  end)
end)
