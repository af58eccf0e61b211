-- The lease of a consumer in ms, for how long it was not heard of, and whether it is a member. One that says nothing of
-- itself has the lease `foreign`, and is heard of when it reads.
local function lease_of(name, idle, foreign)
  local lease, renewed = string.match(redis.call('HGET', KEYS[3], name) or '', '^%S+ (%d+) (%d+)')
  if not lease then return foreign, idle, false end
  return tonumber(lease), server_ms() - tonumber(renewed), true
end

