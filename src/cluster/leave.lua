-- Gives the name of a node up, if it is its own.
-- KEYS: the node, all nodes. ARGV: incarnation, name.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
    redis.call('HDEL', KEYS[2], ARGV[2])
end
return 0
