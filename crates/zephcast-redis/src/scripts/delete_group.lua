-- Deletes the group and all of its own, after `idle`. KEYS 4 and 5: delayed, dead letters.
-- Returns who lives; nothing is done then.
-- Fails before anything is written when what comes last is not allowed: a script is never rolled back.
redis.call('XGROUP', 'DESTROY', KEYS[1], 'zephcast/none')
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('XGROUP', 'DESTROY', KEYS[1], group)
return {}
