--- Options of a helper, and those that its caller gives beside them or instead.
--
--   opperchat.client(with({ base_url = server.url, max_retries = 0 }, more))

--- The first table, into which all of the second is put.
---@param defaults table
---@param more? table
---@return table defaults
return function(defaults, more)
  for name, value in pairs(more or {}) do
    defaults[name] = value
  end
  return defaults
end
