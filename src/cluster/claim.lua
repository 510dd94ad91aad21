-- Takes the name of a node, or keeps it.
-- KEYS: the node, all nodes, the state of the acts. ARGV: incarnation, an incarnation that it replaces (0 if none),
-- milliseconds to live, name, what others are to know of it.
-- Returns: 0 if it has the name, or the incarnation that has it; a later incarnation that has written under this name,
-- or 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and holder ~= ARGV[2] then return { tonumber(holder) or 1, 0 } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
-- Of the wrong type, the key of all nodes stops nobody.
redis.pcall('HSET', KEYS[2], ARGV[4], ARGV[5])
local written = redis.pcall('HGET', KEYS[3], 'w:' .. ARGV[4])
local later = type(written) == 'string' and tonumber(string.match(written, '^(%d+) ')) or 0
if later <= tonumber(ARGV[1]) or later >= 9007199254740991 then later = 0 end
return { 0, string.format('%.0f', later) }
