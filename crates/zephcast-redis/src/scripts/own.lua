-- Common to scripts that touch what a member holds. KEYS 1 to 3: stream, retry stream, members.
-- ARGV 1 to 3: group, member, incarnation.
local group, me, incarnation = ARGV[1], ARGV[2], ARGV[3]
local RETURNED, SUSPECTS = 'zephcast/returned', 'zephcast/suspects'

local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What a command says; nothing where the key or the group is missing. Every other failure is the script's own.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  for _, missing in ipairs({'NOGROUP', 'no such key', 'requires the key to exist'}) do
    if string.find(reply.err, missing, 1, true) then return {} end
  end
  return redis.call(...)
end

-- What this member said of itself when it was last heard of: incarnation, lease, when that was, age of its oldest
-- delivery, since when this is known without a gap. Times are in ms.
local report = redis.pcall('HGET', KEYS[3], me)
if type(report) == 'table' then
  if not string.find(report.err, 'WRONGTYPE', 1, true) then return report end
  return redis.error_reply('WRONGTYPE the key ' .. KEYS[3] .. ' is not a hash')
end
local is_mine = report and string.sub(report, 1, #incarnation) == incarnation

local function write_report(command, lease, now, oldest, since)
  local words = {incarnation, lease, string.format('%.0f', now), oldest, string.format('%.0f', since)}
  return command('HSET', KEYS[3], me, table.concat(words, ' '))
end

-- Since when nobody else can have been here under this member's name; none when that is not known.
local function known_since()
  return is_mine and tonumber(string.match(report, ' (%d+)$')) or nil
end

-- Whether another process joined under this member's name since.
local function replaced()
  return report and not is_mine
end

-- Fails before anything is written when what comes last is not allowed: a script is never rolled back.
local function require_settling(key)
  redis.call('XACK', key, group, '0-0')
  redis.call('XDEL', key, '0-0')
end

-- Who holds an entry; false when nobody does, also without a group.
local function owner_of(key, id)
  local pending = ask('XPENDING', key, group, id, id, 1)
  return pending[1] and pending[1][2] or false
end

-- The entries of `consumer` that nobody renewed for `idle`: ids and delivery counts.
local function pending_of(key, consumer, idle, from, limit)
  return ask('XPENDING', key, group, 'IDLE', idle, from, '+', limit, consumer)
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

