---Policies: what leaves the list before a request, so that a conversation can go
---on for ever.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local pipeline = require "opperchat.policy.pipeline"
local policies = require "opperchat.policies"

local policy = {}

for name, new in pairs(policies) do
  policy[name] = new
end

---What one policy did to a list.
---@class opperchat.PolicyStep
---@field policy string its name
---@field base opperchat.Conversation the list before
---@field edited opperchat.Conversation and after
---@field tokens_before integer
---@field tokens_after integer
---@field usage? opperchat.Usage of the requests it made

-- Whether two lists hold the same messages.
local function is_same(a, b)
  return #a == #b and core.common(a, b) == #a
end

-- Why a list cannot be what a policy wanted; nil: it can.
local function find_loss(base, edited)
  local _, before = core.turn(base, 1)
  local _, after = core.turn(edited, 1)
  if before > 0 and after == 0 then
    return "the policy has left no user message"
  end
  local last, role = core.kinds(base):sub(-1):lower(), core.kinds(edited):sub(-1):lower()
  if last ~= role and (last == "u" or last == "t") then
    -- it would be sent without what is asked
    return "the policy has dropped the end of the list"
  end
end

local function failed(problem)
  return errors.new("tool", "policy_failed", tostring(problem))
end

-- Lets one policy edit the draft.
local function run_step(of, draft, outcome)
  local base = core.fork(draft.list)
  local tokens_before = draft:tokens()
  draft.usage, draft.would_ask = nil, nil
  local done, err = of:apply(draft)
  if not done and err and not errors.is(err) then
    err = failed(err)
  elseif done or not err then
    local loss = find_loss(base, draft.list)
    done, err = not loss, loss and failed(loss)
  end
  if not done and err then
    core.assign(draft.list, base)
    outcome.errors[#outcome.errors + 1] = { policy = of.name, err = err, usage = draft.usage }
  elseif draft.would_ask then
    outcome.would_ask[#outcome.would_ask + 1] = of.name
  elseif not is_same(base, draft.list) then
    outcome.steps[#outcome.steps + 1] = {
      policy = of.name, base = base, edited = core.fork(draft.list),
      tokens_before = tokens_before, tokens_after = (draft:tokens()), usage = draft.usage,
    }
  end
end

local function run_all(of, draft, outcome)
  if not of.steps then
    return run_step(of, draft, outcome)
  end
  for _, step in ipairs(of.steps) do
    run_all(step, draft, outcome)
  end
end

---What came of applying a policy.
---@class opperchat.PolicyOutcome
---@field steps opperchat.PolicyStep[] what changed the list
---@field errors {policy: string, err: opperchat.Error}[] what could not be done
---@field would_ask string[] policies that would ask a model and may not

---Applies a policy to a draft.
---@param of opperchat.Policy
---@param draft opperchat.Draft
---@return opperchat.PolicyOutcome
function policy.run(of, draft)
  local outcome = { steps = {}, errors = {}, would_ask = {} }
  run_all(of, draft, outcome)
  return outcome
end

---Whether a policy asks a model.
---@param of opperchat.Policy
---@return boolean
function policy.asks(of)
  for _, step in ipairs(of.steps or {}) do
    if policy.asks(step) then
      return true
    end
  end
  return of.asks == true
end

---Whether a policy goes by the model's context window.
---@param of opperchat.Policy
---@return boolean
function policy.wants_window(of)
  for _, step in ipairs(of.steps or {}) do
    if policy.wants_window(step) then
      return true
    end
  end
  return of.wants_window == true
end

policy.compile = pipeline.compile

return policy
