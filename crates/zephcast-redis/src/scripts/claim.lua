-- Takes what a parking consumer holds. ARGV 4: that consumer; 5: at most so many; 6 and 7: only this one, if given: 1 for
-- the retry stream, and its id.
-- Returns how many were gone from the stream, and by entry: 1 for the retry stream, id, delivery count, fields.
if replaced() then return {-1, {}} end
local gone, entries, room = 0, {}, tonumber(ARGV[5])

local function candidates(k)
  if not ARGV[6] then return pending_of(KEYS[k], ARGV[4], 0, '-', room) end
  if tonumber(ARGV[6]) ~= k - 1 then return {} end
  return ask('XPENDING', KEYS[k], group, ARGV[7], ARGV[7], 1, ARGV[4])
end

for k = 2, 1, -1 do
  if room > 0 then
    for _, entry in ipairs(candidates(k)) do
      local id, count = entry[1], entry[4] + 1
      local claimed = redis.call('XCLAIM', KEYS[k], group, me, 0, id)
      if claimed[1] and claimed[1][2] then
        entries[#entries + 1] = {k - 1, id, count, claimed[1][2]}
        room = room - 1
      else
        gone = gone + 1
        redis.call('XACK', KEYS[k], group, id)
      end
    end
  end
end
return {gone, entries}
