-- Acks what is this member's. ARGV 4 and 5: from when until when (server ms) nobody can have taken anything, as far as
-- this member was known all the time; 6: whether an earlier call with these ids had no answer; 7: how many of the ids
-- that follow are the stream's, the others are the retry stream's.
-- Returns the places of those that came too late.
local again, first = ARGV[6] == '1', 8
local split = first + tonumber(ARGV[7])
local lost = {}

if replaced() then
  for i = first, #ARGV do lost[#lost + 1] = i - first end
  return lost
end

-- What is settled again was not renewed since it was collected, so the time says nothing of it.
local since = known_since()
local safe = not again and since and since <= tonumber(ARGV[4]) and server_ms() < tonumber(ARGV[5])
local function ack(key, from, to, delete)
  if from > to then return end
  if safe then
    redis.call('XACK', key, group, unpack(ARGV, from, to))
    if delete then redis.call('XDEL', key, unpack(ARGV, from, to)) end
    return
  end
  for i = from, to do
    local owner = owner_of(key, ARGV[i])
    if owner == me then
      redis.call('XACK', key, group, ARGV[i])
      if delete then redis.call('XDEL', key, ARGV[i]) end
    elseif owner or not again then
      lost[#lost + 1] = i - first
    end
  end
end

ack(KEYS[1], first, split - 1, false)
ack(KEYS[2], split, #ARGV, true)
return lost
