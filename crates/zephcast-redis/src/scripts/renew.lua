-- Says that the member lives and renews what it still holds; never takes anything back.
-- ARGV 4: lease in ms; 5: age of the oldest delivery in ms; 6: how many of the ids that follow are the stream's.
-- Returns the time and the places of those that others hold, and of those that are gone from the stream.
local first = 7
local split = first + tonumber(ARGV[6])
local now, lost, gone = server_ms(), {}, {}

if replaced() then return {-1, lost, gone} end
local noted = write_report(redis.pcall, ARGV[4], now, ARGV[5], known_since() or now)
-- When memory is short a lease must not end for that.
if type(noted) == 'table' and noted.err and not string.find(noted.err, 'OOM', 1, true) then return noted end

local function renew(key, from, to)
  local command, place = {'XCLAIM', key, group, me, 0}, {}
  for i = from, to do
    local owner = owner_of(key, ARGV[i])
    if owner == me then
      command[#command + 1] = ARGV[i]
      place[ARGV[i]] = i - first
    elseif owner then
      lost[#lost + 1] = i - first
    end
  end
  if next(place) == nil then return end
  command[#command + 1] = 'JUSTID'
  for _, id in ipairs(redis.call(unpack(command))) do place[id] = nil end
  for _, i in pairs(place) do gone[#gone + 1] = i end
end

renew(KEYS[1], first, split - 1)
renew(KEYS[2], split, #ARGV)
return {now, lost, gone}
