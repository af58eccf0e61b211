-- Deletes some of what every group has settled. KEYS: stream. Returns how many entries, and whether there may be more.
-- A group needs everything from its oldest pending entry on, or else everything after what it read last. Without a group
-- everything is kept for groups to come.
local function parts(id)
  return string.match(id, '^(%d+)-(%d+)$')
end

-- Numbers of up to 64 bits, as text: longer is larger.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function earlier(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  if a_ms ~= b_ms then return less(a_ms, b_ms) end
  return less(a_seq, b_seq)
end

local needed
for _, facts in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #facts, 2 do group[facts[i]] = facts[i + 1] end
  local need = group['last-delivered-id']
  if group.pending > 0 then need = redis.call('XPENDING', KEYS[1], group.name)[2] end
  if not needed or earlier(need, needed) then needed = need end
end
if not needed then return {0, 0} end
-- Whole nodes first, as many as do not hold up the server; then what is left in the last one.
local trimmed = redis.call('XTRIM', KEYS[1], 'MINID', '~', needed, 'LIMIT', 10000)
if trimmed > 0 then return {trimmed, 1} end
return {redis.call('XTRIM', KEYS[1], 'MINID', '=', needed), 0}
