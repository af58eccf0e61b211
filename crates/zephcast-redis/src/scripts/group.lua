-- Creates the group where it is missing, and its retry stream.
-- ARGV 4: lease in ms; 5: start; 6: whether a missing stream is created; 7: whether to begin at the group's old start.
local lease, start, create = ARGV[4], ARGV[5], ARGV[6] == '1'

local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
if start == '$' then start = last end

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
if created then redis.call('HSET', KEYS[3], '/start', start) end
local helped = create_group(KEYS[2], '0', true)
if type(helped) == 'table' then return helped end

