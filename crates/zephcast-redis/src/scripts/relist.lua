-- What the member holds by the server's word, renewed, with counts as they are. ARGV 4 and 5: after which ids of the
-- stream and of the retry stream; 6: at most so many of each.
-- Returns 0 (-1 when the member was replaced), the entries as `claim` does, whether there may be more, and by entry that
-- is gone from the stream: 1 for the retry stream, id.
if replaced() then return {-1, {}, 0, {}} end
local gone, entries, more = {}, {}, 0

for k = 2, 1, -1 do
  local pending = pending_of(KEYS[k], me, 0, ARGV[3 + k], ARGV[6])
  if #pending == tonumber(ARGV[6]) then more = 1 end
  for _, entry in ipairs(pending) do
    local id, count = entry[1], entry[4]
    local claimed = redis.call('XCLAIM', KEYS[k], group, me, 0, id, 'RETRYCOUNT', count)
    if claimed[1] and claimed[1][2] then
      entries[#entries + 1] = {k - 1, id, count, claimed[1][2]}
    else
      gone[#gone + 1] = {k - 1, id}
      redis.call('XACK', KEYS[k], group, id)
    end
  end
end
return {0, entries, more, gone}
