-- Compares the position of the publisher, appends entries, and stores the new position. All checks precede the first
-- write, because a script that fails is not rolled back.
-- KEYS: states of the source, lanes of all topics, streams.
-- ARGV: name of the topic, its lanes; field of the publisher, expected and new position;
--       for each message: index of its stream, headers, data.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return redis.error_reply('LANES') end
if redis.call('HGET', KEYS[1], ARGV[3]) ~= ARGV[4] then return redis.error_reply('FENCED') end
for stream = 3, #KEYS do
    local kind = redis.call('TYPE', KEYS[stream]).ok
    if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('KIND ' .. KEYS[stream]) end
end
local ids = {}
for at = 6, #ARGV, 3 do
    ids[#ids + 1] = redis.call('XADD', KEYS[tonumber(ARGV[at])], '*', 'headers', ARGV[at + 1], 'data', ARGV[at + 2])
end
if ARGV[4] ~= ARGV[5] then redis.call('HSET', KEYS[1], ARGV[3], ARGV[5]) end
return ids
