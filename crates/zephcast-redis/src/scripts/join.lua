-- Enters the member, after `group`. Returns the time, how many are gone, after which entry the group began, and whether
-- something was given back, which comes before anything new.
local now = server_ms()
write_report(redis.call, lease, now, '0', now)

-- What an earlier process of this name held when it ended: one of these may have ended it.
local gone, has_returned = 0, 0
if ARGV[7] == '0' then
  for k = 1, 2 do
    while true do
      local pending = pending_of(KEYS[k], me, 0, '-', 500)
      local ids = {}
      for _, entry in ipairs(pending) do ids[#ids + 1] = entry[1] end
      gone = gone + move(KEYS[k], SUSPECTS, ids)
      if #ids < 500 then break end
    end
    redis.call('XGROUP', 'CREATECONSUMER', KEYS[k], group, me)
  end
end
for k = 1, 2 do
  if #pending_of(KEYS[k], RETURNED, 0, '-', 1) > 0 then has_returned = 1 end
end
return {now, gone, start, has_returned}
