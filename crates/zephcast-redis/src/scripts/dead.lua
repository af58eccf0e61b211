-- Puts an entry of this member to the dead letters and settles it. KEYS 4: dead letters. ARGV 4 to 7 as in `later`;
-- then the fields.
local key, id = ARGV[4] == '1' and KEYS[2] or KEYS[1], ARGV[5]
local owner = not replaced() and owner_of(key, id)
if owner ~= me and not (ARGV[7] == '1' and not owner) then
  return (not owner and ARGV[6] == '1') and 1 or 0
end

require_settling(key)
redis.call('XADD', KEYS[4], '*', unpack(ARGV, 8))
redis.call('XACK', key, group, id)
if ARGV[4] == '1' then redis.call('XDEL', key, id) end
return 1
