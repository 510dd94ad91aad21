-- Appends entries to an order. Entries that are there already are left out, so a retry is harmless.
-- KEYS: the stream, its state, the node; for acts also the bans. ARGV: node, incarnation, name, seconds to live, most
-- entries, the time as bans have it, the last counter that was perhaps sent before; then for each entry: counter, number
-- of lines, head, text.
-- Returns: epoch, number of the last entry, number of the last line, entries left out, entries appended, time.
local function number(text)
    local n = tonumber(text)
    if not n or n ~= n or n < 0 or n > 9007199254740991 then return 0 end
    return math.floor(n)
end
local function text(n) return string.format('%.0f', n) end

local node, incarnation, again = ARGV[1], number(ARGV[2]), number(ARGV[7])
-- A process that did not run for a while may have lost its name, before the other one has written here. Of the wrong
-- type, the key of the node stops nobody.
local holder = redis.pcall('GET', KEYS[3])
if type(holder) == 'string' and holder ~= ARGV[2] then return redis.error_reply('FENCED ' .. text(number(holder))) end
local state = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'entry', 'w:' .. node, 'run')
local epoch, seq, entry = number(state[1]), number(state[2]), number(state[3])
local before, last = string.match(state[4] or '', '^(%d+) (%d+)$')
before, last = number(before), number(last)
if before > incarnation then return redis.error_reply('FENCED ' .. text(before)) end
if before < incarnation then last = 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- Other nodes may have read entries that this engine lost. In a new epoch, new ones are not taken for them.
local begins = epoch == 0 or (state[5] or run) ~= run

-- If somebody else has added to the stream, it goes on behind that.
local function add(counter, lines, head, body)
    local failed
    if begins then epoch, entry, begins = math.max(now, epoch + 1), 0, false end
    for _ = 1, 2 do
        local done = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], text(epoch) .. '-' .. text(entry + 1),
            'v', '1', 'n', node, 'c', text(incarnation) .. '-' .. counter, 't', text(now),
            's', text(seq + 1), 'l', lines, 'r', number(counter) <= again and '1' or '0', 'd', head, 'x', body)
        failed = type(done) == 'table' and done.err and done
        if not failed or not string.find(done.err, 'equal or smaller', 1, true) then return failed end
        local info = redis.call('XINFO', 'STREAM', KEYS[1])
        for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then
                local first, second = string.match(info[i + 1], '^(%d+)-(%d+)$')
                epoch, entry = number(first), number(second)
            end
        end
        if epoch == 0 then return redis.error_reply('ERR the identifiers of the stream are used up') end
    end
    return failed
end

-- Makes the changes of bans that an act has. An addition throws away a few bans that have ended, so these do not pile up.
-- Of the wrong type, the key of the bans stops nobody.
local function change(head)
    if not string.find(head, '^{"Ordered"') and not string.find(head, '^{"Brought"') then return end
    local is_read, act = pcall(cjson.decode, head)
    if not is_read then return end
    for _, change in ipairs(act.Brought or act.Ordered.changes or {}) do
        local kind, whom, rest = string.match(change, '^(%a+) (%S+) ?(.*)$')
        if kind == 'ban' or kind == 'mute' then
            local some = redis.pcall('HRANDFIELD', KEYS[4], 3, 'WITHVALUES')
            for i = 1, #some, 2 do
                local ends = string.match(some[i + 1], '^until (%S+)')
                if ends and ends < ARGV[6] then redis.pcall('HDEL', KEYS[4], some[i]) end
            end
            redis.pcall('HSET', KEYS[4], kind .. ' ' .. whom, rest)
        elseif kind == 'unban' or kind == 'unmute' then
            redis.pcall('HDEL', KEYS[4], string.sub(kind, 3) .. ' ' .. whom)
        end
    end
end

local left_out, appended = 0, 0
for i = 8, #ARGV, 4 do
    local counter = number(ARGV[i])
    if counter <= last then
        left_out = left_out + 1
    else
        local failed = add(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
        if failed and appended == 0 then return failed end
        if failed then break end
        if KEYS[4] then change(ARGV[i + 2]) end
        entry, seq, last, appended = entry + 1, seq + number(ARGV[i + 1]), counter, appended + 1
    end
end
if appended > 0 then
    redis.call('HSET', KEYS[2], 'epoch', text(epoch), 'seq', text(seq), 'entry', text(entry), 'run', run,
        'w:' .. node, text(incarnation) .. ' ' .. text(last))
    redis.call('HSETNX', KEYS[2], 'name', ARGV[3])
    redis.call('HSETNX', KEYS[2], 'born', text(epoch))
    redis.call('EXPIRE', KEYS[1], ARGV[4])
    redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return { text(epoch), text(entry), text(seq), left_out, appended, text(now) }
