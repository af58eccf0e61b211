-- Enters the member, after `group`. Returns the time, how many are gone, and after which entry the group began.
local now = server_ms()
write_report(redis.call, lease, now, '0', now)

-- What an earlier process of this name held when it ended: one of these may have ended it.
local gone = 0
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
return {now, gone, start}
