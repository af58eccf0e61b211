-- Counts entries after an id. KEYS: stream. ARGV: the id, at most so many entries, until so many bytes were looked at:
-- counting brings whole entries.
-- Returns how many, the last one's id, and whether there may be more.
local after, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local counted, bytes, page_size = 0, 0, 1
while counted < most and bytes < most_bytes do
  local wanted = math.min(page_size, most - counted)
  local page = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', wanted)
  counted = counted + #page
  if #page > 0 then after = page[#page][1] end
  if #page < wanted then return {counted, after, 0} end
  local page_bytes = 0
  for _, entry in ipairs(page) do
    for _, part in ipairs(entry[2]) do page_bytes = page_bytes + #part end
  end
  bytes = bytes + page_bytes
  -- Each page at most twice as long as the last one, and of about 64 KiB.
  page_size = math.max(1, math.min(page_size * 2, math.floor(65536 * #page / math.max(page_bytes, 1)), 500))
end
return {counted, after, 1}
