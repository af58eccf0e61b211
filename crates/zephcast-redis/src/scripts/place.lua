-- After which entry the group goes on, nothing without the group; asked of the group, since what is said of the stream has
-- two payloads in it.
local function last_delivered()
  for _, facts in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local one = {}
    for i = 1, #facts, 2 do one[facts[i]] = facts[i + 1] end
    if one.name == group then return one['last-delivered-id'] end
  end
end

