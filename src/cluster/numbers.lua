-- Takes a block of numbers of sessions.
-- KEYS: the last number taken. ARGV: how many, a number that has been taken for sure.
-- Returns: the last number of the block.
local last = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) or 0, tonumber(ARGV[2]))
local taken = string.format('%.0f', last + ARGV[1])
redis.call('SET', KEYS[1], taken)
return taken
