-- Returns the bans and mutes, and the last act that counts in them.
-- KEYS: the bans, the state of the acts.
-- Returns: what tells these bans from others, epoch and number of the last act; then whom and the rest of each.
local MOST = 200000
local id = redis.call('HGET', KEYS[1], 'id')
if not (id and string.match(id, '^%d+$') and tonumber(id) <= 9007199254740991) then
    local time = redis.call('TIME')
    id = string.format('%.0f', time[1] * 1000000 + time[2])
    redis.call('HSET', KEYS[1], 'id', id)
end
local state = redis.call('HMGET', KEYS[2], 'epoch', 'entry')
local found = { id, state[1] or '0', state[2] or '0' }
-- Somebody else may have put anything here.
if redis.call('HLEN', KEYS[1]) > MOST then return redis.error_reply('ERR it has more than ' .. MOST .. ' fields') end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    if all[i] ~= 'id' and #all[i] + #all[i + 1] <= 1000 then
        found[#found + 1], found[#found + 2] = all[i], all[i + 1]
    end
end
return found
