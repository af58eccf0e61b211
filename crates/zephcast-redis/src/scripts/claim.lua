-- Takes what a parking consumer holds. ARGV 4: that consumer; 5: at most so many.
-- Returns how many were gone from the stream, and by entry: 1 for the retry stream, id, delivery count, fields.
if replaced() then return {-1, {}} end
local gone, entries, room = 0, {}, tonumber(ARGV[5])

for k = 2, 1, -1 do
  if room > 0 then
    local pending = pending_of(KEYS[k], ARGV[4], 0, '-', room)
    for _, entry in ipairs(pending) do
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
