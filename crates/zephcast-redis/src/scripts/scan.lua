-- Looks after the group. What a member held whose lease passed becomes suspect; members that left or died and hold
-- nothing are forgotten. KEYS 4: delayed. ARGV 4: lease in ms of consumers that are no members; 5: at most so many
-- entries of each; 6: whether to look at the living too, for entries that nobody renewed.
-- Returns how many are parked as returned and as suspect, how many are gone, whether there may be more, and in how many
-- ms something is due (-1: nothing waits).
local now, limit, thorough = server_ms(), tonumber(ARGV[5]), ARGV[6] == '1'
local parked, gone, more = {[RETURNED] = 0, [SUSPECTS] = 0}, 0, 0
local holds, expired = {}, {}

for k = 1, 2 do
  for _, consumer in ipairs(ask('XINFO', 'CONSUMERS', KEYS[k], group)) do
    local facts = {}
    for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
    local name = facts.name
    holds[name] = (holds[name] or 0) + facts.pending
    if not parked[name] then
      local lease, silent, is_member = lease_of(name, facts.idle, tonumber(ARGV[4]))
      if is_member and silent >= lease * 10 and name ~= me then expired[name] = true end
      if facts.pending > 0 and (thorough or (silent >= lease and name ~= me)) then
        local ids = {}
        for _, entry in ipairs(pending_of(KEYS[k], name, lease, '-', limit)) do ids[#ids + 1] = entry[1] end
        if #ids == limit then more = 1 end
        gone = gone + move(KEYS[k], SUSPECTS, ids)
        holds[name] = holds[name] - #ids
        parked[SUSPECTS] = parked[SUSPECTS] + #ids
      end
    else
      parked[name] = parked[name] + facts.pending
    end
  end
end

for name in pairs(expired) do
  if holds[name] == 0 then
    for k = 1, 2 do ask('XGROUP', 'DELCONSUMER', KEYS[k], group, name) end
    redis.call('HDEL', KEYS[3], name)
  end
end

local next_due = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
local due_in = next_due and math.max(math.ceil(next_due - now), 0) or -1
return {parked[RETURNED], parked[SUSPECTS], gone, more, due_in}
