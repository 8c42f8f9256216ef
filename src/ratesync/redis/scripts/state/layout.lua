-- Refuses the data of a newer layout. First part of the scripts of the state store.
-- KEYS: 1 the hash of the values. No value's key has a NUL, so the field of the layout is none of them.
local LAYOUT = 1
local layout = redis.call('HGET', KEYS[1], '\0layout')
if layout and tonumber(layout) > LAYOUT then
    return redis.error_reply('LAYOUT ' .. layout)
end
