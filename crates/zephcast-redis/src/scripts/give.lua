-- Gives entries of this member to a consumer, with their attempts as the count. ARGV 4: that consumer; 5: whether an
-- earlier call had no answer; then by entry: 1 for the retry stream, id, attempts.
-- Returns the places of those that came too late, and of those that are gone from the stream.
local target, again, lost, gone = ARGV[4], ARGV[5] == '1', {}, {}
local fenced = replaced()

-- Attempts before an entry came to the retry stream stand in it.
local function earlier_attempts(key, id)
  local entry = redis.call('XRANGE', key, id, id)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'zephcast-attempts' then return tonumber(fields[i + 1]) or 0 end
  end
  return 0
end

for i = 6, #ARGV, 3 do
  local retried, id, attempts = ARGV[i] == '1', ARGV[i + 1], tonumber(ARGV[i + 2])
  local key, place = retried and KEYS[2] or KEYS[1], (i - 6) / 3
  local owner = not fenced and owner_of(key, id)
  if owner == me then
    if retried and target ~= SUSPECTS then attempts = math.max(attempts - earlier_attempts(key, id), 0) end
    local given = redis.call('XCLAIM', key, group, target, 0, id, 'RETRYCOUNT', attempts, 'JUSTID')
    if not given[1] then
      gone[#gone + 1] = place
      redis.call('XACK', key, group, id)
    end
  elseif owner or not again then
    lost[#lost + 1] = place
  end
end
return {lost, gone}
