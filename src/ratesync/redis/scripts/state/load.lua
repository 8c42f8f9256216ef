-- Look values up.
-- KEYS: 1 a hash: key -> revision:value. ARGV: keys.
-- Returns revision:value or nil of each key, in their order. O(keys).
local answer = {}
for at = 1, #ARGV do
    answer[at] = redis.call('HGET', KEYS[1], ARGV[at])
end
return answer
