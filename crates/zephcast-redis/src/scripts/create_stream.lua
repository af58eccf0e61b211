-- Creates an empty stream where there is none. KEYS: stream.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'stream' then return 0 end
if kind ~= 'none' then
  return redis.error_reply('WRONGTYPE Operation against a key holding the wrong kind of value')
end
redis.call('XGROUP', 'CREATE', KEYS[1], 'zephcast/create', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[1], 'zephcast/create')
return 1
