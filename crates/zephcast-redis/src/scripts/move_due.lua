-- Moves what is due to the retry stream, which wakes readers. KEYS: delayed, retry stream. ARGV: at most so many.
-- Returns how many were moved, and in how many ms the next is due (-1: nothing waits).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, packed in ipairs(due) do
  redis.call('XADD', KEYS[2], '*', unpack(cmsgpack.unpack(packed)))
  redis.call('ZREM', KEYS[1], packed)
end
local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {#due, next_due and math.max(math.ceil(next_due - now), 0) or -1}
