-- Stores the roster, unless a later one is there, and gives up acts that are in it; the last ones stay for nodes that
-- are behind.
-- KEYS: the roster, the stream of acts, its state. ARGV: epoch and number of the last act in the roster, the roster,
-- seconds to live, how many acts stay.
-- Returns: whether it is stored.
local function number(text) return tonumber(text) or 0 end
local function is_before(a, b, c, d) return a < c or (a == c and b < d) end
local epoch, entry = number(ARGV[1]), number(ARGV[2])
local state = redis.call('HMGET', KEYS[3], 'epoch', 'entry')
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'entry')
if is_before(number(state[1]), number(state[2]), epoch, entry) then return 0 end
if not is_before(number(stored[1]), number(stored[2]), epoch, entry) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'entry', ARGV[2], 'roster', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[1] .. '-' .. string.format('%.0f', math.max(0, entry - ARGV[5])))
return 1
