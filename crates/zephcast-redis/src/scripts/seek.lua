-- Moves the group, after `idle`. ARGV 5: after which entry it goes on.
-- Returns who lives; nothing is done then.
local to = ARGV[5]
-- What is beyond the newest entry would pass over entries to come.
if to ~= '$' and #redis.call('XRANGE', KEYS[1], '(' .. to, '+', 'COUNT', 1) == 0 then to = '$' end

-- Fails before anything is written when what comes last is not allowed: a script is never rolled back.
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, 'zephcast/none')
redis.call('XGROUP', 'SETID', KEYS[1], group, to)
-- If all is lost, the group begins here again.
redis.call('HSET', KEYS[3], '/start', last_delivered())
-- What was pending goes with its consumers. The retry stream has copies of the group's own, and stays as it is.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], group)) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, facts.name)
end
return {}
