-- Who lives, as the status judges it. ARGV 4: lease in ms of consumers that are no members.
local function living()
  local idle = {}
  local reports = redis.call('HGETALL', KEYS[3])
  for i = 1, #reports, 2 do idle[reports[i]] = math.huge end
  for k = 1, 2 do
    for _, consumer in ipairs(ask('XINFO', 'CONSUMERS', KEYS[k], group)) do
      local facts = {}
      for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
      idle[facts.name] = math.min(idle[facts.name] or math.huge, facts.idle)
    end
  end
  local names = {}
  for name, idle_ms in pairs(idle) do
    local lease, silent = lease_of(name, idle_ms, tonumber(ARGV[4]))
    -- What is parked belongs to nobody, and notes of the group's own are no members either.
    if silent < lease and not string.find(name, '/', 1, true) then names[#names + 1] = name end
  end
  return names
end

if not last_delivered() then return redis.error_reply('NOGROUP there is no such group') end
local names = living()
if #names > 0 then return names end

