-- Counts entries after an id. KEYS: stream. ARGV: the id, at most so many. Returns how many, and the last one's id.
local after, most, counted = ARGV[1], tonumber(ARGV[2]), 0
while counted < most do
  local page = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', math.min(500, most - counted))
  if #page == 0 then break end
  counted = counted + #page
  after = page[#page][1]
end
return {counted, after}
