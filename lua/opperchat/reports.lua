---What policies did, as programs hear of it.
local core = require "opperchat.core"
local message = require "opperchat.message"

local reports = {}

---What a policy did, as programs see it.
---@class opperchat.PolicyReport
---@field policy string its name
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many it has written
---@field tokens_before integer tokens of the request before
---@field tokens_after integer and after
---@field usage? opperchat.Usage of the requests it made
---@field in_background? boolean whether it worked between turns

local function report_of(step)
  local missing = core.missing(step.base, step.edited)
  return {
    policy = step.policy, dropped = #missing, added = #step.edited - #step.base + #missing,
    tokens_before = step.tokens_before, tokens_after = step.tokens_after, usage = step.usage,
    in_background = step.in_background,
  }, missing
end

---What is to be called about edits that have been made.
---@param chat opperchat.Conversation
---@param steps opperchat.PolicyStep[]
---@param failures {policy: string, err: opperchat.Error}[]
---@return function[]
function reports.tellings(chat, steps, failures)
  local given, list = core.state(chat).options, {}
  for _, step in ipairs(steps) do
    local report, missing = report_of(step)
    if given.on_drop and #missing > 0 then
      local messages = {}
      for i, at in ipairs(missing) do
        messages[i] = message.at(step.base, at)
      end
      list[#list + 1] = function()
        given.on_drop(messages, report)
      end
    end
    if given.on_compact then
      list[#list + 1] = function()
        given.on_compact(report)
      end
    end
  end
  for _, failure in ipairs(failures) do
    if given.on_compact then
      list[#list + 1] = function()
        given.on_compact({ policy = failure.policy, dropped = 0, added = 0,
          usage = failure.usage }, failure.err)
      end
    end
  end
  return list
end

---Calls all of a list; what the first failing one raises is raised at the end.
---@param list function[]
function reports.call_all(list)
  local first
  for _, fn in ipairs(list) do
    local ok, err = pcall(fn)
    first = first or not ok and { err } or nil
  end
  if first then
    error(first[1], 0)
  end
end

---What `compact` has done.
---@class opperchat.CompactReport
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many were written
---@field tokens_before integer
---@field tokens_after integer
---@field policies opperchat.PolicyReport[] one for each policy that changed something

---@param steps opperchat.PolicyStep[]
---@param before integer tokens
---@param after integer tokens
---@return opperchat.CompactReport
function reports.sum_up(steps, before, after)
  local report = {
    dropped = 0, added = 0, tokens_before = before, tokens_after = after, policies = {},
  }
  for i, step in ipairs(steps) do
    local one = report_of(step)
    report.policies[i] = one
    report.dropped, report.added = report.dropped + one.dropped, report.added + one.added
  end
  return report
end

return reports
