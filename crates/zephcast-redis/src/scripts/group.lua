-- Creates the group where it is missing, and its retry stream. More KEYS, for their kinds alone: delayed, dead letters.
-- ARGV 4: lease in ms; 5: start; 6: whether a missing stream is created; 7: whether to begin at the group's old start.
local lease, start, create = ARGV[4], ARGV[5], ARGV[6] == '1'

for k, kind in ipairs({'stream', 'stream', 'hash', 'zset', 'stream'}) do
  local found = KEYS[k] and redis.call('TYPE', KEYS[k]).ok or 'none'
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE the key ' .. KEYS[k] .. ' is a ' .. found .. ', not a ' .. kind)
  end
end

local function create_group(key, from, make)
  local command = {'XGROUP', 'CREATE', key, group, from}
  if make then command[#command + 1] = 'MKSTREAM' end
  local done = redis.pcall(unpack(command))
  if done.err and not string.find(done.err, 'BUSYGROUP', 1, true) then return done end
  return not done.err
end

local known = redis.call('HGET', KEYS[3], '/start')
if ARGV[7] == '1' and known then start = known end
local created = create_group(KEYS[1], start, create)
if type(created) == 'table' then return created end
if created then
  if start == '$' then start = last_delivered() end
  redis.call('HSET', KEYS[3], '/start', start)
else
  start = known or last_delivered()
end
local helped = create_group(KEYS[2], '0', true)
if type(helped) == 'table' then return helped end

