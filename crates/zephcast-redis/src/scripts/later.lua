-- Schedules an entry of this member for later and settles it. KEYS 4: delayed. ARGV 4: 1 for the retry stream; 5: id;
-- 6: whether it may be settled already (an earlier call had no answer); 7: whether it is known to be gone from the
-- stream; 8: delay in ms; then the fields.
-- Returns 1 when done, 0 when it came too late.
local key, id = ARGV[4] == '1' and KEYS[2] or KEYS[1], ARGV[5]
local owner = not replaced() and owner_of(key, id)
if owner ~= me and not (ARGV[7] == '1' and not owner) then
  return (not owner and ARGV[6] == '1') and 1 or 0
end

require_settling(key)
local fields = {}
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('ZADD', KEYS[4], server_ms() + tonumber(ARGV[8]), cmsgpack.pack(fields))
redis.call('XACK', key, group, id)
if ARGV[4] == '1' then redis.call('XDEL', key, id) end
return 1
