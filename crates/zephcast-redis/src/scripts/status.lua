-- Everything that there is to say of a group, at one moment. KEYS: stream, retry stream, delayed, dead letters, members.
-- ARGV: group.
-- Returns the time in ms; the newest id that the stream ever had how many entries (-1: Redis does not count), and how
-- many it has; what
-- `XINFO GROUPS` says of the stream; summaries of what is pending on the stream and on the retry stream; how long the retry
-- stream, the delayed and the dead letters are; the group's consumers on both streams; the members' reports.
local group = ARGV[1]
local time = redis.call('TIME')

-- What a command says; nothing where the key or the group is missing.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  for _, missing in ipairs({'NOGROUP', 'no such key'}) do
    if string.find(reply.err, missing, 1, true) then return {} end
  end
  return redis.call(...)
end

-- Asked for in here, since the whole answer has two payloads in it.
local newest, added
local facts = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #facts, 2 do
  if facts[i] == 'last-generated-id' then newest = facts[i + 1] end
  if facts[i] == 'entries-added' then added = facts[i + 1] end
end

return {
  time[1] * 1000 + math.floor(time[2] / 1000),
  {newest, added or -1, redis.call('XLEN', KEYS[1])},
  redis.call('XINFO', 'GROUPS', KEYS[1]),
  {ask('XPENDING', KEYS[1], group), ask('XPENDING', KEYS[2], group)},
  {redis.call('XLEN', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('XLEN', KEYS[4])},
  {ask('XINFO', 'CONSUMERS', KEYS[1], group), ask('XINFO', 'CONSUMERS', KEYS[2], group)},
  redis.call('HGETALL', KEYS[5]),
}
