-- Acks what is this member's. ARGV 4: until when (server ms) nobody can have taken anything; 5: whether an earlier call
-- with these ids had no answer; 6: how many of the ids that follow are the stream's, the others are the retry stream's.
-- Returns the places of those that came too late.
local again, first = ARGV[5] == '1', 7
local split = first + tonumber(ARGV[6])
local lost = {}

if replaced() then
  for i = first, #ARGV do lost[#lost + 1] = i - first end
  return lost
end

-- What is settled again was not renewed since it was collected, so the time says nothing of it.
local safe = not again and server_ms() < tonumber(ARGV[4])
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
