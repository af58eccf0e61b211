-- Moves what is due to the retry stream, which wakes readers. KEYS: delayed, retry stream. ARGV: at most so many; for
-- how many ms to put off what cannot be moved.
-- Returns how many were due, in how many ms the next is (-1: nothing waits), and how many were put off.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The fields of a message that waits. None when XADD cannot be given them: such a one must not hold up the others.
local function fields_of(packed)
  local read, fields = pcall(cmsgpack.unpack, packed)
  if not read or type(fields) ~= 'table' or #fields < 2 or #fields % 2 == 1 or #fields > 7900 then return nil end
  for _, field in ipairs(fields) do
    if type(field) ~= 'string' then return nil end
  end
  return fields
end

-- Fails before anything is written when what comes last is not allowed: a script is never rolled back.
redis.call('ZREM', KEYS[1], '')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local put_off = 0
for _, packed in ipairs(due) do
  local fields = fields_of(packed)
  if fields then
    redis.call('XADD', KEYS[2], '*', unpack(fields))
    redis.call('ZREM', KEYS[1], packed)
  else
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), packed)
    put_off = put_off + 1
  end
end
local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {#due, next_due and math.max(math.ceil(next_due - now), 0) or -1, put_off}
