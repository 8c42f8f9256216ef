-- Which layout the data have, and which data they are.
-- KEYS: 1 the marker, a hash. ARGV: 1 our layout, 2 a name for new data.
-- Returns {layout, name, 1 if the marker is new}. O(1). The marker has no expiry.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind)
end
if kind == 'none' then
    redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'epoch', ARGV[2])
    return {ARGV[1], ARGV[2], 1}
end
local found = redis.call('HMGET', KEYS[1], 'layout', 'epoch')
if not found[1] or not found[2] then
    return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a hash of somebody else')
end
return {found[1], found[2], 0}
