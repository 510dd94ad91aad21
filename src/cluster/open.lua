-- Opens an order: makes it if it is new. Begins an epoch if entries are lost that the caller has seen, and whenever another
-- engine has taken over, or this one has started again: other nodes may have read entries that it lost.
-- KEYS: the stream, its state. ARGV: epoch and number of the last entry that the caller has seen (0 0 if none), number of
-- its last line, the fields n and c of that entry with a space between them (empty if not known), seconds to live.
-- Returns: epoch, number of the last entry, number of the last line, whether entries are lost.
local function number(text)
    local n = tonumber(text)
    if not n or n ~= n or n < 0 or n > 9007199254740991 then return 0 end
    return math.floor(n)
end
local function text(n) return string.format('%.0f', n) end
local function is_before(a, b, c, d) return a < c or (a == c and b < d) end
local function id_of(id)
    local first, second = string.match(id, '^(%d+)-(%d+)$')
    return number(first), number(second)
end

local state = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'entry', 'born', 'run')
local epoch, seq, entry = number(state[1]), number(state[2]), number(state[3])
local seen_epoch, seen_entry, seen_seq = number(ARGV[1]), number(ARGV[2]), number(ARGV[3])
local is_new, lost = epoch == 0, false

-- Somebody else may have added to the stream.
local top_epoch, top_entry = 0, 0
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then top_epoch, top_entry = id_of(info[i + 1]) end
    end
end
if is_before(epoch, entry, top_epoch, top_entry) then epoch, entry = top_epoch, top_entry end

if seen_epoch > 0 then
    -- It began anew, or has less.
    lost = number(state[4]) > seen_epoch or is_before(epoch, entry, seen_epoch, seen_entry)
    if not lost and seen_entry > 0 then
        local id = text(seen_epoch) .. '-' .. text(seen_entry)
        local found = redis.call('XRANGE', KEYS[1], id, id)[1]
        if found and ARGV[4] ~= '' then
            local fields = {}
            for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
            lost = (fields['n'] or '') .. ' ' .. (fields['c'] or '') ~= ARGV[4]
        elseif not found and seen_epoch < epoch then
            -- Another node has begun an epoch: the one before has ended, here or after that entry.
            local last = redis.call('XREVRANGE', KEYS[1], text(seen_epoch), text(seen_epoch), 'COUNT', 1)[1]
            local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
            local _, last_entry = id_of(last and last[1] or '0-0')
            local _, first_entry = id_of(first and first[1] or '0-1')
            -- Perhaps all of that epoch was trimmed, and more.
            lost = last_entry < seen_entry and (last or first_entry == 1)
        elseif not found then
            local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
            if first then
                local first_epoch, first_entry = id_of(first[1])
                lost = is_before(first_epoch, first_entry, seen_epoch, seen_entry)
            end
        end
    end
end
if is_new or (state[5] or run) ~= run or (lost and seen_epoch >= epoch) then
    local time = redis.call('TIME')
    epoch = math.max(time[1] * 1000000 + time[2], epoch + 1, seen_epoch + 1)
    seq, entry = math.max(seq, seen_seq), 0
    if is_new then redis.call('HSET', KEYS[2], 'born', text(epoch)) end
end
redis.call('HSET', KEYS[2], 'epoch', text(epoch), 'seq', text(seq), 'entry', text(entry), 'run', run)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return { text(epoch), text(entry), text(seq), lost and 1 or 0 }
