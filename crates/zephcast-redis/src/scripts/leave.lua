-- Gives back what the member still holds, as never handed out, and forgets the member when it holds nothing.
-- Returns how many are gone, and whether there may be more to give back.
if replaced() then return {0, 0} end
local gone = 0
for k = 1, 2 do
  local pending = pending_of(KEYS[k], me, 0, '-', 500)
  for _, entry in ipairs(pending) do
    local count = math.max(entry[4] - 1, 0)
    local given = redis.call('XCLAIM', KEYS[k], group, RETURNED, 0, entry[1], 'RETRYCOUNT', count, 'JUSTID')
    if not given[1] then
      gone = gone + 1
      redis.call('XACK', KEYS[k], group, entry[1])
    end
  end
  if #pending == 500 then return {gone, 1} end
end
for k = 1, 2 do ask('XGROUP', 'DELCONSUMER', KEYS[k], group, me) end
redis.call('HDEL', KEYS[3], me)
return {gone, 0}
