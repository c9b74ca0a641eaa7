-- Makes a publisher the owner of buckets. The field "live GENERATION" of each former owner, which it compares, becomes
-- "fenced GENERATION".
-- KEYS: states of the source. ARGV: fencing token, first bucket, end.
-- The state of a bucket is "token generation" of its owner, and the position "epoch number id" at which that one began.
-- The fields "live" and "fenced" have the position since then, or nothing.
local key = KEYS[1]

local function later(stored, position)
    local epoch, number = string.match(stored, '^(%S+) (%d+)')
    local new_epoch, new_number = string.match(position, '^(%S+) (%d+)')
    local is_beyond = epoch == new_epoch and epoch and tonumber(number) >= tonumber(new_number)
    return (position == '' or is_beyond) and stored or position
end

local all = {}
for bucket = 0, 255 do all[#all + 1] = bucket end
local states = redis.call('HMGET', key, unpack(all))
for bucket = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do
    local state = states[bucket + 1]
    if state and tonumber(string.match(state, '^%d+')) > tonumber(ARGV[1]) then return redis.error_reply('FENCED') end
end

local generation = redis.call('HINCRBY', key, 'generation', 1)
local reached, changes, positions = {}, {}, {}
for bucket = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do
    local position = ''
    if states[bucket + 1] then
        local _, former, stored = string.match(states[bucket + 1], '^(%d+) (%d+) ?(.*)$')
        if not reached[former] then
            local live = redis.call('HGET', key, 'live ' .. former)
            reached[former] = live or redis.call('HGET', key, 'fenced ' .. former) or ''
            redis.call('HDEL', key, 'live ' .. former)
            redis.call('HSET', key, 'fenced ' .. former, reached[former])
        end
        position = later(stored, reached[former])
    end
    states[bucket + 1] = ARGV[1] .. ' ' .. generation .. (position ~= '' and ' ' .. position or '')
    changes[#changes + 1] = bucket
    changes[#changes + 1] = states[bucket + 1]
    positions[#positions + 1] = position
end
redis.call('HSET', key, 'live ' .. generation, '', unpack(changes))

for _, state in ipairs(states) do
    if state then reached[string.match(state, '^%d+ (%d+)')] = nil end
end
for former in pairs(reached) do redis.call('HDEL', key, 'fenced ' .. former) end
return {generation, positions}
