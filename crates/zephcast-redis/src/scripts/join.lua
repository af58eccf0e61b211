-- Creates the group where it is missing and enters the member.
-- ARGV 4 to 7: lease in ms, start, whether a missing stream is created, whether to begin at the group's old start.
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

local now = server_ms()
redis.call('HSET', KEYS[3], me, incarnation .. ' ' .. lease .. ' ' .. string.format('%.0f', now) .. ' 0')

-- What an earlier process of this name held when it ended: one of these may have ended it.
local gone = 0
if ARGV[7] == '0' then
  for k = 1, 2 do
    while true do
      local pending = pending_of(KEYS[k], me, 0, '-', 500)
      local ids = {}
      for _, entry in ipairs(pending) do ids[#ids + 1] = entry[1] end
      gone = gone + move(KEYS[k], SUSPECTS, ids)
      if #ids < 500 then break end
    end
    redis.call('XGROUP', 'CREATECONSUMER', KEYS[k], group, me)
  end
end
return {now, gone}
