-- Common to scripts that touch what a member holds. KEYS 1 to 3: stream, retry stream, members.
-- ARGV 1 to 3: group, member, incarnation.
local group, me, incarnation = ARGV[1], ARGV[2], ARGV[3]
local RETURNED, SUSPECTS = 'zephcast/returned', 'zephcast/suspects'

local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether another process joined under this member's name since.
local function replaced()
  local entry = redis.call('HGET', KEYS[3], me)
  return entry and string.sub(entry, 1, #incarnation) ~= incarnation
end

-- Who holds an entry; false when nobody does, also without a group.
local function owner_of(key, id)
  local pending = redis.pcall('XPENDING', key, group, id, id, 1)
  return pending[1] and pending[1][2] or false
end

-- The entries of `consumer` that nobody renewed for `idle`: ids and delivery counts.
local function pending_of(key, consumer, idle, from, limit)
  local pending = redis.pcall('XPENDING', key, group, 'IDLE', idle, from, '+', limit, consumer)
  return pending.err and {} or pending
end

-- Gives entries to a consumer without raising their counts. Returns how many are gone from the stream.
local function move(key, consumer, ids)
  if #ids == 0 then return 0 end
  local command = {'XCLAIM', key, group, consumer, 0}
  for _, id in ipairs(ids) do command[#command + 1] = id end
  command[#command + 1] = 'JUSTID'
  local there = {}
  for _, id in ipairs(redis.call(unpack(command))) do there[id] = true end
  local gone = 0
  for _, id in ipairs(ids) do
    if not there[id] then
      gone = gone + 1
      redis.call('XACK', key, group, id)
    end
  end
  return gone
end
