-- Sends a dead letter back to its group, its attempts counted afresh. KEYS: dead letters, retry stream. ARGV: group, id.
-- Returns 1 when done, 0 when it is no longer there.
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not entry then return 0 end
local kept = {['zephcast-key'] = true, ['zephcast-id'] = true}
local fields, origin = {}, nil
for i = 1, #entry[2], 2 do
  local name, value = entry[2][i], entry[2][i + 1]
  if kept[name] or string.sub(name, 1, 9) ~= 'zephcast-' then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  elseif name == 'zephcast-origin' then
    origin = string.match(value, '@(%d+%-%d+)$')
  end
end
if origin then
  fields[#fields + 1] = 'zephcast-origin'
  fields[#fields + 1] = origin
end
fields[#fields + 1] = 'zephcast-attempts'
fields[#fields + 1] = '0'
local created = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[1], '0', 'MKSTREAM')
if created.err and not string.find(created.err, 'BUSYGROUP', 1, true) then return created end
-- Fails before anything is written when what comes last is not allowed: a script is never rolled back.
redis.call('XDEL', KEYS[1], '0-0')
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
